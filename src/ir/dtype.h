// Element types, with the names that the IR text, ONNX and .pt2 writers share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace portwright {

// The values equal c10::ScalarType's, so that a dtype argument of an ATen op (an int in a schema)
// means the same on both sides. Source: c10/core/ScalarType.h of PyTorch 2.13.
enum class DType : int8_t {
  kUInt8 = 0,
  kInt8 = 1,
  kInt16 = 2,
  kInt32 = 3,
  kInt64 = 4,
  kFloat16 = 5,
  kFloat32 = 6,
  kFloat64 = 7,
  kComplex32 = 8,
  kComplex64 = 9,
  kComplex128 = 10,
  kBool = 11,
  kBFloat16 = 15,
  kFloat8E5M2 = 23,
  kFloat8E4M3FN = 24,
  kUInt16 = 27,
  kUInt32 = 28,
  kUInt64 = 29,
};

// "f32", "i64", "bool", "bf16", ...
std::string_view to_string(DType dtype);
std::optional<DType> parse_dtype(std::string_view name);
// Bytes of one element.
size_t element_size(DType dtype);
bool is_floating_point(DType dtype);
bool is_complex(DType dtype);
bool is_integral(DType dtype);  // signed and unsigned ints, not bool

}  // namespace portwright
