// Operators on tensors and numbers, comparisons, logic.
#include <array>
#include <utility>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

// What an operator of two tensors is when the second one is a number.
constexpr std::array<std::pair<std::string_view, std::string_view>, 18> kWithNumber = {{
    {"aten.add.Tensor", "aten.add.Scalar"},
    {"aten.sub.Tensor", "aten.sub.Scalar"},
    {"aten.mul.Tensor", "aten.mul.Scalar"},
    {"aten.div.Tensor", "aten.div.Scalar"},
    {"aten.div.Tensor_mode", "aten.div.Scalar_mode"},
    {"aten.eq.Tensor", "aten.eq.Scalar"},
    {"aten.ne.Tensor", "aten.ne.Scalar"},
    {"aten.lt.Tensor", "aten.lt.Scalar"},
    {"aten.le.Tensor", "aten.le.Scalar"},
    {"aten.gt.Tensor", "aten.gt.Scalar"},
    {"aten.ge.Tensor", "aten.ge.Scalar"},
    {"aten.bitwise_and.Tensor", "aten.bitwise_and.Scalar"},
    {"aten.bitwise_or.Tensor", "aten.bitwise_or.Scalar"},
    {"aten.bitwise_xor.Tensor", "aten.bitwise_xor.Scalar"},
    {"aten.fmod.Tensor", "aten.fmod.Scalar"},
    {"aten.remainder.Tensor", "aten.remainder.Scalar"},
    {"aten.pow.Tensor_Tensor", "aten.pow.Tensor_Scalar"},
    {"aten.bitwise_left_shift.Tensor", "aten.bitwise_left_shift.Tensor_Scalar"},
}};

std::string scalar_form(const std::string& op) {
  for (const auto& [tensors, number] : kWithNumber) {
    if (tensors == op) return std::string(number);
  }
  return {};
}

// A tensor operand, or a number as a tensor of the dtype.
ValueId tensor_of(const EdgeCall& call, size_t i, DType dtype) {
  return call.is_tensor(i) ? call.tensor(i) : call.out.full({}, call.arg(i), dtype);
}

// The dtype of the tensor among operands a and b.
DType tensor_dtype(const EdgeCall& call, size_t a, size_t b) {
  if (call.is_tensor(a)) return call.type(a).dtype;
  return call.is_tensor(b) ? call.type(b).dtype : call.result().dtype;
}

bool is_fraction(const Argument& number) {
  return std::holds_alternative<double>(number) || std::holds_alternative<Real>(number);
}

// A number has the tensor's dtype unless it is a fraction among integers.
DType number_dtype(const EdgeCall& call, size_t number, size_t tensor) {
  const DType dtype = tensor_dtype(call, number, tensor);
  const bool widens = is_fraction(call.arg(number)) && !is_floating_point(dtype);
  return widens ? DType::kFloat32 : dtype;
}

// Kernels compute in the tensor's dtype: it is the result's first.
void with_number(const EdgeCall& call, const std::string& op) {
  std::vector<Argument> arguments = call.node.arguments;
  const DType dtype = call.result().dtype;
  if (dtype != DType::kBool) arguments[0] = ValueRef{call.out.cast(call.tensor(0), dtype)};
  call.kernel(op, std::move(arguments));
}

void number_operand(const EdgeCall& call) { with_number(call, call.node.op); }

// One operand at least is a tensor; kernels of two tensors take no numbers.
void two_operands(const EdgeCall& call) {
  if (call.is_tensor(0) && call.is_tensor(1)) return call.kernel(call.node.op, call.node.arguments);
  const std::string scalar = scalar_form(call.node.op);
  if (call.is_tensor(0) && !scalar.empty()) return with_number(call, scalar);
  std::vector<Argument> arguments = call.node.arguments;
  arguments[0] = ValueRef{tensor_of(call, 0, number_dtype(call, 0, 1))};
  arguments[1] = ValueRef{tensor_of(call, 1, number_dtype(call, 1, 0))};
  call.kernel(call.node.op, std::move(arguments));
}

// a - floor(a / b) * b: the runtime's kernel gives C++'s remainder for negative integers.
void remainder(const EdgeCall& call) {
  const DType dtype = call.result().dtype;
  if (is_floating_point(dtype))
    return call.is_tensor(1) ? two_operands(call) : with_number(call, "aten.remainder.Scalar");
  EdgeWriter& out = call.out;
  const ValueId a = out.cast(tensor_of(call, 0, dtype), dtype);
  const ValueId b = out.cast(tensor_of(call, 1, dtype), dtype);
  const ValueId quotient = out.binary("aten.floor_divide.default", a, b);
  const ValueId whole = out.binary("aten.mul.Tensor", quotient, b);
  call.kernel("aten.sub.Tensor", {ValueRef{a}, ValueRef{whole}, Expr(1)});
}

void where(const EdgeCall& call) {
  const DType dtype = call.result().dtype;
  call.kernel(call.node.op, {call.arg(0), ValueRef{tensor_of(call, 1, dtype)},
                             ValueRef{tensor_of(call, 2, dtype)}});
}

void masked_fill(const EdgeCall& call) {
  call.as("aten.where.self", {call.arg(1), call.arg(2), call.arg(0)});
}

void clamp_min(const EdgeCall& call) {
  call.kernel("aten.clamp.default", {call.arg(0), call.arg(1), None{}});
}

void clamp_max(const EdgeCall& call) {
  call.kernel("aten.clamp.default", {call.arg(0), None{}, call.arg(1)});
}

void clamp_min_tensor(const EdgeCall& call) {
  call.as("aten.maximum.default", {call.arg(0), call.arg(1)});
}

void clamp_max_tensor(const EdgeCall& call) {
  call.as("aten.minimum.default", {call.arg(0), call.arg(1)});
}

// Of bools, which ExecuTorch's clamp and neg do not take, nothing is left to do but copies.
void same(const EdgeCall& call) { call.give(call.tensor(0)); }

void logical_not(const EdgeCall& call) {
  if (call.type(0).dtype == DType::kBool) return call.kernel(call.node.op, call.node.arguments);
  call.kernel("aten.eq.Scalar", {call.arg(0), Expr(0)});
}

void to_copy(const EdgeCall& call) {
  if (call.type(0).dtype == call.result().dtype) return call.give(call.tensor(0));
  call.kernel(call.node.op,
              {call.arg(0), call.result().dtype, None{}, None{}, None{}, false, None{}});
}

}  // namespace

std::span<const EdgeLowering> arithmetic_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.add.Tensor", two_operands},
      EdgeLowering{"aten.sub.Tensor", two_operands},
      EdgeLowering{"aten.mul.Tensor", two_operands},
      EdgeLowering{"aten.div.Tensor", two_operands},
      EdgeLowering{"aten.div.Tensor_mode", two_operands},
      EdgeLowering{"aten.floor_divide.default", two_operands},
      EdgeLowering{"aten.fmod.Tensor", two_operands},
      EdgeLowering{"aten.remainder.Tensor", remainder},
      EdgeLowering{"aten.pow.Tensor_Tensor", two_operands},
      EdgeLowering{"aten.atan2.default", two_operands},
      EdgeLowering{"aten.eq.Tensor", two_operands},
      EdgeLowering{"aten.ne.Tensor", two_operands},
      EdgeLowering{"aten.lt.Tensor", two_operands},
      EdgeLowering{"aten.le.Tensor", two_operands},
      EdgeLowering{"aten.gt.Tensor", two_operands},
      EdgeLowering{"aten.ge.Tensor", two_operands},
      EdgeLowering{"aten.maximum.default", two_operands},
      EdgeLowering{"aten.minimum.default", two_operands},
      EdgeLowering{"aten.bitwise_and.Tensor", two_operands},
      EdgeLowering{"aten.bitwise_or.Tensor", two_operands},
      EdgeLowering{"aten.bitwise_xor.Tensor", two_operands},
      EdgeLowering{"aten.add.Scalar", number_operand},
      EdgeLowering{"aten.sub.Scalar", number_operand},
      EdgeLowering{"aten.rsub.Scalar", number_operand},
      EdgeLowering{"aten.mul.Scalar", number_operand},
      EdgeLowering{"aten.div.Scalar", number_operand},
      EdgeLowering{"aten.div.Scalar_mode", number_operand},
      EdgeLowering{"aten.fmod.Scalar", number_operand},
      EdgeLowering{"aten.remainder.Scalar", remainder},
      EdgeLowering{"aten.pow.Tensor_Scalar", number_operand},
      EdgeLowering{"aten.where.self", where},
      EdgeLowering{"aten.masked_fill.Tensor", masked_fill},
      EdgeLowering{"aten.clamp_min.default", clamp_min},
      EdgeLowering{"aten.clamp_max.default", clamp_max},
      EdgeLowering{"aten.clamp_min.Tensor", clamp_min_tensor},
      EdgeLowering{"aten.clamp_max.Tensor", clamp_max_tensor},
      EdgeLowering{"aten.logical_not.default", logical_not},
      EdgeLowering{"aten._to_copy.default", to_copy},
      EdgeLowering{"aten.clone.default", same},
      EdgeLowering{"aten.contiguous.default", same},
      EdgeLowering{"aten.alias.default", same},
      EdgeLowering{"aten.detach.default", same},
      EdgeLowering{"aten.lift_fresh.default", same},
      EdgeLowering{"aten.lift_fresh_copy.default", same},
  };
  return kRows;
}

}  // namespace portwright
