// The shape that elementwise operators give operands of two shapes.
#pragma once

#include <vector>

#include "symbolic/expr.h"

namespace portwright {

// From the last dim on, sizes of 1 follow the other operand's. Two sizes that are equal when the
// program runs may be written differently: the constant says more.
std::vector<Expr> broadcast(const std::vector<Expr>& a, const std::vector<Expr>& b);

}  // namespace portwright
