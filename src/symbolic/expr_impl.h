// Internals shared by the files that build expressions; not for other folders.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "symbolic/expr.h"

namespace portwright {

using Factors = std::vector<const Atom*>;
using Terms = std::vector<Term>;

// The terms of an expression; a constant shows as one term without factors, zero as none.
class TermView {
 public:
  explicit TermView(const Expr& expr);
  TermView(const TermView&) = delete;
  TermView& operator=(const TermView&) = delete;

  const Term* begin() const { return begin_; }
  const Term* end() const { return end_; }
  size_t size() const { return static_cast<size_t>(end_ - begin_); }
  const Term& operator[](size_t i) const { return begin_[i]; }

 private:
  Term constant_;
  const Term* begin_;
  const Term* end_;
};

// The canonical order of terms: by degree, then by the factors' ids. It is a monomial order, so
// multiplying sorted terms by one monomial leaves them sorted.
int compare_factors(const Factors& a, const Factors& b);
Factors multiply_factors(const Factors& a, const Factors& b);
// a without b's factors; nothing when b does not divide a.
std::optional<Factors> divide_factors(const Factors& a, const Factors& b);

// a + scale * b on sorted terms. False on overflow.
bool add_scaled(const TermView& a, const TermView& b, int64_t scale, Terms* sum);

// The expression with these sorted terms, which may be none or a constant alone.
Expr make_expr(SymbolTable* table, Terms terms);
// a + scale * b, or nothing on overflow; without the folding of division identities.
std::optional<Expr> try_combine(const Expr& a, int64_t scale, const Expr& b);

// a * b with no identity folded; nothing on overflow.
std::optional<Expr> try_multiply(const Expr& a, const Expr& b);
// The table of two operands, of which at least one is no constant. Error(kInternal) when they
// belong to different tables.
SymbolTable* common_table(const Expr& a, const Expr& b);

// The constant term, and the rest.
int64_t constant_term(const Expr& expr);
Expr without_constant(const Expr& expr);
// The common divisor (> 0) of all coefficients but the constant term's. 1 when out of range.
int64_t content(const Expr& expr);
// The coefficient of the largest term.
int64_t leading_coefficient(const Expr& expr);
// The factors that all terms share; none for constants.
Factors common_factors(const Expr& expr);
// The expression with every term divided by these factors, which must divide them.
Expr divide_by_factors(const Expr& expr, const Factors& factors);
Expr from_factors(SymbolTable* table, int64_t coefficient, const Factors& factors);
// An order of expressions that does not depend on addresses.
int compare_exprs(const Expr& a, const Expr& b);

// Rewrites b * floor_div(a, b) + mod(a, b) to a wherever a sum holds both.
Expr fold_division_identities(const Expr& sum);
// Rewrites k * floor_div(a, k) to a - mod(a, k) where that makes the sum shorter.
Expr fold_floor_multiples(const Expr& sum);

int64_t floor_quotient(int64_t a, int64_t b);
int64_t floor_remainder(int64_t a, int64_t b);

[[noreturn]] void throw_overflow(const Expr& a, std::string_view operation, const Expr& b);
[[noreturn]] void throw_division_by_zero(const Expr& dividend);

}  // namespace portwright
