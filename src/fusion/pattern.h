// Patterns over a graph: what a composite of operators looks like, stated once and matched
// backwards from its last node.
//
//   static const Pattern kSilu = either_order("aten.mul.Tensor", value(kX),
//                                             op("aten.sigmoid.default", {value(kX)}));
//   Bindings bound;
//   if (kSilu(definitions, ValueRef{node.result()}, bound)) use(bound.values[kX]);
#pragma once

#include <array>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/program.h"

namespace portwright {

// Which node of a graph makes each value.
class Definitions {
 public:
  // `nodes` are the graph's, which is the program's own or a body in it; they outlive this.
  Definitions(const Program& program, const Graph& graph, const std::vector<Node>& nodes);

  // The node; null for inputs of the graph, for numbers, and for one of several results.
  const Node* of(const Argument& argument) const;
  const Node* of(ValueId id) const;
  // The same when it is this operator, else null.
  const Node* of(const Argument& argument, std::string_view op) const;
  // Composites end in a node with one tensor result.
  static bool has_one_result(const Node& node) {
    return node.outputs.size() == 1 && std::holds_alternative<ValueId>(node.outputs[0]);
  }
  // How many operands it is, outputs of the graph counted.
  size_t uses(ValueId id) const { return uses_.at(id); }
  const TensorType& type(ValueId id) const { return graph_.type(id); }
  const TensorType& type(const Argument& argument) const;
  // The constant behind it, or null.
  const Weight* weight(const Argument& argument) const;

 private:
  const Program& program_;
  const Graph& graph_;
  std::vector<const Node*> makers_;
  std::vector<size_t> uses_;
};

inline constexpr size_t kSlots = 8;

// What the slots of a pattern stand for.
struct Bindings {
  std::array<ValueId, kSlots> values;
  std::array<double, kSlots> numbers{};

  Bindings() { values.fill(kNoValue); }
};

// Matches an operand of `parent`, which is null at the root. Bindings are meaningless after a
// failure.
using Pattern =
    std::function<bool(const Definitions&, const Node* parent, const Argument&, Bindings&)>;

bool matches(const Pattern& pattern, const Definitions& definitions, const Node& root,
             Bindings& bound);

// A tensor: any one, or the slot's when that is bound already.
Pattern value(size_t slot);
// A constant number.
Pattern number(size_t slot);
// This number (1 is also True), within a relative 1e-6: models write constants with few digits.
Pattern equal(double wanted);
// The last dim of the parent's first tensor, counted from either side, alone or as a list of one.
Pattern last_dim();
// The result of this operator with these first operands; those after them may be anything.
Pattern op(std::string name, std::vector<Pattern> operands);
// A commutative operator.
Pattern either_order(const std::string& name, const Pattern& a, const Pattern& b);
// a + b, not scaled.
Pattern sum(const Pattern& a, const Pattern& b);
// Tensor[] of these.
Pattern list(std::vector<Pattern> items);
Pattern one_of(std::vector<Pattern> choices);

}  // namespace portwright
