#include "executorch/scalar_type.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace portwright {
namespace {

using executorch_flatbuffer::ScalarType;

struct Row {
  DType dtype;
  ScalarType type;
};

constexpr Row kRows[] = {
    {DType::kUInt8, ScalarType::BYTE},
    {DType::kInt8, ScalarType::CHAR},
    {DType::kInt16, ScalarType::SHORT},
    {DType::kInt32, ScalarType::INT},
    {DType::kInt64, ScalarType::LONG},
    {DType::kFloat16, ScalarType::HALF},
    {DType::kFloat32, ScalarType::FLOAT},
    {DType::kFloat64, ScalarType::DOUBLE},
    {DType::kBool, ScalarType::BOOL},
    {DType::kBFloat16, ScalarType::BFLOAT16},
    {DType::kFloat8E5M2, ScalarType::FLOAT8E5M2},
    {DType::kFloat8E4M3FN, ScalarType::FLOAT8E4M3FN},
    {DType::kUInt16, ScalarType::UINT16},
    {DType::kUInt32, ScalarType::UINT32},
    {DType::kUInt64, ScalarType::UINT64},
};

}  // namespace

ScalarType scalar_type_of(DType dtype) {
  const auto* row = std::ranges::find(kRows, dtype, &Row::dtype);
  if (row == std::end(kRows)) {
    throw Error(ErrorCode::kUnsupported, "a .pte file holds no tensors of " +
                                             std::string(to_string(dtype)) +
                                             ": convert the model's inputs, outputs and weights "
                                             "of that dtype, for example with torch.view_as_real");
  }
  return row->type;
}

std::optional<DType> dtype_of(ScalarType type) {
  const auto* row = std::ranges::find(kRows, type, &Row::type);
  if (row == std::end(kRows)) return std::nullopt;
  return row->dtype;
}

}  // namespace portwright
