// A walk over a graph that puts fused operators in the place of composites.
#pragma once

#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fusion/fusion.h"
#include "fusion/pattern.h"

namespace portwright {

class Rewriter {
 public:
  Rewriter(Graph& graph, const Definitions& definitions, const FusionTarget& target)
      : graph_(graph), definitions_(definitions), target_(target) {}

  const FusionTarget& target() const { return target_; }

  const Definitions& definitions() const { return definitions_; }
  const TensorType& type(ValueId id) const { return graph_.type(id); }
  const std::string& name(ValueId id) const { return graph_.values.at(id).name; }

  // Nodes that follow belong to this one's line of the model.
  void begin(const Node& node) { place_ = node.provenance; }
  void keep(Node node) {
    for (Argument& argument : node.arguments) {
      argument = map_values(argument, [this](ValueId id) { return current(id); });
    }
    nodes_.push_back(std::move(node));
  }

  ValueId make(TensorType type) { return graph_.add_value(std::move(type)); }
  ValueId add(const std::string& op, std::vector<Argument> arguments, TensorType type) {
    const ValueId id = make(std::move(type));
    give(op, std::move(arguments), {id});
    return id;
  }
  // The operator that makes values which exist.
  void give(const std::string& op, std::vector<Argument> arguments, std::vector<Output> results) {
    keep({op, std::move(arguments), std::move(results), {}, place_});
  }
  // From here on the other value, which holds the same, stands for this one.
  void replace(ValueId id, ValueId with) { replaced_[id] = with; }
  ValueId current(ValueId id) const {
    const auto found = replaced_.find(id);
    return found == replaced_.end() ? id : found->second;
  }

  // Something that the fused program takes for granted, said once.
  void note(const std::string& text) { notes_.insert(text); }

  ValueId reshaped(ValueId id, std::vector<Expr> shape) {
    TensorType type{graph_.type(id).dtype, shape, {}};
    return add("aten.reshape.default", {ValueRef{id}, IntList(std::move(shape))}, std::move(type));
  }
  ValueId transposed(ValueId id, int64_t a, int64_t b) {
    TensorType type{graph_.type(id).dtype, graph_.type(id).shape, {}};
    std::swap(type.shape.at(a), type.shape.at(b));
    return add("aten.transpose.int", {ValueRef{id}, Expr(a), Expr(b)}, std::move(type));
  }

  // The value itself where it is of the dtype.
  ValueId cast(ValueId id, DType dtype) {
    if (graph_.type(id).dtype == dtype) return id;
    return add("aten._to_copy.default",
               {ValueRef{id}, dtype, None{}, None{}, None{}, false, None{}},
               {dtype, graph_.type(id).shape, {}});
  }

  std::vector<Node> take() { return std::move(nodes_); }
  const std::set<std::string>& notes() const { return notes_; }

 private:
  Graph& graph_;
  const Definitions& definitions_;
  const FusionTarget& target_;
  std::vector<Node> nodes_;
  std::unordered_map<ValueId, ValueId> replaced_;
  std::set<std::string> notes_;
  Provenance place_;
};

// Writes what stands for a node and gives true, or leaves it.
using Fusion = bool (*)(Rewriter& out, const Node& node);

// Applies the first fusion that takes each node, in bodies too, and gives their notes. What they no
// longer use is left for dead code elimination.
std::set<std::string> rewrite(Program& program, const FusionTarget& target,
                              const std::vector<Fusion>& fusions);

}  // namespace portwright
