// Writes the nodes that complex_to_pairs puts in the place of others.
#pragma once

#include <string>
#include <vector>

#include "ir/program.h"

namespace portwright {

// Of the real and imaginary parts.
inline DType part_dtype(DType dtype) {
  switch (dtype) {
    case DType::kComplex32: return DType::kFloat16;
    case DType::kComplex64: return DType::kFloat32;
    case DType::kComplex128: return DType::kFloat64;
    default: return dtype;
  }
}

// Rewrites one graph. Complex values keep their ids: their types become those of pairs.
class PairWriter {
 public:
  explicit PairWriter(Graph& graph) : graph_(graph), was_complex_(graph.values.size()) {
    for (ValueId id = 0; id < graph.values.size(); ++id) {
      TensorType& type = graph.values[id].type;
      if (!portwright::is_complex(type.dtype)) continue;
      was_complex_[id] = true;
      type.dtype = part_dtype(type.dtype);
      type.shape.push_back(2);
      type.strides.reset();
    }
  }

  bool is_complex(ValueId id) const { return id < was_complex_.size() && was_complex_[id]; }
  bool is_complex(const Argument& argument) const {
    bool found = false;
    for_each_value(argument, [&](ValueId id) { found = found || is_complex(id); });
    return found;
  }
  // Of the tensor as the model sees it.
  size_t rank(ValueId id) const { return graph_.type(id).rank() - (is_complex(id) ? 1 : 0); }
  const TensorType& type(ValueId id) const { return graph_.type(id); }

  void begin(const Node& node) { place_ = node.provenance; }
  void keep(Node node) { nodes_.push_back(std::move(node)); }

  ValueId add(const std::string& op, std::vector<Argument> arguments, TensorType type) {
    const ValueId id = graph_.add_value(std::move(type));
    give(op, std::move(arguments), id);
    return id;
  }
  void give(const std::string& op, std::vector<Argument> arguments, ValueId result) {
    nodes_.push_back({op, std::move(arguments), {result}, {}, place_});
  }

  // A part of a pair: 0 real, 1 imaginary.
  ValueId part(ValueId pair, int64_t which) {
    TensorType type = graph_.type(pair);
    type.shape.pop_back();
    return add("aten.select.int", {ValueRef{pair}, Expr(-1), Expr(which)}, type);
  }
  void give_pair(ValueId real, ValueId imaginary, ValueId result) {
    give("aten.stack.default", {ValueList{real, imaginary}, Expr(-1)}, result);
  }
  // The type of one part of a pair.
  TensorType part_type(ValueId pair) const {
    TensorType type = graph_.type(pair);
    type.shape.pop_back();
    return type;
  }

  std::vector<Node> take() { return std::move(nodes_); }

 private:
  Graph& graph_;
  std::vector<bool> was_complex_;
  std::vector<Node> nodes_;
  Provenance place_;
};

// A node that touches complex values.
struct ComplexCall {
  PairWriter& out;
  Node node;

  const Argument& arg(size_t i) const { return node.arguments.at(i); }
  ValueId operand(size_t i) const { return std::get<ValueRef>(node.arguments.at(i)).id; }
  ValueId result() const { return node.result(); }
  bool is_complex(size_t i) const { return out.is_complex(node.arguments.at(i)); }
};

}  // namespace portwright
