// Floor division and mod, with the simplifications that hold for every integer.
#include <numeric>
#include <utility>

#include "base/error.h"
#include "symbolic/expr.h"
#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

using Operation = SymbolTable::Operation;

// Larger coefficients are left alone where a rewrite would multiply them.
constexpr int64_t kSmall = int64_t{1} << 31;

bool is_small(const Expr& expr) {
  for (const Term& term : TermView(expr)) {
    if (term.coefficient >= kSmall || term.coefficient <= -kSmall) return false;
  }
  return true;
}

struct Split {
  Expr quotient;
  Expr remainder;
};

// a == divisor * quotient + remainder for a monomial divisor. Coefficients are divided towards
// zero, so that a term keeps its sign; the constant is rounded down, so that it ends in [0, k).
Split split_by_monomial(const Expr& a, const Term& divisor, SymbolTable* table) {
  Terms quotient, remainder;
  for (const Term& term : TermView(a)) {
    std::optional<Factors> factors = divide_factors(term.factors, divisor.factors);
    const int64_t multiple =
        !factors ? 0
                 : (term.factors.empty() ? floor_quotient(term.coefficient, divisor.coefficient)
                                         : term.coefficient / divisor.coefficient);
    if (multiple != 0) quotient.push_back({multiple, *std::move(factors)});
    const int64_t rest = term.coefficient - multiple * divisor.coefficient;
    if (rest != 0) remainder.push_back({rest, term.factors});
  }
  return {make_expr(table, std::move(quotient)), make_expr(table, std::move(remainder))};
}

const Term* as_monomial(const TermView& view) { return view.size() == 1 ? view.begin() : nullptr; }

// A term that is a coefficient times one atom of this kind.
const Atom* linear_atom(const Term& term, AtomKind kind) {
  if (term.factors.size() != 1 || term.factors[0]->kind != kind) return nullptr;
  return term.factors[0];
}

bool is_multiple(const Expr& a, const Expr& b) {
  if (a == b) return true;
  return a.is_constant() && b.is_constant() && a.constant() % b.constant() == 0;
}

// The divisor's range without a zero at its ends: a division by zero has no value to describe.
Interval without_zero(Interval range) {
  if (range.lo == 0) range.lo = 1;
  if (range.hi == 0) range.hi = -1;
  return range;
}

// The quotient when the ranges leave only one.
std::optional<int64_t> quotient_by_range(const Expr& a, const Expr& b, const SymbolTable& table) {
  const Interval a_range = table.range(a);
  const Interval b_range = without_zero(table.range(b));
  if (a_range.empty() || b_range.empty()) return std::nullopt;
  const Interval quotient = floor_div(a_range, b_range);
  if (quotient.is_point()) return quotient.lo;
  if (b.is_constant() || a_range.lo < 0 || b_range.lo < 0) return std::nullopt;
  if (table.range_of_difference(b, a).lo >= 1) return 0;
  return std::nullopt;
}

// floor((p + floor(y / m)) / k) == floor((m * p + y) / (m * k)), and likewise with -floor(y / m),
// which is floor((-y + m - 1) / m). Only for a single such term, so that the rewrite ends.
std::optional<Expr> merge_nested_floor(const Expr& a, int64_t k) {
  if (!a.node()->has_floor_div || !is_small(a)) return std::nullopt;
  const Term* found = nullptr;
  for (const Term& term : a.node()->terms) {
    const Atom* atom = linear_atom(term, AtomKind::kFloorDiv);
    if (atom == nullptr || !atom->b.is_constant()) continue;
    if (found != nullptr) return std::nullopt;
    found = &term;
  }
  if (found == nullptr || (found->coefficient != 1 && found->coefficient != -1)) {
    return std::nullopt;
  }
  const Atom& inner = *found->factors[0];
  const int64_t m = inner.b.constant();
  if (m >= kSmall / k || !is_small(inner.a)) return std::nullopt;
  const Expr rest = a - Expr(found->coefficient) * Expr(inner.node);
  const Expr numerator = found->coefficient == 1 ? inner.a : -inner.a + (m - 1);
  return floor_div(rest * m + numerator, k * m);
}

// floor((n + c * mod(y, j)) / b) for a j that is a multiple of b: with mod(y, j) written as
// y - j * floor(y / j), when n + c * y is then a multiple of b (padding to a multiple, mostly).
std::optional<Expr> pull_out_mod(const Expr& a, const Expr& b) {
  if (!a.node()->has_mod) return std::nullopt;
  for (const Term& term : a.node()->terms) {
    const Atom* atom = linear_atom(term, AtomKind::kMod);
    if (atom == nullptr || !is_multiple(atom->b, b)) continue;
    const Expr c = term.coefficient;
    const Expr whole = a - c * Expr(atom->node) + c * atom->a;
    const int64_t constant =
        b.is_constant() ? floor_remainder(constant_term(whole), b.constant()) : 0;
    const std::optional<Expr> quotient = divide_exactly(whole - constant, b);
    if (!quotient) continue;
    return *quotient - c * *divide_exactly(atom->b, b) * floor_div(atom->a, atom->b);
  }
  return std::nullopt;
}

Expr floor_div_atom(const Expr& a, const Expr& b, SymbolTable* table) {
  return Expr(table->intern_atom(AtomKind::kFloorDiv, a, b)->node);
}

// k > 1, `a` is no constant.
Expr floor_div_by_constant(const Expr& a, int64_t k) {
  SymbolTable* table = a.table();
  const Split split = split_by_monomial(a, Term{k, {}}, table);
  if (!split.quotient.is_constant(0)) return split.quotient + floor_div(split.remainder, k);
  if (const int64_t g = std::gcd(content(a), k); g > 1) {
    const int64_t constant = constant_term(a);
    const Expr reduced = *divide_exactly(a - constant, g) + floor_quotient(constant, g);
    return floor_div(reduced, k / g);
  }
  if (const std::optional<int64_t> quotient = quotient_by_range(a, k, *table)) return *quotient;
  if (std::optional<Expr> result = merge_nested_floor(a, k)) return *result;
  if (std::optional<Expr> result = pull_out_mod(a, k)) return *result;
  if (leading_coefficient(a) < 0) return -floor_div(Expr(k - 1) - a, k);
  return floor_div_atom(a, k, table);
}

// The common factor of a and b that may be cancelled: monomial and coefficients.
Expr common_monomial(const Expr& a, const Expr& b, SymbolTable* table) {
  Factors shared;
  if (!a.is_constant()) {
    const Factors of_a = common_factors(a);
    for (const Atom* factor : common_factors(b)) {
      Factors longer = multiply_factors(shared, {factor});
      if (divide_factors(of_a, longer)) shared = std::move(longer);
    }
  }
  const auto all = [](const Expr& expr) {
    const int64_t constant = constant_term(expr);
    if (expr.is_constant()) return std::gcd(constant, int64_t{0});
    return constant == 0 ? content(expr) : std::gcd(content(expr), constant);
  };
  return from_factors(table, std::gcd(all(a), all(b)), shared);
}

// `b` is no constant and its leading coefficient is positive.
Expr floor_div_by_symbols(const Expr& a, const Expr& b) {
  SymbolTable* table = b.table();
  if (const std::optional<Expr> quotient = divide_exactly(a, b)) return *quotient;
  if (const Expr common = common_monomial(a, b, table); !common.is_constant(1)) {
    return floor_div(*divide_exactly(a, common), *divide_exactly(b, common));
  }
  const TermView divisor(b);
  if (const Term* monomial = as_monomial(divisor)) {
    const Split split = split_by_monomial(a, *monomial, table);
    if (!split.quotient.is_constant(0)) return split.quotient + floor_div(split.remainder, b);
  }
  if (const std::optional<int64_t> quotient = quotient_by_range(a, b, *table)) return *quotient;
  if (!a.is_constant()) {
    if (std::optional<Expr> result = pull_out_mod(a, b)) return *result;
  }
  return floor_div_atom(a, b, table);
}

// mod(c * mod(y, j) + n, b) == mod(c * y + n, b) for a j that b divides.
std::optional<Expr> drop_inner_mod(const Expr& a, const Expr& b) {
  if (a.is_constant() || !a.node()->has_mod) return std::nullopt;
  for (const Term& term : a.node()->terms) {
    const Atom* atom = linear_atom(term, AtomKind::kMod);
    if (atom == nullptr || !is_multiple(atom->b, b)) continue;
    if (!is_small(atom->a) || !is_small(a)) continue;
    const Expr c = term.coefficient;
    return a - c * Expr(atom->node) + c * atom->a;
  }
  return std::nullopt;
}

// b is either a constant > 1 or has a positive leading coefficient.
Expr mod_nodes(const Expr& a, const Expr& b) {
  SymbolTable* table = common_table(a, b);
  const TermView divisor(b);
  if (const Term* monomial = as_monomial(divisor)) {
    const Split split = split_by_monomial(a, *monomial, table);
    if (!split.quotient.is_constant(0)) return mod(split.remainder, b);
  }
  if (!b.is_constant() && divide_exactly(a, b)) return 0;
  if (b.is_constant()) {
    // mod(g * y + r, g * k) == g * mod(y, k) + r for 0 <= r < g.
    const int64_t g = std::gcd(content(a), b.constant());
    const int64_t rest = floor_remainder(constant_term(a), g);
    if (g > 1) return mod(*divide_exactly(a - rest, g), b.constant() / g) * g + rest;
  } else if (const Expr common = common_monomial(a, b, table); !common.is_constant(1)) {
    return common * mod(*divide_exactly(a, common), *divide_exactly(b, common));
  }
  if (const std::optional<int64_t> quotient = quotient_by_range(a, b, *table)) {
    return a - b * *quotient;
  }
  if (std::optional<Expr> inner = drop_inner_mod(a, b)) return mod(*inner, b);
  return Expr(table->intern_atom(AtomKind::kMod, a, b)->node);
}

}  // namespace

Expr floor_div(const Expr& a, const Expr& b) {
  if (b.is_constant()) {
    const int64_t k = b.constant();
    if (k == 0) throw_division_by_zero(a);
    if (k == 1) return a;
    if (k == -1) return -a;
    if (a.is_constant()) return floor_quotient(a.constant(), k);
    if (k < 0) return floor_div(-a, -b);
    return a.table()->remember(Operation::kFloorDiv, a, b,
                               [&] { return floor_div_by_constant(a, k); });
  }
  if (a.is_constant(0)) return 0;
  if (leading_coefficient(b) < 0) return floor_div(-a, -b);
  return common_table(a, b)->remember(Operation::kFloorDiv, a, b,
                                      [&] { return floor_div_by_symbols(a, b); });
}

Expr mod(const Expr& a, const Expr& b) {
  if (b.is_constant()) {
    const int64_t k = b.constant();
    if (k == 0) throw_division_by_zero(a);
    if (k == 1 || k == -1) return 0;
    if (a.is_constant()) return floor_remainder(a.constant(), k);
  }
  if (a.is_constant(0)) return 0;
  if (leading_coefficient(b) < 0) return -mod(-a, -b);
  return common_table(a, b)->remember(Operation::kMod, a, b, [&] { return mod_nodes(a, b); });
}

Expr ceil_div(const Expr& a, const Expr& b) {
  if (b.is_constant() && a.is_constant()) return -floor_div(-a, b);
  const bool positive = b.is_constant() ? b.constant() > 0 : b.table()->range(b).lo > 0;
  return positive ? floor_div(a + (b - 1), b) : -floor_div(-a, b);
}

}  // namespace portwright
