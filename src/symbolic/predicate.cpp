#include "symbolic/predicate.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "base/error.h"
#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {

struct Predicate::Node {
  Kind kind = Kind::kConstant;
  bool constant = true;
  Relation relation = Relation::kEq;
  Expr expr;
  Real left = 0.0, right = 0.0;
  std::vector<Predicate> operands;
};

namespace {

// expr >= 0 over the integers, with coefficients divided by their common factor.
Expr reduce_inequality(const Expr& expr) {
  if (expr.is_constant()) return expr;
  const int64_t divisor = content(expr);
  if (divisor == 1) return expr;
  const int64_t constant = floor_quotient(constant_term(expr), divisor);
  return *divide_exactly(without_constant(expr), divisor) + Expr(constant);
}

// expr == 0 with its largest term positive and no common factor; nothing when it can never hold.
std::optional<Expr> reduce_equality(const Expr& given) {
  const Expr expr = leading_coefficient(given) < 0 ? -given : given;
  const int64_t divisor = content(expr);
  if (divisor == 1) return expr;
  if (constant_term(expr) % divisor != 0) return std::nullopt;
  return divide_exactly(expr, divisor);
}

bool holds(double a, Relation relation, double b) {
  switch (relation) {
    case Relation::kEq: return a == b;
    case Relation::kNe: return a != b;
    case Relation::kLt: return a < b;
    case Relation::kLe: return a <= b;
    case Relation::kGt: return a > b;
    case Relation::kGe: return a >= b;
  }
  return false;
}

bool positive(const Expr& expr) {
  return expr.is_constant() ? expr.constant() > 0 : expr.table()->range(expr).lo > 0;
}

Relation negated(Relation relation) {
  switch (relation) {
    case Relation::kEq: return Relation::kNe;
    case Relation::kNe: return Relation::kEq;
    case Relation::kLt: return Relation::kGe;
    case Relation::kLe: return Relation::kGt;
    case Relation::kGt: return Relation::kLe;
    case Relation::kGe: return Relation::kLt;
  }
  return relation;
}

// "No limit" constants (the end of s[1:]) are brought to where no size is, so that differences with
// sizes stay in 64 bits.
Expr without_limits(const Expr& expr) {
  constexpr int64_t kBeyond = int64_t{1} << 61;
  if (!expr.is_constant()) return expr;
  return std::clamp(expr.constant(), -kBeyond, kBeyond);
}

}  // namespace

Predicate::Predicate(bool constant) {
  static const auto kTrue = std::make_shared<const Node>();
  static const auto kFalse = [] {
    auto node = std::make_shared<Node>();
    node->constant = false;
    return std::shared_ptr<const Node>(node);
  }();
  node_ = constant ? kTrue : kFalse;
}

Predicate Predicate::compare(const Expr& left, Relation relation, const Expr& right) {
  const bool with_sizes = !left.is_constant() || !right.is_constant();
  const Expr a = with_sizes ? without_limits(left) : left;
  const Expr b = with_sizes ? without_limits(right) : right;
  auto integer = [](Relation kept, Expr expr) {
    auto node = std::make_shared<Node>();
    node->kind = Kind::kInteger;
    node->relation = kept;
    node->expr = expr;
    return Predicate(std::shared_ptr<const Node>(std::move(node)));
  };
  if (relation == Relation::kEq || relation == Relation::kNe) {
    const bool equal = relation == Relation::kEq;
    const Expr difference = a - b;
    if (difference.is_constant()) return (difference.constant() == 0) == equal;
    const auto reduced = reduce_equality(difference);
    if (!reduced) return !equal;
    return integer(relation, *reduced);
  }
  Expr difference = 0;  // to be >= 0
  if (relation == Relation::kGe) difference = a - b;
  if (relation == Relation::kGt) difference = a - b - Expr(1);
  if (relation == Relation::kLe) difference = b - a;
  if (relation == Relation::kLt) difference = b - a - Expr(1);
  if (difference.is_constant()) return difference.constant() >= 0;
  return integer(Relation::kGe, reduce_inequality(difference));
}

Predicate Predicate::compare(const Real& a, Relation relation, const Real& b) {
  const auto x = a.maybe_constant();
  const auto y = b.maybe_constant();
  if (x && y) return holds(*x, relation, *y);
  auto ratio_of = [](const Real& real) -> std::optional<Real> {
    if (real.op() == RealOp::kRatio) return real;
    if (const auto constant = real.maybe_constant();
        constant && *constant == static_cast<double>(static_cast<int64_t>(*constant))) {
      return Real::ratio(static_cast<int64_t>(*constant));
    }
    return std::nullopt;
  };
  const auto left = ratio_of(a);
  const auto right = ratio_of(b);
  if (left && right && positive(left->denominator()) && positive(right->denominator())) {
    return compare(left->numerator() * right->denominator(), relation,
                   right->numerator() * left->denominator());
  }
  auto node = std::make_shared<Node>();
  node->kind = Kind::kReal;
  node->relation = relation;
  node->left = a;
  node->right = b;
  return Predicate(std::shared_ptr<const Node>(std::move(node)));
}

Predicate operator&&(const Predicate& a, const Predicate& b) {
  if (const auto truth = a.maybe_constant()) return *truth ? b : a;
  if (const auto truth = b.maybe_constant()) return *truth ? a : b;
  if (a == b) return a;
  auto node = std::make_shared<Predicate::Node>();
  node->kind = Predicate::Kind::kAnd;
  node->operands = {a, b};
  return Predicate(std::shared_ptr<const Predicate::Node>(std::move(node)));
}

Predicate operator||(const Predicate& a, const Predicate& b) {
  if (const auto truth = a.maybe_constant()) return *truth ? a : b;
  if (const auto truth = b.maybe_constant()) return *truth ? b : a;
  if (a == b) return a;
  auto node = std::make_shared<Predicate::Node>();
  node->kind = Predicate::Kind::kOr;
  node->operands = {a, b};
  return Predicate(std::shared_ptr<const Predicate::Node>(std::move(node)));
}

Predicate operator!(const Predicate& a) {
  if (const auto truth = a.maybe_constant()) return !*truth;
  switch (a.kind()) {
    case Predicate::Kind::kNot: return a.operands()[0];
    case Predicate::Kind::kInteger: return Predicate::compare(a.expr(), negated(a.relation()), 0);
    default: break;
  }
  auto node = std::make_shared<Predicate::Node>();
  node->kind = Predicate::Kind::kNot;
  node->operands = {a};
  return Predicate(std::shared_ptr<const Predicate::Node>(std::move(node)));
}

Predicate::Kind Predicate::kind() const { return node_->kind; }

std::optional<bool> Predicate::maybe_constant() const {
  if (node_->kind != Kind::kConstant) return std::nullopt;
  return node_->constant;
}

Relation Predicate::relation() const { return node_->relation; }
const Expr& Predicate::expr() const { return node_->expr; }
const Real& Predicate::left() const { return node_->left; }
const Real& Predicate::right() const { return node_->right; }
std::span<const Predicate> Predicate::operands() const { return node_->operands; }

bool Predicate::evaluate(std::span<const int64_t> values) const {
  switch (node_->kind) {
    case Kind::kConstant: return node_->constant;
    case Kind::kInteger: {
      const int64_t value = portwright::evaluate(node_->expr, values);
      if (node_->relation == Relation::kGe) return value >= 0;
      return (value == 0) == (node_->relation == Relation::kEq);
    }
    case Kind::kReal:
      return holds(node_->left.evaluate(values), node_->relation, node_->right.evaluate(values));
    case Kind::kAnd:
      return node_->operands[0].evaluate(values) && node_->operands[1].evaluate(values);
    case Kind::kOr:
      return node_->operands[0].evaluate(values) || node_->operands[1].evaluate(values);
    case Kind::kNot: return !node_->operands[0].evaluate(values);
  }
  return false;
}

Predicate Predicate::substitute(
    const std::function<std::optional<Expr>(SymbolId)>& replacement) const {
  switch (node_->kind) {
    case Kind::kConstant: return *this;
    case Kind::kInteger:
      return compare(portwright::substitute(node_->expr, replacement), node_->relation, 0);
    case Kind::kReal:
      return compare(node_->left.substitute(replacement), node_->relation,
                     node_->right.substitute(replacement));
    case Kind::kAnd:
      return node_->operands[0].substitute(replacement) &&
             node_->operands[1].substitute(replacement);
    case Kind::kOr:
      return node_->operands[0].substitute(replacement) ||
             node_->operands[1].substitute(replacement);
    case Kind::kNot: return !node_->operands[0].substitute(replacement);
  }
  return *this;
}

void Predicate::for_each_symbol(const std::function<void(SymbolId)>& visit) const {
  if (node_->kind == Kind::kInteger) portwright::for_each_symbol(node_->expr, visit);
  if (node_->kind == Kind::kReal) {
    node_->left.for_each_symbol(visit);
    node_->right.for_each_symbol(visit);
  }
  for (const Predicate& operand : node_->operands) operand.for_each_symbol(visit);
}

bool operator==(const Predicate& a, const Predicate& b) {
  if (a.node_ == b.node_) return true;
  const Predicate::Node &x = *a.node_, &y = *b.node_;
  if (x.kind != y.kind || x.constant != y.constant || x.relation != y.relation ||
      !(x.expr == y.expr) || x.operands.size() != y.operands.size()) {
    return false;
  }
  if (!(x.left == y.left) || !(x.right == y.right)) return false;
  for (size_t i = 0; i < x.operands.size(); ++i) {
    if (!(x.operands[i] == y.operands[i])) return false;
  }
  return true;
}

}  // namespace portwright
