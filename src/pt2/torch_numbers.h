// Numbers that the .pt2 schema gives to dtypes, layouts and memory formats. Source:
// torch/_export/serde/schema.py of PyTorch 2.13.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ir/dtype.h"

namespace portwright {

struct DTypeNumber {
  DType dtype;
  int number;
};
inline constexpr std::array kDTypeNumbers = {
    DTypeNumber{DType::kUInt8, 1},         DTypeNumber{DType::kInt8, 2},
    DTypeNumber{DType::kInt16, 3},         DTypeNumber{DType::kInt32, 4},
    DTypeNumber{DType::kInt64, 5},         DTypeNumber{DType::kFloat16, 6},
    DTypeNumber{DType::kFloat32, 7},       DTypeNumber{DType::kFloat64, 8},
    DTypeNumber{DType::kComplex32, 9},     DTypeNumber{DType::kComplex64, 10},
    DTypeNumber{DType::kComplex128, 11},   DTypeNumber{DType::kBool, 12},
    DTypeNumber{DType::kBFloat16, 13},     DTypeNumber{DType::kUInt16, 28},
    DTypeNumber{DType::kFloat8E4M3FN, 29}, DTypeNumber{DType::kFloat8E5M2, 30},
    DTypeNumber{DType::kUInt32, 34},       DTypeNumber{DType::kUInt64, 35},
};

struct NamedNumber {
  std::string_view name;
  int number;
};
inline constexpr std::array kLayouts = {
    NamedNumber{"strided", 7},   NamedNumber{"sparse", 1},    NamedNumber{"sparse_coo", 1},
    NamedNumber{"sparsecsr", 2}, NamedNumber{"sparsecsc", 3}, NamedNumber{"sparsebsr", 4},
    NamedNumber{"sparsebsc", 5},
};
// At the index that c10::MemoryFormat gives to each.
inline constexpr std::array kMemoryFormats = {
    NamedNumber{"contiguous_format", 1},
    NamedNumber{"preserve_format", 4},
    NamedNumber{"channels_last", 2},
    NamedNumber{"channels_last_3d", 3},
};

constexpr int dtype_number(DType dtype) {
  for (const DTypeNumber& entry : kDTypeNumbers) {
    if (entry.dtype == dtype) return entry.number;
  }
  return 0;
}

constexpr std::optional<DType> dtype_of_number(int64_t number) {
  for (const DTypeNumber& entry : kDTypeNumbers) {
    if (entry.number == number) return entry.dtype;
  }
  return std::nullopt;
}

template <typename Table>
constexpr int number_of(const Table& table, std::string_view name) {
  for (const NamedNumber& entry : table) {
    if (entry.name == name) return entry.number;
  }
  return 0;
}

template <typename Table>
constexpr std::string_view name_of(const Table& table, int64_t number) {
  for (const NamedNumber& entry : table) {
    if (entry.number == number) return entry.name;
  }
  return {};
}

}  // namespace portwright
