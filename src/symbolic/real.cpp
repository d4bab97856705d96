#include "symbolic/real.h"

#include <array>
#include <bit>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"
#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {

struct Real::Node {
  RealOp op = RealOp::kConstant;
  double value = 0;
  Expr numerator, denominator = 1;
  std::vector<Real> operands;
  size_t hash = 0;
};

namespace {

// numerator / 2^k of a double that is a short dyadic fraction.
struct Fraction {
  int64_t numerator, denominator;
};

std::optional<Fraction> short_fraction(double value) {
  constexpr int64_t kMaxDenominator = int64_t{1} << 20;
  constexpr double kMaxNumerator = 1 << 20;
  for (int64_t denominator = 1; denominator <= kMaxDenominator; denominator *= 2) {
    const double scaled = value * static_cast<double>(denominator);
    if (std::abs(scaled) >= kMaxNumerator) return std::nullopt;
    if (scaled == std::trunc(scaled)) return Fraction{static_cast<int64_t>(scaled), denominator};
  }
  return std::nullopt;
}

std::optional<Real> as_ratio(const Real& real) {
  if (real.op() == RealOp::kRatio) return real;
  if (const auto constant = real.maybe_constant()) {
    if (const auto fraction = short_fraction(*constant)) {
      return Real::ratio(fraction->numerator, fraction->denominator);
    }
  }
  return std::nullopt;
}

// Exact arithmetic on ratios; nothing for operations that leave them.
std::optional<Real> on_ratios(RealOp op, const Real& a, const Real& b) {
  const Expr &an = a.numerator(), &ad = a.denominator();
  const Expr &bn = b.numerator(), &bd = b.denominator();
  switch (op) {
    case RealOp::kAdd:
      return Real::ratio(ad == bd ? an + bn : an * bd + bn * ad, ad == bd ? ad : ad * bd);
    case RealOp::kSub:
      return Real::ratio(ad == bd ? an - bn : an * bd - bn * ad, ad == bd ? ad : ad * bd);
    case RealOp::kMul: return Real::ratio(an * bn, ad * bd);
    case RealOp::kTrueDiv:
      if (bn.is_constant(0)) return std::nullopt;
      return Real::ratio(an * bd, ad * bn);
    case RealOp::kFloorDiv:
      if (bn.is_constant(0)) return std::nullopt;
      return Real::ratio(floor_div(an * bd, ad * bn));
    case RealOp::kMod:  // of a whole number: a quotient was rounded before
      if (!ad.is_constant(1) || !bn.is_constant() || bn.is_constant(0) || !bd.is_constant()) {
        return std::nullopt;
      }
      return Real::ratio(mod(an * bd, bn), bd);
    default: return std::nullopt;
  }
}

double apply(RealOp op, double a, double b) {
  switch (op) {
    case RealOp::kAdd: return a + b;
    case RealOp::kSub: return a - b;
    case RealOp::kMul: return a * b;
    case RealOp::kTrueDiv: return a / b;
    case RealOp::kFloorDiv: return std::floor(a / b);
    case RealOp::kMod: {
      const double rest = std::fmod(a, b);
      return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
    }
    case RealOp::kPow: return std::pow(a, b);
    case RealOp::kMin: return std::min(a, b);
    case RealOp::kMax: return std::max(a, b);
    default: break;
  }
  throw Error(ErrorCode::kInternal, "not a binary operation on floats");
}

double apply(RealOp op, double a) {
  switch (op) {
    case RealOp::kNeg: return -a;
    case RealOp::kSqrt: return std::sqrt(a);
    case RealOp::kLog: return std::log(a);
    case RealOp::kExp: return std::exp(a);
    case RealOp::kFloor: return std::floor(a);
    case RealOp::kCeil: return std::ceil(a);
    case RealOp::kTrunc: return std::trunc(a);
    default: break;
  }
  throw Error(ErrorCode::kInternal, "not a unary operation on floats");
}

// The root of a product that is a square: sqrt(s * s) for s >= 0.
std::optional<Expr> exact_root(const Expr& expr) {
  if (expr.is_constant()) {
    if (expr.constant() < 0) return std::nullopt;
    const auto root =
        static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(expr.constant()))));
    return root * root == expr.constant() ? std::optional(Expr(root)) : std::nullopt;
  }
  if (expr.node()->terms.size() != 1) return std::nullopt;
  const Term& term = expr.node()->terms[0];
  const auto scale = exact_root(term.coefficient);
  if (!scale || term.factors.size() % 2 != 0) return std::nullopt;
  Expr root = *scale;
  for (size_t i = 0; i < term.factors.size(); i += 2) {
    if (term.factors[i] != term.factors[i + 1]) return std::nullopt;
    root = root * Expr(term.factors[i]->node);
  }
  return expr.table()->range(root).lo >= 0 ? std::optional(root) : std::nullopt;
}

size_t mix(size_t seed, size_t value) {
  return (seed ^ value) * 0x9e3779b97f4a7c15ULL + (seed >> 9);
}

}  // namespace

Real::Real(double constant) {
  auto node = std::make_shared<Node>();
  node->value = constant;
  node->hash = std::hash<double>()(constant);
  node_ = std::move(node);
}

Real Real::ratio(const Expr& numerator, const Expr& denominator) {
  if (denominator.is_constant(0)) throw_division_by_zero(numerator);
  auto node = std::make_shared<Node>();
  node->op = RealOp::kRatio;
  node->numerator = numerator;
  node->denominator = denominator;
  if (!denominator.is_constant(1)) {
    const bool keeps_value =
        denominator.is_constant() || !denominator.table()->range(denominator).contains(0);
    if (const auto exact = divide_exactly(numerator, denominator); exact && keeps_value) {
      node->numerator = *exact;
      node->denominator = 1;
    }
  }
  node->hash = mix(mix(3, node->numerator.hash()), node->denominator.hash());
  return Real(std::move(node));
}

Real Real::from_data(const Expr& symbol) {
  auto node = std::make_shared<Node>();
  node->op = RealOp::kFromData;
  node->numerator = symbol;
  node->hash = mix(5, symbol.hash());
  return Real(std::move(node));
}

Real Real::binary(RealOp op, const Real& a, const Real& b) {
  if (a.op() == RealOp::kConstant && b.op() == RealOp::kConstant) {
    return Real(apply(op, a.node_->value, b.node_->value));
  }
  if (const auto x = as_ratio(a)) {
    if (const auto y = as_ratio(b)) {
      if (auto exact = on_ratios(op, *x, *y)) return *exact;
    }
  }
  if (op == RealOp::kPow && b.maybe_constant() == 0.5) return unary(RealOp::kSqrt, a);
  auto node = std::make_shared<Node>();
  node->op = op;
  node->operands = {a, b};
  node->hash = mix(mix(static_cast<size_t>(op) + 7, a.hash()), b.hash());
  return Real(std::move(node));
}

Real Real::unary(RealOp op, const Real& a) {
  if (a.op() == RealOp::kConstant) return Real(apply(op, a.node_->value));
  if (a.op() == RealOp::kRatio) {
    const Expr &numerator = a.numerator(), &denominator = a.denominator();
    if (op == RealOp::kNeg) return ratio(-numerator, denominator);
    if (op == RealOp::kFloor) return ratio(floor_div(numerator, denominator));
    if (op == RealOp::kCeil) return ratio(ceil_div(numerator, denominator));
    if (op == RealOp::kSqrt && denominator.is_constant(1)) {
      if (auto root = exact_root(numerator)) return ratio(*root);
    }
  }
  auto node = std::make_shared<Node>();
  node->op = op;
  node->operands = {a};
  node->hash = mix(static_cast<size_t>(op) + 7, a.hash());
  return Real(std::move(node));
}

RealOp Real::op() const { return node_->op; }

std::optional<double> Real::maybe_constant() const {
  if (node_->op == RealOp::kConstant) return node_->value;
  if (node_->op == RealOp::kRatio && node_->numerator.is_constant() &&
      node_->denominator.is_constant()) {
    return static_cast<double>(node_->numerator.constant()) /
           static_cast<double>(node_->denominator.constant());
  }
  return std::nullopt;
}

const Expr& Real::numerator() const { return node_->numerator; }
const Expr& Real::denominator() const { return node_->denominator; }
std::span<const Real> Real::operands() const { return node_->operands; }

SymbolTable* Real::table() const {
  if (node_->numerator.table() != nullptr) return node_->numerator.table();
  if (node_->denominator.table() != nullptr) return node_->denominator.table();
  for (const Real& operand : node_->operands) {
    if (operand.table() != nullptr) return operand.table();
  }
  return nullptr;
}

double Real::evaluate(std::span<const int64_t> values) const {
  switch (node_->op) {
    case RealOp::kConstant: return node_->value;
    case RealOp::kRatio:
      return static_cast<double>(portwright::evaluate(node_->numerator, values)) /
             static_cast<double>(portwright::evaluate(node_->denominator, values));
    case RealOp::kFromData:
      return std::bit_cast<double>(portwright::evaluate(node_->numerator, values));
    default: break;
  }
  const double a = node_->operands[0].evaluate(values);
  if (node_->operands.size() == 1) return apply(node_->op, a);
  return apply(node_->op, a, node_->operands[1].evaluate(values));
}

Real Real::substitute(const std::function<std::optional<Expr>(SymbolId)>& replacement) const {
  switch (node_->op) {
    case RealOp::kConstant:
    case RealOp::kFromData: return *this;
    case RealOp::kRatio:
      return ratio(portwright::substitute(node_->numerator, replacement),
                   portwright::substitute(node_->denominator, replacement));
    default: break;
  }
  const Real a = node_->operands[0].substitute(replacement);
  if (node_->operands.size() == 1) return unary(node_->op, a);
  return binary(node_->op, a, node_->operands[1].substitute(replacement));
}

void Real::for_each_symbol(const std::function<void(SymbolId)>& visit) const {
  portwright::for_each_symbol(node_->numerator, visit);
  portwright::for_each_symbol(node_->denominator, visit);
  for (const Real& operand : node_->operands) operand.for_each_symbol(visit);
}

bool operator==(const Real& a, const Real& b) {
  if (a.node_ == b.node_) return true;
  const Real::Node &x = *a.node_, &y = *b.node_;
  return x.op == y.op && x.hash == y.hash &&
         (x.value == y.value || (x.value != x.value && y.value != y.value)) &&
         x.numerator == y.numerator && x.denominator == y.denominator && x.operands == y.operands;
}

size_t Real::hash() const { return node_->hash; }

Expr round_to_int(const Real& real, Rounding rounding, SymbolTable* table) {
  if (real.op() == RealOp::kRatio) {
    const Expr &numerator = real.numerator(), &denominator = real.denominator();
    if (denominator.is_constant(1)) return numerator;
    if (rounding == Rounding::kFloor) return floor_div(numerator, denominator);
    if (rounding == Rounding::kCeil) return ceil_div(numerator, denominator);
    if (rounding == Rounding::kTrunc) {
      auto lowest = [](const Expr& expr) {
        return expr.is_constant() ? expr.constant() : expr.table()->range(expr).lo;
      };
      if (lowest(numerator) >= 0 && lowest(denominator) > 0) {
        return floor_div(numerator, denominator);
      }
    }
  }
  if (const auto constant = real.maybe_constant()) {
    switch (rounding) {
      case Rounding::kFloor: return static_cast<int64_t>(std::floor(*constant));
      case Rounding::kCeil: return static_cast<int64_t>(std::ceil(*constant));
      case Rounding::kTrunc: return static_cast<int64_t>(std::trunc(*constant));
      case Rounding::kHalfEven: return static_cast<int64_t>(std::nearbyint(*constant));
    }
  }
  if (table == nullptr) table = real.table();
  return Expr(table->intern_atom(real, rounding)->node);
}

}  // namespace portwright
