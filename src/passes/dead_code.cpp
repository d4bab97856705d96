// Dead code.
// Needs: nothing. Ensures: every node and every weight has a use; value ids are dense. User inputs
// stay, they are the program's interface.
//   %1 : f32[2] = aten.neg.default(%x)
//   %2 : f32[2] = aten.exp.default(%x)        =>   %1 : f32[2] = aten.exp.default(%x)
//   output user "y" %2                             output user "y" %1
#include <utility>

#include "passes/pass.h"

namespace portwright {
namespace {

bool has_use(const Node& node, const std::vector<bool>& used) {
  bool found = false;
  for_each_output(node, [&](ValueId id) { found = found || used[id]; });
  return found;
}

// Removes unused nodes of one graph, bodies included.
bool sweep(Graph& graph, std::vector<bool>& used) {
  for (ValueId id : graph.outputs) used[id] = true;
  bool changed = false;
  std::vector<bool> keep(graph.nodes.size());
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    Node& node = graph.nodes[i];
    keep[i] = has_use(node, used);
    changed = changed || !keep[i];
    if (!keep[i]) continue;
    for (const Argument& argument : node.arguments) {
      for_each_value(argument, [&](ValueId id) { used[id] = true; });
    }
    for (Graph& body : node.graphs) {
      std::vector<bool> body_used(body.values.size());
      changed |= sweep(body, body_used);
    }
  }
  std::vector<Node> kept;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (keep[i]) kept.push_back(std::move(graph.nodes[i]));
  }
  graph.nodes = std::move(kept);
  return changed;
}

bool drop_unused_weights(Program& program, const std::vector<bool>& used) {
  Graph& graph = program.graph;
  std::vector<ValueId> inputs;
  std::vector<InputSpec> specs;
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    if (program.inputs[i].kind != InputKind::kUserInput && !used[graph.inputs[i]]) continue;
    inputs.push_back(graph.inputs[i]);
    specs.push_back(std::move(program.inputs[i]));
  }
  const bool changed = inputs.size() != graph.inputs.size();
  graph.inputs = std::move(inputs);
  program.inputs = std::move(specs);
  return changed;
}

// Renumbers the values that are left, in the order of their definition.
void compact(Graph& graph) {
  std::vector<ValueId> mapped(graph.values.size(), kNoValue);
  std::vector<Value> values;
  auto define = [&](ValueId id) {
    mapped[id] = static_cast<ValueId>(values.size());
    values.push_back(std::move(graph.values[id]));
  };
  for (ValueId id : graph.inputs) define(id);
  for (const Node& node : graph.nodes) for_each_output(node, define);
  auto map = [&](ValueId id) { return mapped[id]; };
  for (ValueId& id : graph.inputs) id = map(id);
  for (Node& node : graph.nodes) {
    for (Argument& argument : node.arguments) argument = map_values(argument, map);
    for (Output& output : node.outputs) {
      if (auto* id = std::get_if<ValueId>(&output)) {
        *id = map(*id);
      } else if (auto* list = std::get_if<ValueList>(&output)) {
        for (ValueId& item : *list) {
          if (item != kNoValue) item = map(item);
        }
      }
    }
  }
  for (ValueId& id : graph.outputs) id = map(id);
  graph.values = std::move(values);
}

}  // namespace

bool eliminate_dead_code(Program& program) {
  std::vector<bool> used(program.graph.values.size());
  bool changed = sweep(program.graph, used);
  changed |= drop_unused_weights(program, used);
  size_t defined = program.graph.inputs.size();
  for (const Node& node : program.graph.nodes) for_each_output(node, [&](ValueId) { ++defined; });
  if (changed || defined != program.graph.values.size()) compact(program.graph);
  return changed;
}

}  // namespace portwright
