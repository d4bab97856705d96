// Numbers as the bytes of elements.
#pragma once

#include <cstddef>
#include <vector>

#include "ir/dtype.h"

namespace portwright {

// Halves and bfloat16 are rounded to nearest even. Error(kUnsupported) for dtypes without numbers
// that a double holds.
std::vector<std::byte> scalar_bytes(double value, DType dtype);

// Elements of float32 or float16, rounded to nearest even. Error(kInternal) for other dtypes.
std::vector<std::byte> bytes_of_floats(const std::vector<float>& values, DType dtype);
std::vector<float> floats_of_bytes(const std::vector<std::byte>& bytes, DType dtype);

}  // namespace portwright
