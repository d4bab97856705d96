// Comparisons, logic and selection by a condition.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr char kEqual[] = "Equal";
constexpr char kLess[] = "Less";
constexpr char kLessOrEqual[] = "LessOrEqual";
constexpr char kGreater[] = "Greater";
constexpr char kGreaterOrEqual[] = "GreaterOrEqual";

template <const char* kType>
std::string compared(const LoweringCall& call) {
  Emitter& e = call.emit;
  DType dtype = promoted(call, 0, 1);
  const bool ordered = kType != kEqual;
  if (dtype == DType::kBool && ordered) dtype = DType::kInt32;  // bools have no order in ONNX
  return e.op(kType, {e.tensor(call.arg(0), dtype), e.tensor(call.arg(1), dtype)});
}

template <const char* kType>
void compare(const LoweringCall& call) {
  call.give(compared<kType>(call));
}

void not_equal(const LoweringCall& call) {
  call.give(call.emit.op("Not", {compared<kEqual>(call)}));
}

constexpr char kAnd[] = "And";
constexpr char kOr[] = "Or";
constexpr char kXor[] = "Xor";
constexpr char kBitwiseAnd[] = "BitwiseAnd";
constexpr char kBitwiseOr[] = "BitwiseOr";
constexpr char kBitwiseXor[] = "BitwiseXor";

template <const char* kType>
void logical(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(
      e.op(kType, {e.tensor(call.arg(0), DType::kBool), e.tensor(call.arg(1), DType::kBool)}));
}

template <const char* kLogical, const char* kBitwise>
void bitwise(const LoweringCall& call) {
  if (call.result().dtype == DType::kBool) return logical<kLogical>(call);
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  call.give(e.op(kBitwise, {e.tensor(call.arg(0), dtype), e.tensor(call.arg(1), dtype)}));
}

void logical_not(const LoweringCall& call) {
  call.give(call.emit.op("Not", {call.emit.tensor(call.arg(0), DType::kBool)}));
}

void bitwise_not(const LoweringCall& call) {
  if (call.result().dtype == DType::kBool) return logical_not(call);
  call.give(call.emit.op("BitwiseNot", {call.emit.tensor(call.arg(0))}));
}

// ONNX Runtime's CPU provider has no Where of bools.
std::string select(Emitter& e, const std::string& condition, const Argument& yes,
                   const Argument& no, DType dtype) {
  const DType compute = dtype == DType::kBool ? DType::kUInt8 : dtype;
  const std::string value =
      e.op("Where", {condition, e.tensor(yes, compute), e.tensor(no, compute)});
  return e.cast(value, compute, dtype);
}

void where(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string condition = e.tensor(call.arg(0), DType::kBool);
  call.give(select(e, condition, call.arg(1), call.arg(2), call.result().dtype));
}

void masked_fill(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string mask = e.tensor(call.arg(1), DType::kBool);
  call.give(select(e, mask, call.arg(2), call.arg(0), call.result().dtype));
}

}  // namespace

std::span<const Lowering> comparison_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.eq.Tensor", compare<kEqual>},
      Lowering{"aten.eq.Scalar", compare<kEqual>},
      Lowering{"aten.ne.Tensor", not_equal},
      Lowering{"aten.ne.Scalar", not_equal},
      Lowering{"aten.lt.Tensor", compare<kLess>},
      Lowering{"aten.lt.Scalar", compare<kLess>},
      Lowering{"aten.le.Tensor", compare<kLessOrEqual>},
      Lowering{"aten.le.Scalar", compare<kLessOrEqual>},
      Lowering{"aten.gt.Tensor", compare<kGreater>},
      Lowering{"aten.gt.Scalar", compare<kGreater>},
      Lowering{"aten.ge.Tensor", compare<kGreaterOrEqual>},
      Lowering{"aten.ge.Scalar", compare<kGreaterOrEqual>},
      Lowering{"aten.logical_and.default", logical<kAnd>},
      Lowering{"aten.logical_or.default", logical<kOr>},
      Lowering{"aten.logical_xor.default", logical<kXor>},
      Lowering{"aten.logical_not.default", logical_not},
      Lowering{"aten.bitwise_and.Tensor", bitwise<kAnd, kBitwiseAnd>},
      Lowering{"aten.bitwise_and.Scalar", bitwise<kAnd, kBitwiseAnd>},
      Lowering{"aten.bitwise_or.Tensor", bitwise<kOr, kBitwiseOr>},
      Lowering{"aten.bitwise_or.Scalar", bitwise<kOr, kBitwiseOr>},
      Lowering{"aten.bitwise_xor.Tensor", bitwise<kXor, kBitwiseXor>},
      Lowering{"aten.__and__.Tensor", bitwise<kAnd, kBitwiseAnd>},
      Lowering{"aten.__or__.Tensor", bitwise<kOr, kBitwiseOr>},
      Lowering{"aten.bitwise_not.default", bitwise_not},
      Lowering{"aten.where.self", where},
      Lowering{"aten.masked_fill.Scalar", masked_fill},
      Lowering{"aten.masked_fill.Tensor", masked_fill},
  };
  return kRows;
}

}  // namespace portwright
