// Guards as a .pt2 file states them. Internal to this folder.
#pragma once

#include "symbolic/symbol_table.h"

namespace portwright {

// As the interpreter reads a guard: a symbol from data has its own value, whatever it equals.
inline Predicate resolved(const Guard& guard, const SymbolTable& symbols) {
  return guard.predicate.substitute([&](SymbolId id) {
    return symbols.info(id).unbacked ? std::nullopt : symbols.replacement(id);
  });
}

}  // namespace portwright
