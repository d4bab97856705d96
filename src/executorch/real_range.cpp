#include "executorch/real_range.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "base/error.h"

namespace portwright {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// How far the library's powers, logarithms and exponentials may be from monotonic, relatively.
constexpr double kSlack = 1e-12;

struct Ends {
  double lo = -kInfinity;
  double hi = kInfinity;
};

Ends hull(std::initializer_list<double> values) {
  for (const double value : values) {
    if (std::isnan(value)) return {};
  }
  return {std::min(values), std::max(values)};
}

Ends widened(Ends a) { return {a.lo - kSlack * std::abs(a.lo), a.hi + kSlack * std::abs(a.hi)}; }

double to_double(int64_t end) {
  if (end >= Interval::kInfinity) return kInfinity;
  return end <= -Interval::kInfinity ? -kInfinity : static_cast<double>(end);
}

Ends to_ends(Interval a) { return {to_double(a.lo), to_double(a.hi)}; }

Ends product(Ends a, Ends b) { return hull({a.lo * b.lo, a.lo * b.hi, a.hi * b.lo, a.hi * b.hi}); }

Ends quotient(Ends a, Ends b) {
  if (b.lo <= 0 && b.hi >= 0) return {};
  return hull({a.lo / b.lo, a.lo / b.hi, a.hi / b.lo, a.hi / b.hi});
}

// Of a positive base, monotonic in each operand.
Ends power(Ends a, Ends b) {
  if (a.lo <= 0) return {};
  return widened(hull(
      {std::pow(a.lo, b.lo), std::pow(a.lo, b.hi), std::pow(a.hi, b.lo), std::pow(a.hi, b.hi)}));
}

Ends remainder(Ends b) { return {std::min(b.lo, 0.0), std::max(b.hi, 0.0)}; }

// Operations round to the nearest double, which keeps them monotonic.
Ends apply(RealOp op, Ends a, Ends b) {
  switch (op) {
    case RealOp::kAdd: return hull({a.lo + b.lo, a.hi + b.hi});
    case RealOp::kSub: return hull({a.lo - b.hi, a.hi - b.lo});
    case RealOp::kMul: return product(a, b);
    case RealOp::kTrueDiv: return quotient(a, b);
    case RealOp::kFloorDiv: {
      const Ends found = quotient(a, b);
      return {std::floor(found.lo), std::floor(found.hi)};
    }
    case RealOp::kMod: return remainder(b);
    case RealOp::kPow: return power(a, b);
    case RealOp::kMin: return {std::min(a.lo, b.lo), std::min(a.hi, b.hi)};
    case RealOp::kMax: return {std::max(a.lo, b.lo), std::max(a.hi, b.hi)};
    default: break;
  }
  throw Error(ErrorCode::kInternal, "not a binary operation on floats");
}

Ends apply(RealOp op, Ends a) {
  switch (op) {
    case RealOp::kNeg: return {-a.hi, -a.lo};
    case RealOp::kSqrt: return {std::sqrt(std::max(a.lo, 0.0)), std::sqrt(std::max(a.hi, 0.0))};
    case RealOp::kLog:
      return widened({std::log(std::max(a.lo, 0.0)), std::log(std::max(a.hi, 0.0))});
    case RealOp::kExp: return widened({std::exp(a.lo), std::exp(a.hi)});
    case RealOp::kFloor: return {std::floor(a.lo), std::floor(a.hi)};
    case RealOp::kCeil: return {std::ceil(a.lo), std::ceil(a.hi)};
    case RealOp::kTrunc: return {std::trunc(a.lo), std::trunc(a.hi)};
    default: break;
  }
  throw Error(ErrorCode::kInternal, "not a unary operation on floats");
}

double rounded(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::kFloor: return std::floor(value);
    case Rounding::kCeil: return std::ceil(value);
    case Rounding::kTrunc: return std::trunc(value);
    case Rounding::kHalfEven: return std::nearbyint(value);
  }
  return value;
}

// Beyond what an int64 holds there is no size.
int64_t to_integer(double value) {
  constexpr double kMost = 9.2e18;
  if (value >= kMost) return Interval::kInfinity;
  return value <= -kMost ? -Interval::kInfinity : static_cast<int64_t>(value);
}

}  // namespace

Interval rounded_range(const Real& real, Rounding rounding,
                       const std::function<Interval(const Expr&)>& range,
                       const std::function<Interval(const Expr&)>& divisor) {
  const std::function<Ends(const Real&)> ends = [&](const Real& of) -> Ends {
    switch (of.op()) {
      case RealOp::kConstant: return hull({*of.maybe_constant()});
      case RealOp::kRatio:
        return quotient(to_ends(range(of.numerator())), to_ends(divisor(of.denominator())));
      case RealOp::kFromData: return {};
      default: break;
    }
    const auto operands = of.operands();
    return operands.size() == 1 ? apply(of.op(), ends(operands[0]))
                                : apply(of.op(), ends(operands[0]), ends(operands[1]));
  };
  const Ends found = ends(real);
  return {to_integer(rounded(found.lo, rounding)), to_integer(rounded(found.hi, rounding))};
}

}  // namespace portwright
