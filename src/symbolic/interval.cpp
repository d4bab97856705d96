#include "symbolic/interval.h"

#include <algorithm>

namespace portwright {
namespace {

using Wide = __int128;

constexpr int64_t kInfinity = Interval::kInfinity;

// A lower end is infinite only downwards and an upper end only upwards: a lower end at +kInfinity
// is the plain number, so that subtracting from it stays an over-approximation.
bool unbounded_below(Interval a) { return a.lo <= -kInfinity; }
bool unbounded_above(Interval a) { return a.hi >= kInfinity; }

int64_t clamp(Wide value) {
  return static_cast<int64_t>(std::clamp<Wide>(value, -kInfinity, kInfinity));
}

int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

// An end of an interval for multiplication, where infinity must survive a small factor.
constexpr Wide kWideInfinity = Wide{1} << 126;

Wide wide_lo(Interval a) { return unbounded_below(a) ? -kWideInfinity : Wide{a.lo}; }
Wide wide_hi(Interval a) { return unbounded_above(a) ? kWideInfinity : Wide{a.hi}; }

Wide multiply_ends(Wide a, Wide b) {
  if (a == 0 || b == 0) return 0;
  const bool infinite =
      a == kWideInfinity || a == -kWideInfinity || b == kWideInfinity || b == -kWideInfinity;
  if (infinite) return (a < 0) != (b < 0) ? -kWideInfinity : kWideInfinity;
  return a * b;
}

// floor_div for a divisor that is positive throughout.
Interval divide_by_positive(Interval a, Interval b) {
  Interval result;
  if (!unbounded_below(a)) {
    if (a.lo < 0) {
      result.lo = floor_quotient(a.lo, b.lo);
    } else {
      result.lo = unbounded_above(b) ? 0 : a.lo / b.hi;
    }
  }
  if (!unbounded_above(a)) {
    if (a.hi >= 0) {
      result.hi = a.hi / b.lo;
    } else {
      result.hi = unbounded_above(b) ? -1 : floor_quotient(a.hi, b.hi);
    }
  }
  return result;
}

}  // namespace

Interval operator+(Interval a, Interval b) {
  Interval result;
  if (!unbounded_below(a) && !unbounded_below(b)) result.lo = clamp(Wide{a.lo} + b.lo);
  if (!unbounded_above(a) && !unbounded_above(b)) result.hi = clamp(Wide{a.hi} + b.hi);
  return result;
}

Interval operator-(Interval a) { return {clamp(-Wide{a.hi}), clamp(-Wide{a.lo})}; }

Interval operator*(Interval a, Interval b) {
  const Wide a_lo = wide_lo(a), a_hi = wide_hi(a), b_lo = wide_lo(b), b_hi = wide_hi(b);
  const Wide ends[] = {multiply_ends(a_lo, b_lo), multiply_ends(a_lo, b_hi),
                       multiply_ends(a_hi, b_lo), multiply_ends(a_hi, b_hi)};
  const auto [lo, hi] = std::minmax_element(std::begin(ends), std::end(ends));
  return {clamp(*lo), clamp(*hi)};
}

Interval floor_div(Interval a, Interval b) {
  if (b.contains(0)) return {};
  return b.lo > 0 ? divide_by_positive(a, b) : divide_by_positive(-a, -b);
}

Interval mod(Interval a, Interval b) {
  if (b.hi < 0) return -mod(-a, -b);
  const Interval quotient = floor_div(a, b);
  if (b.is_point() && quotient.is_point()) return a + -(quotient * b);
  Interval result;
  if (!unbounded_below(b)) result.lo = std::min<int64_t>(0, b.lo + 1);
  if (!unbounded_above(b)) result.hi = std::max<int64_t>(0, b.hi - 1);
  if (b.lo >= 0 && a.lo >= 0) {
    result.hi = std::min(result.hi, a.hi);
    if (a.hi < b.lo) result.lo = a.lo;
  }
  return result;
}

Interval min(Interval a, Interval b) { return {std::min(a.lo, b.lo), std::min(a.hi, b.hi)}; }
Interval max(Interval a, Interval b) { return {std::max(a.lo, b.lo), std::max(a.hi, b.hi)}; }

Interval intersect(Interval a, Interval b) { return {std::max(a.lo, b.lo), std::min(a.hi, b.hi)}; }

std::string to_string(Interval interval) {
  const std::string lo = unbounded_below(interval) ? "-inf" : std::to_string(interval.lo);
  const std::string hi = unbounded_above(interval) ? "inf" : std::to_string(interval.hi);
  return "[" + lo + ", " + hi + "]";
}

}  // namespace portwright
