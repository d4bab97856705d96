#include "ir/symbol_scopes.h"

#include "ir/data_symbols.h"
#include "ir/loop_node.h"

namespace portwright {
namespace {

// Calls `visit(SymbolId)` for each symbol of an argument.
template <typename Visitor>
void for_each_symbol_of(const Argument& argument, Visitor&& visit) {
  if (const auto* expr = std::get_if<Expr>(&argument)) for_each_symbol(*expr, visit);
  if (const auto* real = std::get_if<Real>(&argument)) real->for_each_symbol(visit);
  if (const auto* predicate = std::get_if<Predicate>(&argument)) predicate->for_each_symbol(visit);
  if (const auto* list = std::get_if<IntList>(&argument)) {
    for (const Expr& item : *list) for_each_symbol(item, visit);
  }
}

std::optional<SymbolId> misplaced(const Graph& graph, std::vector<bool> known) {
  std::optional<SymbolId> found;
  const auto use = [&](SymbolId id) {
    if (!known[id]) found = id;
  };
  for (const Node& node : graph.nodes) {
    std::optional<SymbolId> defined;
    if (binds_symbol(node)) defined = bound_symbol(node);
    if (is_loop(node)) defined = as_loop(node).counter;
    for (const Argument& argument : node.arguments) {
      for_each_symbol_of(argument, [&](SymbolId id) {
        if (id != defined) use(id);
      });
    }
    for (const Graph& body : node.graphs) {
      std::vector<bool> inside = known;
      if (defined) inside[*defined] = true;
      if (const auto inner = misplaced(body, std::move(inside))) return inner;
    }
    if (binds_symbol(node)) known[*defined] = true;
    if (found) return found;
  }
  return std::nullopt;
}

}  // namespace

std::optional<SymbolId> misplaced_symbol(const Graph& graph, const SymbolTable& symbols) {
  std::vector<bool> known(symbols.size());
  for (SymbolId id = 0; id < symbols.size(); ++id) known[id] = !symbols.info(id).unbacked;
  return misplaced(graph, std::move(known));
}

std::vector<SymbolId> symbols_used(const Graph& graph) {
  std::vector<SymbolId> found;
  for (const Node& node : graph.nodes) {
    for (const Argument& argument : node.arguments) {
      for_each_symbol_of(argument, [&](SymbolId id) { found.push_back(id); });
    }
    for (const Graph& body : node.graphs) {
      const std::vector<SymbolId> inner = symbols_used(body);
      found.insert(found.end(), inner.begin(), inner.end());
    }
  }
  return found;
}

}  // namespace portwright
