// Dead code.
// Needs: nothing. Ensures: every node and every weight has a use; value ids are dense. User inputs
// stay, they are the program's interface.
//   %1 : f32[2] = aten.neg.default(%x)
//   %2 : f32[2] = aten.exp.default(%x)        =>   %1 : f32[2] = aten.exp.default(%x)
//   output user "y" %2                             output user "y" %1
#include <utility>

#include "ir/data_symbols.h"
#include "passes/pass.h"

namespace portwright {
namespace {

// What live nodes and the signature need.
struct Uses {
  std::vector<bool> values;
  std::vector<bool> symbols;
};

// Whether a node binds a symbol that is needed, if only by a condition; a loop does in its rounds.
bool binds_needed(const Node& node, const Uses& used) {
  if (binds_symbol(node)) return used.symbols[bound_symbol(node)];
  bool found = false;
  for (const Graph& body : node.graphs) {
    for (const Node& inner : body.nodes) found = found || binds_needed(inner, used);
  }
  return found;
}

bool has_use(const Node& node, const Uses& used) {
  if (binds_symbol(node)) return binds_needed(node, used);
  bool found = node.outputs.empty() || binds_needed(node, used);  // or an assertion
  for_each_output(node, [&](ValueId id) { found = found || used.values[id]; });
  return found;
}

void note_symbols(const Argument& argument, Uses& used) {
  const auto note = [&](SymbolId id) { used.symbols[id] = true; };
  if (const auto* expr = std::get_if<Expr>(&argument)) for_each_symbol(*expr, note);
  if (const auto* real = std::get_if<Real>(&argument)) real->for_each_symbol(note);
  if (const auto* predicate = std::get_if<Predicate>(&argument)) predicate->for_each_symbol(note);
  if (const auto* list = std::get_if<IntList>(&argument)) {
    for (const Expr& item : *list) for_each_symbol(item, note);
  }
}

// Removes unused nodes of one graph, bodies included.
bool sweep(Graph& graph, Uses& used) {
  for (ValueId id : graph.outputs) used.values[id] = true;
  bool changed = false;
  std::vector<bool> keep(graph.nodes.size());
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    Node& node = graph.nodes[i];
    keep[i] = has_use(node, used);
    changed = changed || !keep[i];
    if (!keep[i]) continue;
    for (const Argument& argument : node.arguments) {
      for_each_value(argument, [&](ValueId id) { used.values[id] = true; });
      if (!binds_symbol(node)) note_symbols(argument, used);
    }
    for (Graph& body : node.graphs) {
      Uses body_used{std::vector<bool>(body.values.size()), used.symbols};
      for (ValueId id : body.outputs) {  // the shapes of what no round makes
        for (const Expr& size : body.type(id).shape) note_symbols(size, body_used);
      }
      changed |= sweep(body, body_used);
      used.symbols = std::move(body_used.symbols);
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
  Uses used{std::vector<bool>(program.graph.values.size()),
            std::vector<bool>(program.symbols->size())};
  for (const Guard& guard : program.symbols->guards()) {
    guard.predicate.for_each_symbol([&](SymbolId id) { used.symbols[id] = true; });
  }
  bool changed = sweep(program.graph, used);
  changed |= drop_unused_weights(program, used.values);
  size_t defined = program.graph.inputs.size();
  for (const Node& node : program.graph.nodes) for_each_output(node, [&](ValueId) { ++defined; });
  if (changed || defined != program.graph.values.size()) compact(program.graph);
  return changed;
}

}  // namespace portwright
