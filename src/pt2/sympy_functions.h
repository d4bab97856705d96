// Functions and operators in sizes and guards, as torch writes them. Internal to this folder.
#pragma once

#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "symbolic/symbol_table.h"

namespace portwright {

// What text of sympy or Python stands for.
using Number = std::variant<Expr, Real, Predicate>;
using Numbers = std::vector<Number>;

// A function by the name that sympy ("FloorDiv"), Python ("math.floor") or its operator ("//") has.
// Nothing when the name or the number of operands is unknown, or Expr, Real and Predicate cannot
// hold the result.
std::optional<Number> apply_function(std::string_view name, const Numbers& operands,
                                     SymbolTable& table);

// "math.inf", "True" and the like; nothing for other words.
std::optional<Number> find_constant(std::string_view word);

}  // namespace portwright
