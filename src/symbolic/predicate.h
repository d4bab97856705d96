// Conditions on symbolic ints and floats, kept in a canonical form.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "symbolic/expr.h"
#include "symbolic/real.h"

namespace portwright {

enum class Relation : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe };

// An immutable condition; copies share the tree.
class Predicate {
 public:
  enum class Kind : uint8_t { kConstant, kInteger, kReal, kAnd, kOr, kNot };

  Predicate(bool constant = true);  // NOLINT: constants are predicates
  // Kept as `expr <relation> 0` with relation in {kEq, kNe, kGe}, divided by the common factor of
  // the coefficients; to_string() gives back two readable sides.
  static Predicate compare(const Expr& a, Relation relation, const Expr& b);
  static Predicate compare(const Real& a, Relation relation, const Real& b);
  friend Predicate operator&&(const Predicate& a, const Predicate& b);
  friend Predicate operator||(const Predicate& a, const Predicate& b);
  friend Predicate operator!(const Predicate& a);

  Kind kind() const;
  std::optional<bool> maybe_constant() const;
  Relation relation() const;                    // kInteger, kReal
  const Expr& expr() const;                     // kInteger: expr relation 0
  const Real& left() const;                     // kReal: left relation right
  const Real& right() const;                    // kReal
  std::span<const Predicate> operands() const;  // kAnd, kOr (2), kNot (1)

  bool evaluate(std::span<const int64_t> values) const;
  Predicate substitute(const std::function<std::optional<Expr>(SymbolId)>& replacement) const;
  void for_each_symbol(const std::function<void(SymbolId)>& visit) const;

  friend bool operator==(const Predicate& a, const Predicate& b);

 private:
  struct Node;
  explicit Predicate(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  std::shared_ptr<const Node> node_;
};

// "seq <= 512", "not (a == b and c >= 2)".
std::string to_string(const Predicate& predicate);

}  // namespace portwright
