// Symbolic numbers as the .pt2 format writes them: text that sympy reads.
#pragma once

#include <string>

#include "symbolic/symbol_table.h"

namespace portwright {

// "s3" or "u3": torch.export tells symbols from data by the letter, whatever the program calls
// them.
std::string torch_symbol(const SymbolTable& symbols, SymbolId id);

// Text whose evaluation with sympy's names and torch.utils._sympy.functions gives the expression.
// Symbols are written out with their assumptions: Symbol('s0', positive=True, integer=True).
std::string to_sympy(const Expr& expr, const SymbolTable& symbols);
std::string to_sympy(const Real& real, const SymbolTable& symbols);
std::string to_sympy(const Predicate& predicate, const SymbolTable& symbols);

}  // namespace portwright
