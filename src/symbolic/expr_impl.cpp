// Building blocks on sorted terms.
#include "symbolic/expr_impl.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "symbolic/symbol_table.h"

namespace portwright {

TermView::TermView(const Expr& expr) {
  if (expr.is_constant()) {
    constant_.coefficient = expr.constant();
    begin_ = &constant_;
    end_ = begin_ + (constant_.coefficient == 0 ? 0 : 1);
  } else {
    begin_ = expr.node()->terms.data();
    end_ = begin_ + expr.node()->terms.size();
  }
}

int compare_factors(const Factors& a, const Factors& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) return a[i]->id < b[i]->id ? -1 : 1;
  }
  return 0;
}

Factors multiply_factors(const Factors& a, const Factors& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  Factors result(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), result.begin(),
             [](const Atom* x, const Atom* y) { return x->id < y->id; });
  return result;
}

std::optional<Factors> divide_factors(const Factors& a, const Factors& b) {
  if (b.size() > a.size()) return std::nullopt;
  Factors result;
  result.reserve(a.size() - b.size());
  size_t next = 0;
  for (const Atom* factor : a) {
    if (next < b.size() && b[next] == factor) {
      ++next;
    } else {
      result.push_back(factor);
    }
  }
  if (next != b.size()) return std::nullopt;
  return result;
}

bool add_scaled(const TermView& a, const TermView& b, int64_t scale, Terms* sum) {
  sum->reserve(a.size() + b.size());
  const Term* x = a.begin();
  const Term* y = b.begin();
  while (x != a.end() || y != b.end()) {
    const int order =
        x == a.end() ? 1 : (y == b.end() ? -1 : compare_factors(x->factors, y->factors));
    int64_t coefficient = order <= 0 ? x->coefficient : 0;
    if (order >= 0) {
      // In 128 bits, so that only a result out of range counts as overflow.
      const __int128 wide =
          static_cast<__int128>(coefficient) + static_cast<__int128>(scale) * y->coefficient;
      coefficient = static_cast<int64_t>(wide);
      if (coefficient != wide) return false;
    }
    if (coefficient != 0) sum->push_back({coefficient, order <= 0 ? x->factors : y->factors});
    if (order <= 0) ++x;
    if (order >= 0) ++y;
  }
  return true;
}

Expr make_expr(SymbolTable* table, Terms terms) {
  if (terms.empty()) return 0;
  if (terms.size() == 1) {
    const Term& term = terms.front();
    if (term.factors.empty()) return term.coefficient;
    if (term.coefficient == 1 && term.factors.size() == 1) return Expr(term.factors[0]->node);
  }
  return table->intern(std::move(terms));
}

std::optional<Expr> try_combine(const Expr& a, int64_t scale, const Expr& b) {
  Terms sum;
  if (!add_scaled(TermView(a), TermView(b), scale, &sum)) return std::nullopt;
  return make_expr(a.is_constant() ? b.table() : a.table(), std::move(sum));
}

SymbolTable* common_table(const Expr& a, const Expr& b) {
  if (a.is_constant()) return b.table();
  if (!b.is_constant() && a.table() != b.table()) {
    throw Error(ErrorCode::kInternal,
                "expressions of two symbol tables meet: " + to_string(a) + " and " + to_string(b));
  }
  return a.table();
}

int64_t constant_term(const Expr& expr) {
  if (expr.is_constant()) return expr.constant();
  const Term& first = expr.node()->terms.front();
  return first.factors.empty() ? first.coefficient : 0;
}

Expr without_constant(const Expr& expr) {
  if (expr.is_constant()) return 0;
  const Terms& terms = expr.node()->terms;
  if (!terms.front().factors.empty()) return expr;
  return make_expr(expr.table(), Terms(terms.begin() + 1, terms.end()));
}

int64_t content(const Expr& expr) {
  uint64_t divisor = 0;
  for (const Term& term : TermView(expr)) {
    if (term.factors.empty()) continue;
    const uint64_t bits = static_cast<uint64_t>(term.coefficient);
    divisor = std::gcd(divisor, term.coefficient < 0 ? 0 - bits : bits);
    if (divisor == 1) return 1;
  }
  const bool representable = divisor <= static_cast<uint64_t>(Interval::kInfinity);
  return divisor == 0 || !representable ? 1 : static_cast<int64_t>(divisor);
}

int64_t leading_coefficient(const Expr& expr) {
  return expr.is_constant() ? expr.constant() : expr.node()->terms.back().coefficient;
}

Factors common_factors(const Expr& expr) {
  if (expr.is_constant()) return {};
  const Terms& terms = expr.node()->terms;
  Factors common = terms.front().factors;
  for (const Term& term : terms) {
    if (common.empty()) break;
    Factors shared;
    std::set_intersection(common.begin(), common.end(), term.factors.begin(), term.factors.end(),
                          std::back_inserter(shared),
                          [](const Atom* x, const Atom* y) { return x->id < y->id; });
    common = std::move(shared);
  }
  return common;
}

Expr divide_by_factors(const Expr& expr, const Factors& factors) {
  if (factors.empty() || expr.is_constant()) return expr;
  Terms terms;
  for (const Term& term : expr.node()->terms) {
    terms.push_back({term.coefficient, divide_factors(term.factors, factors).value()});
  }
  return make_expr(expr.table(), std::move(terms));
}

Expr from_factors(SymbolTable* table, int64_t coefficient, const Factors& factors) {
  if (coefficient == 0) return 0;
  Terms terms;
  terms.push_back({coefficient, factors});
  return make_expr(table, std::move(terms));
}

int compare_exprs(const Expr& a, const Expr& b) {
  if (a == b) return 0;
  if (a.is_constant() && b.is_constant()) return a.constant() < b.constant() ? -1 : 1;
  if (a.is_constant() != b.is_constant()) return a.is_constant() ? -1 : 1;
  const Terms& x = a.node()->terms;
  const Terms& y = b.node()->terms;
  if (x.size() != y.size()) return x.size() < y.size() ? -1 : 1;
  for (size_t i = x.size(); i-- > 0;) {
    if (const int order = compare_factors(x[i].factors, y[i].factors)) return order;
    if (x[i].coefficient != y[i].coefficient) {
      return x[i].coefficient < y[i].coefficient ? -1 : 1;
    }
  }
  return 0;
}

int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient - (a % b != 0 && (a < 0) != (b < 0) ? 1 : 0);
}

int64_t floor_remainder(int64_t a, int64_t b) {
  const int64_t remainder = a % b;
  return remainder != 0 && (remainder < 0) != (b < 0) ? remainder + b : remainder;
}

void throw_overflow(const Expr& a, std::string_view operation, const Expr& b) {
  throw Error(ErrorCode::kOverflow, "symbolic arithmetic left the 64-bit range: (" + to_string(a) +
                                        ") " + std::string(operation) + " (" + to_string(b) + ")");
}

void throw_division_by_zero(const Expr& dividend) {
  throw Error(ErrorCode::kInvalidArgument, "division by zero: " + to_string(dividend) + " by 0");
}

}  // namespace portwright
