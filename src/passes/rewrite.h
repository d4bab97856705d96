// What several passes do to a graph.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "ir/program.h"

namespace portwright {

// Values that stand for others: %a -> %b, applied to everything that comes later.
class Replacements {
 public:
  explicit Replacements(const Graph& graph) : target_(graph.values.size()) {
    for (ValueId id = 0; id < target_.size(); ++id) target_[id] = id;
  }
  // `to` is final: it was itself mapped before.
  void replace(ValueId from, ValueId to) { target_[from] = to; }
  ValueId operator()(ValueId id) const { return id < target_.size() ? target_[id] : id; }
  void apply(Node& node) const {
    for (Argument& argument : node.arguments) {
      argument = map_values(argument, *this);
    }
  }

 private:
  std::vector<ValueId> target_;
};

// Visits the nodes in order; where `find` gives a value, the node's single result becomes that
// value and the node goes. Recurses into bodies. Returns whether anything changed.
bool replace_results(
    Program& program, Graph& graph,
    const std::function<std::optional<ValueId>(const Graph& graph, const Node& node)>& find);

// Operators with results that differ from run to run (aten.rand, aten.bernoulli, ...).
bool is_random(const std::string& op);

}  // namespace portwright
