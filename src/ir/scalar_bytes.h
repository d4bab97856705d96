// A number as the bytes of one element.
#pragma once

#include <cstddef>
#include <vector>

#include "ir/dtype.h"

namespace portwright {

// Halves and bfloat16 are rounded to nearest even. Error(kUnsupported) for dtypes without numbers
// that a double holds.
std::vector<std::byte> scalar_bytes(double value, DType dtype);

}  // namespace portwright
