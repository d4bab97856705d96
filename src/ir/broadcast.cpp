#include "ir/broadcast.h"

#include <algorithm>

namespace portwright {

std::vector<Expr> broadcast(const std::vector<Expr>& a, const std::vector<Expr>& b) {
  std::vector<Expr> shape(std::max(a.size(), b.size()), Expr(1));
  for (size_t i = 0; i < shape.size(); ++i) {
    const Expr left = i < a.size() ? a[a.size() - 1 - i] : Expr(1);
    const Expr right = i < b.size() ? b[b.size() - 1 - i] : Expr(1);
    const bool is_right = left.is_constant(1) || (right.is_constant() && !right.is_constant(1));
    shape[shape.size() - 1 - i] = is_right ? right : left;
  }
  return shape;
}

}  // namespace portwright
