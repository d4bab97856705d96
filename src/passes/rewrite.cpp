#include "passes/rewrite.h"

#include <array>
#include <string_view>

namespace portwright {

bool replace_results(
    Program& program, Graph& graph,
    const std::function<std::optional<ValueId>(const Graph& graph, const Node& node)>& find) {
  Replacements replacements(graph);
  bool changed = false;
  std::vector<Node> kept;
  kept.reserve(graph.nodes.size());
  for (Node& node : graph.nodes) {
    replacements.apply(node);
    for (Graph& body : node.graphs) changed |= replace_results(program, body, find);
    const bool single =
        node.outputs.size() == 1 && std::holds_alternative<ValueId>(node.outputs[0]);
    if (single) {
      if (const auto value = find(graph, node)) {
        replacements.replace(std::get<ValueId>(node.outputs[0]), *value);
        changed = true;
        continue;
      }
    }
    kept.push_back(std::move(node));
  }
  graph.nodes = std::move(kept);
  for (ValueId& id : graph.outputs) id = replacements(id);
  return changed;
}

bool is_random(const std::string& op) {
  static constexpr std::array<std::string_view, 10> kPrefixes = {
      "aten.rand",    "aten.bernoulli",      "aten.multinomial", "aten.normal",
      "aten.dropout", "aten.native_dropout", "aten.uniform",     "aten.exponential",
      "aten.poisson", "aten.geometric"};
  for (std::string_view prefix : kPrefixes) {
    if (op.rfind(prefix, 0) == 0) return true;
  }
  return false;
}

}  // namespace portwright
