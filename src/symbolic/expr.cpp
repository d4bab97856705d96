// Addition and multiplication on canonical polynomials. division.cpp and min_max.cpp hold the rest.
#include "symbolic/expr.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

using Operation = SymbolTable::Operation;

Expr combine(const Expr& a, int64_t scale, const Expr& b) {
  const std::optional<Expr> sum = try_combine(a, scale, b);
  if (!sum) throw_overflow(a, scale > 0 ? "+" : "-", b);
  return fold_division_identities(*sum);
}

// Sorts terms and adds up those with the same factors. False on overflow.
bool canonicalize(Terms* terms) {
  std::sort(terms->begin(), terms->end(),
            [](const Term& a, const Term& b) { return compare_factors(a.factors, b.factors) < 0; });
  size_t kept = 0;
  for (size_t i = 0; i < terms->size();) {
    Term sum = std::move((*terms)[i]);
    for (++i; i < terms->size() && (*terms)[i].factors == sum.factors; ++i) {
      const int64_t other = (*terms)[i].coefficient;
      if (__builtin_add_overflow(sum.coefficient, other, &sum.coefficient)) return false;
    }
    if (sum.coefficient != 0) (*terms)[kept++] = std::move(sum);
  }
  terms->resize(kept);
  return true;
}

bool multiply_terms(const TermView& a, const TermView& b, Terms* product) {
  product->reserve(a.size() * b.size());
  for (const Term& x : a) {
    for (const Term& y : b) {
      Term& term = product->emplace_back();
      if (__builtin_mul_overflow(x.coefficient, y.coefficient, &term.coefficient)) return false;
      term.factors = multiply_factors(x.factors, y.factors);
    }
  }
  return a.size() == 1 || b.size() == 1 || canonicalize(product);
}

Expr multiply_nodes(const Expr& a, const Expr& b) {
  const std::optional<Expr> product = try_multiply(a, b);
  if (!product) throw_overflow(a, "*", b);
  return fold_division_identities(*product);
}

}  // namespace

std::optional<Expr> try_multiply(const Expr& a, const Expr& b) {
  if (a.is_constant() && b.is_constant()) {
    int64_t product;
    if (__builtin_mul_overflow(a.constant(), b.constant(), &product)) return std::nullopt;
    return product;
  }
  Terms terms;
  if (!multiply_terms(TermView(a), TermView(b), &terms)) return std::nullopt;
  return make_expr(common_table(a, b), std::move(terms));
}

int64_t Expr::constant() const {
  if (!is_constant()) {
    throw Error(ErrorCode::kInternal, "expected a constant, got " + to_string(*this));
  }
  return constant_;
}

std::optional<int64_t> Expr::maybe_constant() const {
  if (is_constant()) return constant_;
  return std::nullopt;
}

std::optional<SymbolId> Expr::symbol() const {
  if (is_constant() || node_->terms.size() != 1) return std::nullopt;
  const Term& term = node_->terms.front();
  if (term.coefficient != 1 || term.factors.size() != 1) return std::nullopt;
  const Atom& atom = *term.factors.front();
  if (atom.kind != AtomKind::kSymbol) return std::nullopt;
  return atom.symbol;
}

SymbolTable* Expr::table() const { return node_ == nullptr ? nullptr : node_->table; }

size_t Expr::hash() const {
  return node_ == nullptr ? static_cast<size_t>(constant_) * 0x9e3779b97f4a7c15ULL : node_->hash;
}

Expr operator+(const Expr& a, const Expr& b) {
  if (a.is_constant() && b.is_constant()) {
    int64_t sum;
    if (__builtin_add_overflow(a.constant(), b.constant(), &sum)) throw_overflow(a, "+", b);
    return sum;
  }
  if (b.is_constant(0)) return a;
  if (a.is_constant(0)) return b;
  return common_table(a, b)->remember(Operation::kAdd, a, b, [&] { return combine(a, 1, b); });
}

Expr operator-(const Expr& a, const Expr& b) {
  if (a.is_constant() && b.is_constant()) {
    int64_t difference;
    if (__builtin_sub_overflow(a.constant(), b.constant(), &difference)) throw_overflow(a, "-", b);
    return difference;
  }
  if (b.is_constant(0)) return a;
  if (a == b) return 0;
  return common_table(a, b)->remember(Operation::kSub, a, b, [&] { return combine(a, -1, b); });
}

Expr operator-(const Expr& a) { return Expr(0) - a; }

Expr operator*(const Expr& a, const Expr& b) {
  if (a.is_constant() && b.is_constant()) {
    int64_t product;
    if (__builtin_mul_overflow(a.constant(), b.constant(), &product)) throw_overflow(a, "*", b);
    return product;
  }
  if (a.is_constant(0) || b.is_constant(0)) return 0;
  if (a.is_constant(1)) return b;
  if (b.is_constant(1)) return a;
  return common_table(a, b)->remember(Operation::kMul, a, b, [&] { return multiply_nodes(a, b); });
}

Expr pow(const Expr& base, int64_t exponent) {
  if (exponent < 0) {
    throw Error(ErrorCode::kInvalidArgument,
                to_string(base) + " ** " + std::to_string(exponent) + ": negative exponent");
  }
  Expr result = 1;
  Expr square = base;
  for (int64_t rest = exponent; rest > 0; rest >>= 1) {
    if (rest & 1) result = result * square;
    if (rest > 1) square = square * square;
  }
  return result;
}

Expr product(std::span<const Expr> factors) {
  Expr result = 1;
  for (const Expr& factor : factors) result = result * factor;
  return result;
}

}  // namespace portwright
