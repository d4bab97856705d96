// Symbolic integer expressions: hash-consed polynomials over atoms.
//
// An Expr is either a 64-bit constant (needs no table) or a pointer to a node that a SymbolTable
// owns. Nodes are canonical and unique in their table, so equality is pointer equality. Arithmetic
// follows Python: floor division rounds down, mod takes the divisor's sign. Every operation checks
// for 64-bit overflow and throws Error(kOverflow).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "symbolic/interval.h"

namespace portwright {

class SymbolTable;
class Real;
struct Atom;
struct Polynomial;

using SymbolId = uint32_t;

class Expr {
 public:
  Expr() = default;
  // Constants are expressions. A template, so that a literal 0 is never taken for a null node.
  template <std::integral T>
  Expr(T constant) : constant_(static_cast<int64_t>(constant)) {}  // NOLINT
  explicit Expr(const Polynomial* node) : node_(node) {}

  bool is_constant() const { return node_ == nullptr; }
  // The value of a constant expression; Error(kInternal) otherwise.
  int64_t constant() const;
  std::optional<int64_t> maybe_constant() const;
  bool is_constant(int64_t value) const { return is_constant() && constant_ == value; }
  // The symbol when the expression is one symbol and nothing else.
  std::optional<SymbolId> symbol() const;

  const Polynomial* node() const { return node_; }
  // The table that owns the node; null for constants.
  SymbolTable* table() const;
  size_t hash() const;

  friend bool operator==(const Expr& a, const Expr& b) {
    return a.node_ == b.node_ && a.constant_ == b.constant_;
  }

 private:
  const Polynomial* node_ = nullptr;
  int64_t constant_ = 0;  // 0 when node_ is set
};

Expr operator+(const Expr& a, const Expr& b);
Expr operator-(const Expr& a, const Expr& b);
Expr operator*(const Expr& a, const Expr& b);
Expr operator-(const Expr& a);
// Floor division, the identity a == b * floor_div(a, b) + mod(a, b) holds. A zero constant divisor
// is Error(kInvalidArgument).
Expr floor_div(const Expr& a, const Expr& b);
Expr ceil_div(const Expr& a, const Expr& b);
Expr mod(const Expr& a, const Expr& b);
Expr min(const Expr& a, const Expr& b);
Expr max(const Expr& a, const Expr& b);
// base ** exponent for a constant exponent >= 0.
Expr pow(const Expr& base, int64_t exponent);
Expr product(std::span<const Expr> factors);
// a / b when b divides a as polynomials (for all values), else nothing.
std::optional<Expr> divide_exactly(const Expr& a, const Expr& b);

// Text that parse_expr() reads back: "2*batch*seq + floordiv(seq + 1, 2) - 3".
std::string to_string(const Expr& expr);

// What an atom is. kFromReal rounds a symbolic float to an integer.
enum class AtomKind : uint8_t { kSymbol, kFloorDiv, kMod, kMin, kMax, kFromReal };
enum class Rounding : uint8_t { kFloor, kCeil, kTrunc, kHalfEven };

// An indivisible factor. Owned by its table; unique per (kind, operands).
struct Atom {
  AtomKind kind = AtomKind::kSymbol;
  uint32_t id = 0;  // creation order, the canonical order of factors
  SymbolId symbol = 0;
  Expr a, b;                             // operands of kFloorDiv .. kMax
  const Real* real = nullptr;            // operand of kFromReal, owned by the table
  Rounding rounding = Rounding::kFloor;  // of kFromReal
  uint64_t symbol_mask = 0;              // bit (id % 64) is set for every symbol inside
  const Polynomial* node = nullptr;      // the expression that is this atom alone

  struct CachedRange {
    uint32_t generation = 0;
    Interval range;
  };
  mutable CachedRange cached_range[2];  // by assume_sizes; kept by SymbolTable::range()
};

// coefficient * factors[0] * factors[1] * ...; factors sorted by id, powers repeated.
struct Term {
  int64_t coefficient = 0;
  std::vector<const Atom*> factors;
};

// A sum of terms, sorted by degree and then by factors (the constant term, with no factors, first);
// no zero coefficients; never a plain constant.
struct Polynomial {
  SymbolTable* table = nullptr;
  std::vector<Term> terms;
  size_t hash = 0;
  uint64_t symbol_mask = 0;    // bit (id % 64) is set for every symbol inside
  bool only_symbols = true;    // every factor is a symbol
  bool has_mod = false;        // some factor is a kMod atom
  bool has_floor_div = false;  // some factor is a kFloorDiv atom
};

// Calls `visit` once for every distinct symbol that the expression depends on, in id order.
void for_each_symbol(const Expr& expr, const std::function<void(SymbolId)>& visit);
bool depends_on(const Expr& expr, SymbolId symbol);

// The value with symbols replaced by `values[symbol id]`. Error(kOverflow), and
// Error(kInvalidArgument) for a division by zero.
int64_t evaluate(const Expr& expr, std::span<const int64_t> values);

// The expression with each symbol replaced by `replacement(symbol)`, built anew (and thereby
// simplified again). Symbols for which it returns nothing stay.
Expr substitute(const Expr& expr, const std::function<std::optional<Expr>(SymbolId)>& replacement);

}  // namespace portwright

template <>
struct std::hash<portwright::Expr> {
  size_t operator()(const portwright::Expr& expr) const { return expr.hash(); }
};
