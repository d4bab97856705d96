#include "ir/dtype.h"

#include <array>

#include "base/error.h"

namespace portwright {
namespace {

enum class Family : uint8_t { kInteger, kFloat, kComplex, kBool };

struct DTypeInfo {
  DType dtype;
  std::string_view name;
  size_t bytes;
  Family family;
};

constexpr std::array kTypes = {
    DTypeInfo{DType::kUInt8, "u8", 1, Family::kInteger},
    DTypeInfo{DType::kInt8, "i8", 1, Family::kInteger},
    DTypeInfo{DType::kInt16, "i16", 2, Family::kInteger},
    DTypeInfo{DType::kInt32, "i32", 4, Family::kInteger},
    DTypeInfo{DType::kInt64, "i64", 8, Family::kInteger},
    DTypeInfo{DType::kUInt16, "u16", 2, Family::kInteger},
    DTypeInfo{DType::kUInt32, "u32", 4, Family::kInteger},
    DTypeInfo{DType::kUInt64, "u64", 8, Family::kInteger},
    DTypeInfo{DType::kFloat16, "f16", 2, Family::kFloat},
    DTypeInfo{DType::kBFloat16, "bf16", 2, Family::kFloat},
    DTypeInfo{DType::kFloat32, "f32", 4, Family::kFloat},
    DTypeInfo{DType::kFloat64, "f64", 8, Family::kFloat},
    DTypeInfo{DType::kFloat8E5M2, "f8e5m2", 1, Family::kFloat},
    DTypeInfo{DType::kFloat8E4M3FN, "f8e4m3fn", 1, Family::kFloat},
    DTypeInfo{DType::kComplex32, "c32", 4, Family::kComplex},
    DTypeInfo{DType::kComplex64, "c64", 8, Family::kComplex},
    DTypeInfo{DType::kComplex128, "c128", 16, Family::kComplex},
    DTypeInfo{DType::kBool, "bool", 1, Family::kBool},
};

const DTypeInfo& info(DType dtype) {
  for (const DTypeInfo& type : kTypes) {
    if (type.dtype == dtype) return type;
  }
  throw Error(ErrorCode::kUnsupported, "element type number " +
                                           std::to_string(static_cast<int>(dtype)) +
                                           " of torch is not supported");
}

}  // namespace

std::string_view to_string(DType dtype) { return info(dtype).name; }
size_t element_size(DType dtype) { return info(dtype).bytes; }
bool is_floating_point(DType dtype) { return info(dtype).family == Family::kFloat; }
bool is_complex(DType dtype) { return info(dtype).family == Family::kComplex; }
bool is_integral(DType dtype) { return info(dtype).family == Family::kInteger; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (const DTypeInfo& type : kTypes) {
    if (type.name == name) return type.dtype;
  }
  return std::nullopt;
}

}  // namespace portwright
