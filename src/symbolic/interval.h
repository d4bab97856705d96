// Closed integer intervals with infinite ends, the domain of range reasoning.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

namespace portwright {

// [lo, hi]; an end at kInfinity (or its negation) means "unbounded". Arithmetic saturates towards
// infinity, which keeps every result an over-approximation.
struct Interval {
  static constexpr int64_t kInfinity = std::numeric_limits<int64_t>::max();

  int64_t lo = -kInfinity;
  int64_t hi = kInfinity;

  static constexpr Interval point(int64_t value) { return {value, value}; }
  bool is_point() const { return lo == hi; }
  bool empty() const { return lo > hi; }
  bool contains(int64_t value) const { return lo <= value && value <= hi; }
  friend bool operator==(const Interval&, const Interval&) = default;
};

Interval operator+(Interval a, Interval b);
Interval operator-(Interval a);
Interval operator*(Interval a, Interval b);
Interval floor_div(Interval a, Interval b);  // unbounded when b contains 0
Interval mod(Interval a, Interval b);        // sign of the divisor, as in Python
Interval min(Interval a, Interval b);
Interval max(Interval a, Interval b);
Interval intersect(Interval a, Interval b);

// "[2, inf]"
std::string to_string(Interval interval);

}  // namespace portwright
