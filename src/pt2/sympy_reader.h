// Sizes as torch.export writes them, read into expressions.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "pt2/sympy_functions.h"
#include "symbolic/symbol_table.h"

namespace portwright {

// Reads sympy text of an integer: srepr's calls ("Add(Mul(Integer(2), Symbol('s0', ...)), ...)")
// and infix sums and products, with the functions of sympy_functions.cpp.
// `symbol` gives what a symbol's name stands for. Error(kUnsupported) for what Expr cannot hold,
// Error(kCorrupt) for text that is none of this.
Expr read_sympy(std::string_view text, SymbolTable& table,
                const std::function<Number(const std::string&)>& symbol);
// The same of any number, or a condition.
Number read_sympy_number(std::string_view text, SymbolTable& table,
                         const std::function<Number(const std::string&)>& symbol);

// Reads one of torch's guards on inputs, Python text like "L['y'].size()[0] >= 2*L['x'].size()[0]",
// with Python's precedence, `and`, `or` and `not`.
// `size` gives the size of a dim of the input that is called so ("['y']"). Errors as above.
Predicate read_guard(std::string_view text, SymbolTable& table,
                     const std::function<Expr(const std::string&, size_t)>& size);

}  // namespace portwright
