// Division of polynomials without remainder, and the identities between an expression, its floor
// quotients and its remainders.
#include <algorithm>
#include <utility>

#include "symbolic/expr.h"
#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

std::optional<Term> divide_term(const Term& a, const Term& b) {
  if (b.coefficient == -1 && a.coefficient == std::numeric_limits<int64_t>::min()) {
    return std::nullopt;
  }
  if (a.coefficient % b.coefficient != 0) return std::nullopt;
  std::optional<Factors> factors = divide_factors(a.factors, b.factors);
  if (!factors) return std::nullopt;
  return Term{a.coefficient / b.coefficient, *std::move(factors)};
}

std::optional<Expr> divide_by_monomial(const TermView& a, const Term& b, SymbolTable* table) {
  Terms quotient;
  quotient.reserve(a.size());
  for (const Term& term : a) {
    std::optional<Term> divided = divide_term(term, b);
    if (!divided) return std::nullopt;
    quotient.push_back(*std::move(divided));
  }
  return make_expr(table, std::move(quotient));
}

// Long division from the largest term down.
std::optional<Expr> divide_by_polynomial(const Expr& a, const Expr& b) {
  SymbolTable* table = common_table(a, b);
  const Term& divisor = b.node()->terms.back();
  Terms quotient;
  Expr rest = a;
  while (!rest.is_constant(0)) {
    if (rest.is_constant()) return std::nullopt;
    std::optional<Term> term = divide_term(rest.node()->terms.back(), divisor);
    if (!term) return std::nullopt;
    Terms scaled;
    for (const Term& t : b.node()->terms) {
      int64_t coefficient;
      if (__builtin_mul_overflow(t.coefficient, term->coefficient, &coefficient)) {
        return std::nullopt;
      }
      scaled.push_back({coefficient, multiply_factors(t.factors, term->factors)});
    }
    const std::optional<Expr> next = try_combine(rest, -1, make_expr(table, std::move(scaled)));
    if (!next) return std::nullopt;
    rest = *next;
    quotient.push_back(*std::move(term));
  }
  std::reverse(quotient.begin(), quotient.end());
  return make_expr(table, std::move(quotient));
}

// sum + multiplier * (a - mod(a, b) - b * floor_div(a, b)), which is the same value. Products are
// plain: folding them would come back here with the same term.
std::optional<Expr> exchange(const Expr& sum, const Expr& multiplier, const Atom& mod_atom) {
  std::optional<Expr> result = sum;
  auto add = [&](int64_t sign, const std::optional<Expr>& expr) {
    const auto product = expr ? try_multiply(multiplier, *expr) : std::nullopt;
    result = result && product ? try_combine(*result, sign, *product) : std::nullopt;
  };
  add(1, mod_atom.a);
  add(-1, Expr(mod_atom.node));
  add(-1, try_multiply(mod_atom.b, floor_div(mod_atom.a, mod_atom.b)));
  return result;
}

size_t term_count(const Expr& expr) { return TermView(expr).size(); }

// The first factor of this kind in a term, and the term without it.
const Atom* find_factor(const Term& term, AtomKind kind) {
  const auto found = std::find_if(term.factors.begin(), term.factors.end(),
                                  [kind](const Atom* atom) { return atom->kind == kind; });
  return found == term.factors.end() ? nullptr : *found;
}

}  // namespace

std::optional<Expr> divide_exactly(const Expr& a, const Expr& b) {
  if (b.is_constant(0)) return std::nullopt;
  if (a.is_constant(0)) return 0;
  if (b.is_constant(1)) return a;
  if (a == b) return 1;
  if (a.is_constant() && !b.is_constant()) return std::nullopt;
  const TermView dividend(a), divisor(b);
  if (divisor.size() == 1) {
    return divide_by_monomial(dividend, divisor[0],
                              a.is_constant() ? b.table() : common_table(a, b));
  }
  if (divisor.size() > 1 && dividend.size() < 2) return std::nullopt;
  return divide_by_polynomial(a, b);
}

Expr fold_division_identities(const Expr& sum) {
  if (sum.is_constant() || !sum.node()->has_mod || !sum.node()->has_floor_div) return sum;
  for (const Term& term : sum.node()->terms) {
    const Atom* atom = find_factor(term, AtomKind::kMod);
    if (atom == nullptr) continue;
    const Expr multiplier =
        from_factors(sum.table(), term.coefficient, *divide_factors(term.factors, {atom}));
    const std::optional<Expr> folded = exchange(sum, multiplier, *atom);
    if (folded && term_count(*folded) < term_count(sum)) return fold_division_identities(*folded);
  }
  return sum;
}

Expr fold_floor_multiples(const Expr& sum) {
  if (sum.is_constant() || !sum.node()->has_floor_div) return sum;
  for (const Term& term : sum.node()->terms) {
    const Atom* atom = find_factor(term, AtomKind::kFloorDiv);
    if (atom == nullptr) continue;
    const Expr rest =
        from_factors(sum.table(), term.coefficient, *divide_factors(term.factors, {atom}));
    const std::optional<Expr> multiplier = divide_exactly(rest, atom->b);
    if (!multiplier) continue;
    const std::optional<Expr> remainder = try_combine(atom->a, -1, mod(atom->a, atom->b));
    std::optional<Expr> folded =
        try_combine(sum, -1, from_factors(sum.table(), term.coefficient, term.factors));
    if (folded && remainder) folded = try_combine(*folded, 1, *multiplier * *remainder);
    if (folded && term_count(*folded) < term_count(sum)) return fold_floor_multiples(*folded);
  }
  return sum;
}

}  // namespace portwright
