#include "onnx/model.h"

#include <array>
#include <optional>

#include "base/error.h"

namespace portwright {
namespace {

struct Row {
  std::optional<DType> dtype;
  int64_t number;  // TensorProto.DataType
  const char* name;
};

const std::array kRows = {
    Row{DType::kFloat32, 1, "float32"},
    Row{DType::kUInt8, 2, "uint8"},
    Row{DType::kInt8, 3, "int8"},
    Row{DType::kUInt16, 4, "uint16"},
    Row{DType::kInt16, 5, "int16"},
    Row{DType::kInt32, 6, "int32"},
    Row{DType::kInt64, 7, "int64"},
    Row{std::nullopt, 8, "string"},
    Row{DType::kBool, 9, "bool"},
    Row{DType::kFloat16, 10, "float16"},
    Row{DType::kFloat64, 11, "float64"},
    Row{DType::kUInt32, 12, "uint32"},
    Row{DType::kUInt64, 13, "uint64"},
    Row{DType::kComplex64, 14, "complex64"},
    Row{DType::kComplex128, 15, "complex128"},
    Row{DType::kBFloat16, 16, "bfloat16"},
    Row{DType::kFloat8E4M3FN, 17, "float8e4m3fn"},
    Row{DType::kFloat8E5M2, 19, "float8e5m2"},
};

}  // namespace

int64_t onnx_dtype(DType dtype) {
  for (const Row& row : kRows) {
    if (row.dtype == dtype) return row.number;
  }
  throw Error(ErrorCode::kUnsupported, "ONNX has no element type " + std::string(to_string(dtype)));
}

std::string onnx_dtype_name(int64_t number) {
  for (const Row& row : kRows) {
    if (row.number == number) return row.name;
  }
  return {};
}

}  // namespace portwright
