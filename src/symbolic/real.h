// Symbolic floats: what Python's float detours over symbolic ints build (`n / 2`, `n * 0.5`,
// `math.sqrt(n)`), until they are rounded back to an integer.
//
// Quotients of integer expressions and products with doubles that are short dyadic fractions are
// kept as an exact ratio, so that floor(n / 2) becomes floor_div(n, 2). Anything else is a tree of
// double operations that is evaluated as Python would. A ratio stands only where doubles give the
// same value (integers below 2^53 taken for granted): (n / 49) * 49 stays a tree, because in
// doubles it is not always n.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "symbolic/expr.h"

namespace portwright {

// Operations on doubles as Python and torch.SymFloat define them.
enum class RealOp : uint8_t {
  kConstant,  // value
  kRatio,     // numerator / denominator, exact
  kFromData,  // what data decides: the numerator is its symbol
  kAdd,
  kSub,
  kMul,
  kTrueDiv,
  kFloorDiv,
  kMod,
  kPow,
  kMin,
  kMax,
  kNeg,
  kSqrt,
  kLog,
  kExp,
  kFloor,
  kCeil,
  kTrunc,  // the last three keep a float
};

// An immutable value; copies share the tree.
class Real {
 public:
  Real(double constant);  // NOLINT: constants are reals
  static Real ratio(const Expr& numerator, const Expr& denominator = 1);
  // The float of a symbol that SymbolInfo::is_float marks.
  static Real from_data(const Expr& symbol);
  static Real binary(RealOp op, const Real& a, const Real& b);
  static Real unary(RealOp op, const Real& a);

  RealOp op() const;
  std::optional<double> maybe_constant() const;
  // For kRatio; for kFromData the symbol and 1.
  const Expr& numerator() const;
  const Expr& denominator() const;
  // Operands of binary (2) and unary (1) operations.
  std::span<const Real> operands() const;
  // The table of the symbols inside; null when there are none.
  SymbolTable* table() const;

  double evaluate(std::span<const int64_t> values) const;
  Real substitute(const std::function<std::optional<Expr>(SymbolId)>& replacement) const;
  void for_each_symbol(const std::function<void(SymbolId)>& visit) const;

  // Structural equality and the hash that goes with it.
  friend bool operator==(const Real& a, const Real& b);
  size_t hash() const;

 private:
  struct Node;
  explicit Real(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  std::shared_ptr<const Node> node_;
};

// The integer that rounding gives: exact floor/ceil divisions for ratios, else a kFromReal atom.
// `table` owns the atom (null is fine for constants).
Expr round_to_int(const Real& real, Rounding rounding, SymbolTable* table);

// Text that parse_real() reads back: "sqrt(ratio(seq, 1))", "mul(ratio(seq, 3), 0.3)".
std::string to_string(const Real& real);

}  // namespace portwright
