// Between what numbers the elements of a float tensor lie, where its operators tell.
#pragma once

#include <optional>

#include "fusion/pattern.h"

namespace portwright {

struct ValueRange {
  double low = 0, high = 0;
};

// Nothing when it is not known, or when an element, or one that it is computed from, can be
// infinite in its dtype, float32 or float16.
std::optional<ValueRange> value_range(const Definitions& definitions, const Argument& value);

}  // namespace portwright
