#include "ir/promotion.h"

#include <algorithm>

namespace portwright {
namespace {

enum Category : int { kBoolean, kInteger, kFloating, kComplexes };

Category category(DType dtype) {
  if (dtype == DType::kBool) return kBoolean;
  if (is_floating_point(dtype)) return kFloating;
  return is_complex(dtype) ? kComplexes : kInteger;
}

// The wider of two dtypes of one category.
DType wider(DType a, DType b) {
  if (a == b) return a;
  const bool halves = element_size(a) == 2 && element_size(b) == 2 && is_floating_point(a);
  if (halves) return DType::kFloat32;  // float16 with bfloat16
  if (element_size(a) == element_size(b)) {
    return a == DType::kUInt8 || b == DType::kUInt8 ? DType::kInt16 : a;
  }
  return element_size(a) > element_size(b) ? a : b;
}

}  // namespace

TypedOperand typed_operand(const TensorType& type) {
  return {type.dtype, type.shape.empty() ? OperandWeight::kScalarTensor : OperandWeight::kTensor};
}

TypedOperand typed_number(const Argument& number) {
  if (std::holds_alternative<bool>(number)) return {DType::kBool, OperandWeight::kNumber};
  if (std::holds_alternative<Expr>(number)) return {DType::kInt64, OperandWeight::kNumber};
  return {DType::kFloat32, OperandWeight::kNumber};
}

TypedOperand promote(const TypedOperand& a, const TypedOperand& b) {
  const Category ca = category(a.dtype);
  const Category cb = category(b.dtype);
  const OperandWeight weight = std::max(a.weight, b.weight);
  if (a.weight == b.weight && ca == cb) return {wider(a.dtype, b.dtype), weight};
  if (ca != cb) return {ca > cb ? a.dtype : b.dtype, weight};
  return {a.weight > b.weight ? a.dtype : b.dtype, weight};
}

}  // namespace portwright
