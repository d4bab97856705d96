#include "symbolic/linear.h"

namespace portwright {

std::optional<Linear> as_linear(const Expr& expr) {
  if (expr.is_constant()) return std::nullopt;
  Linear form{0, 0, 0};
  for (const Term& term : expr.node()->terms) {
    if (term.factors.empty()) {
      form.offset = term.coefficient;
    } else if (form.factor == 0 && term.factors.size() == 1 &&
               term.factors[0]->kind == AtomKind::kSymbol) {
      form.symbol = term.factors[0]->symbol;
      form.factor = term.coefficient;
    } else {
      return std::nullopt;
    }
  }
  return form;
}

}  // namespace portwright
