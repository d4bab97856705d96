// The dtypes that ATen computes in: torch.result_type.
#pragma once

#include "ir/program.h"

namespace portwright {

// What an operand weighs: dimensioned tensors come before scalar tensors, those before Python's
// numbers, within the higher category of bool, int, float and complex.
enum class OperandWeight : uint8_t { kNumber, kScalarTensor, kTensor };

struct TypedOperand {
  DType dtype = DType::kFloat32;
  OperandWeight weight = OperandWeight::kTensor;
};

TypedOperand typed_operand(const TensorType& type);
// Of a number among operands; a float counts as float32.
TypedOperand typed_number(const Argument& number);

TypedOperand promote(const TypedOperand& a, const TypedOperand& b);

}  // namespace portwright
