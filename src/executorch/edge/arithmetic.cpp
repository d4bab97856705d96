// Operators on tensors and numbers, comparisons, logic.
#include <algorithm>
#include <array>
#include <span>
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

std::string tensor_form(const std::string& op) {
  for (const auto& [tensors, number] : kWithNumber) {
    if (number == op) return std::string(tensors);
  }
  throw Error(ErrorCode::kUnsupported, "a root of a size as an operand of " + op);
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

// A symbolic float as a tensor of no dims: the runtime's operators on numbers have no roots.
ValueId real_tensor(EdgeWriter& out, const Real& value, DType dtype) {
  const TensorType type{dtype, {}, {}};
  const std::span<const Real> operands = value.operands();
  const auto operand = [&](size_t i) { return real_tensor(out, operands[i], dtype); };
  switch (value.op()) {
    case RealOp::kSqrt: return out.unary("aten.sqrt.default", operand(0));
    case RealOp::kLog: return out.unary("aten.log.default", operand(0));
    case RealOp::kExp: return out.unary("aten.exp.default", operand(0));
    case RealOp::kFloor: return out.unary("aten.floor.default", operand(0));
    case RealOp::kCeil: return out.unary("aten.ceil.default", operand(0));
    case RealOp::kTrunc: return out.unary("aten.trunc.default", operand(0));
    case RealOp::kNeg: return out.unary("aten.neg.default", operand(0));
    case RealOp::kPow: return out.binary("aten.pow.Tensor_Tensor", operand(0), operand(1));
    case RealOp::kMin: return out.binary("aten.minimum.default", operand(0), operand(1));
    case RealOp::kMax: return out.binary("aten.maximum.default", operand(0), operand(1));
    case RealOp::kAdd: return out.sum(operand(0), operand(1));
    case RealOp::kSub: return out.difference(operand(0), operand(1));
    case RealOp::kMul: return out.binary("aten.mul.Tensor", operand(0), operand(1));
    case RealOp::kTrueDiv: return out.binary("aten.div.Tensor", operand(0), operand(1));
    default: break;
  }
  return out.full({}, value, dtype);
}

bool has_root(const Real& value) {
  const bool is_root = value.op() != RealOp::kConstant && value.op() != RealOp::kRatio &&
                       value.op() != RealOp::kAdd && value.op() != RealOp::kSub &&
                       value.op() != RealOp::kMul && value.op() != RealOp::kTrueDiv;
  return is_root || std::any_of(value.operands().begin(), value.operands().end(), has_root);
}

// Kernels compute in the tensor's dtype: it is the result's first.
void with_number(const EdgeCall& call, const std::string& op) {
  std::vector<Argument> arguments = call.node.arguments;
  const DType dtype = call.result().dtype;
  if (dtype != DType::kBool) arguments[0] = ValueRef{call.out.cast(call.tensor(0), dtype)};
  const auto* number = std::get_if<Real>(&call.arg(1));
  if (number != nullptr && has_root(*number)) {
    arguments[1] = ValueRef{real_tensor(call.out, *number, call.out.type(call.tensor(0)).dtype)};
    return call.kernel(tensor_form(op), std::move(arguments));
  }
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
