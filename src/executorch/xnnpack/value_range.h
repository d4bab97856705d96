// Between what numbers the elements of a float tensor lie, where its operators tell.
#pragma once

#include <optional>

#include "fusion/pattern.h"

namespace portwright {

struct ValueRange {
  double low = 0, high = 0;
};

// Nothing when it is not known.
std::optional<ValueRange> value_range(const Definitions& definitions, const Argument& value);

// Whether a float32 of this range is never infinite, sums rounded.
bool is_finite(const ValueRange& range);

}  // namespace portwright
