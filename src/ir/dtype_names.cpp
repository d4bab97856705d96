#include "ir/dtype_names.h"

#include <array>
#include <utility>

namespace portwright {
namespace {

using Row = std::pair<DType, std::string_view>;
constexpr std::array<Row, 18> kRows = {{
    {DType::kUInt8, "uint8"},
    {DType::kInt8, "int8"},
    {DType::kInt16, "int16"},
    {DType::kInt32, "int32"},
    {DType::kInt64, "int64"},
    {DType::kFloat16, "float16"},
    {DType::kFloat32, "float32"},
    {DType::kFloat64, "float64"},
    {DType::kComplex32, "complex32"},
    {DType::kComplex64, "complex64"},
    {DType::kComplex128, "complex128"},
    {DType::kBool, "bool"},
    {DType::kBFloat16, "bfloat16"},
    {DType::kFloat8E5M2, "float8_e5m2"},
    {DType::kFloat8E4M3FN, "float8_e4m3fn"},
    {DType::kUInt16, "uint16"},
    {DType::kUInt32, "uint32"},
    {DType::kUInt64, "uint64"},
}};

}  // namespace

std::string_view torch_name(DType dtype) {
  for (const auto& [known, name] : kRows) {
    if (known == dtype) return name;
  }
  return {};
}

std::optional<DType> dtype_of_torch_name(std::string_view name) {
  for (const auto& [dtype, known] : kRows) {
    if (known == name) return dtype;
  }
  return std::nullopt;
}

}  // namespace portwright
