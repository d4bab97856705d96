// Ranges of symbolic floats.
#pragma once

#include <functional>

#include "symbolic/interval.h"
#include "symbolic/real.h"

namespace portwright {

// The integers that rounding `real` gives when `range` says what expressions can be and `divisor`
// the same of what is divided by.
Interval rounded_range(const Real& real, Rounding rounding,
                       const std::function<Interval(const Expr&)>& range,
                       const std::function<Interval(const Expr&)>& divisor);

}  // namespace portwright
