// Nodes without results that bind an unbacked symbol when a program runs.
#pragma once

#include <string>

#include "ir/program.h"

namespace portwright {

// (tensor of one integer, bool or float, symbol) and (tensor, dim, symbol): aten.item and
// aten.sym_size.int with the symbol that they define as the last operand.
inline const std::string kBindItem = "portwright.bind_item.default";
inline const std::string kBindSize = "portwright.bind_size.default";

inline bool binds_symbol(const Node& node) { return node.op == kBindItem || node.op == kBindSize; }

// The symbol that a binding node defines.
inline SymbolId bound_symbol(const Node& node) {
  return *std::get<Expr>(node.arguments.back()).symbol();
}

// Whether a condition is about data, so that it can only be checked once its symbols are bound.
inline bool about_data(const Predicate& predicate, const SymbolTable& symbols) {
  bool found = false;
  predicate.for_each_symbol([&](SymbolId id) { found = found || symbols.info(id).unbacked; });
  return found;
}

}  // namespace portwright
