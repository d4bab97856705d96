// Tensors made from numbers and sizes.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

void fill(const LoweringCall& call, const Argument& value) {
  Emitter& e = call.emit;
  const std::string number = e.tensor(value, call.result().dtype);
  if (call.result().shape.empty()) return call.give(number);
  call.give(e.op("Expand", {number, e.shape(call.result().shape)}));
}

template <int kValue>
void constant(const LoweringCall& call) {
  fill(call, Expr(kValue));
}

// full(size, value, ...), full_like(self, value, ...), fill(self, value).
void full(const LoweringCall& call) { fill(call, call.arg(1)); }
// new_full(self, size, value, ...).
void new_full(const LoweringCall& call) { fill(call, call.arg(2)); }

void scalar_tensor(const LoweringCall& call) {
  call.give(call.emit.tensor(call.arg(0), call.result().dtype));
}

// arange(end), arange(start, end), arange(start, end, step), each with dtype and so on behind.
void range(const LoweringCall& call, const Argument& start, const Argument& end,
           const Argument& step) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const bool direct = dtype == DType::kInt64 || dtype == DType::kInt32 ||
                      dtype == DType::kFloat32 || dtype == DType::kFloat64;
  const DType compute = direct ? dtype : DType::kFloat32;
  const std::string values =
      e.op("Range", {e.tensor(start, compute), e.tensor(end, compute), e.tensor(step, compute)});
  call.give(e.cast(values, compute, dtype));
}

void arange_end(const LoweringCall& call) { range(call, Expr(0), call.arg(0), Expr(1)); }
void arange_start(const LoweringCall& call) { range(call, call.arg(0), call.arg(1), Expr(1)); }
void arange_step(const LoweringCall& call) { range(call, call.arg(0), call.arg(1), call.arg(2)); }

// Not EyeLike: ONNX Runtime has it for a few dtypes only.
void eye(const LoweringCall& call) {
  Emitter& e = call.emit;
  auto count = [&](const Expr& size) {
    return e.op("Range",
                {e.scalar(0, DType::kInt64), e.scalar_int(size), e.scalar(1, DType::kInt64)});
  };
  const std::vector<Expr>& shape = call.result().shape;
  const std::string rows = e.unsqueeze(count(shape.at(0)), {1});
  const std::string equal = e.op("Equal", {rows, count(shape.at(1))});
  call.give(e.cast(equal, DType::kBool, call.result().dtype));
}

// linspace(start, end, steps, ...).
void linspace(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const Expr steps = call.result().shape.at(0);
  const std::string start = e.tensor(call.arg(0), dtype);
  const std::string end = e.tensor(call.arg(1), dtype);
  if (steps.is_constant(1)) return call.give(e.unsqueeze(start, {0}));
  const std::string index = e.cast(
      e.op("Range", {e.scalar(0, DType::kInt64), e.scalar_int(steps), e.scalar(1, DType::kInt64)}),
      DType::kInt64, dtype);
  const std::string last = e.cast(e.scalar_int(steps - Expr(1)), DType::kInt64, dtype);
  const std::string step = e.op("Div", {e.op("Sub", {end, start}), last});
  // torch counts from both ends, so that the last element is exactly `end`.
  const std::string forward = e.op("Add", {start, e.op("Mul", {index, step})});
  const std::string backward = e.op("Sub", {end, e.op("Mul", {e.op("Sub", {last, index}), step})});
  const std::string half = e.op("Mul", {last, e.scalar(0.5, dtype)});
  call.give(e.op("Where", {e.op("Less", {index, half}), forward, backward}));
}

}  // namespace

std::span<const Lowering> factory_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.zeros.default", constant<0>},
      Lowering{"aten.ones.default", constant<1>},
      Lowering{"aten.empty.memory_format", constant<0>},
      Lowering{"aten.zeros_like.default", constant<0>},
      Lowering{"aten.ones_like.default", constant<1>},
      Lowering{"aten.empty_like.default", constant<0>},
      Lowering{"aten.new_zeros.default", constant<0>},
      Lowering{"aten.new_ones.default", constant<1>},
      Lowering{"aten.new_empty.default", constant<0>},
      Lowering{"aten.full.default", full},
      Lowering{"aten.full_like.default", full},
      Lowering{"aten.fill.Scalar", full},
      Lowering{"aten.new_full.default", new_full},
      Lowering{"aten.scalar_tensor.default", scalar_tensor},
      Lowering{"aten.arange.default", arange_end},
      Lowering{"aten.arange.start", arange_start},
      Lowering{"aten.arange.start_step", arange_step},
      Lowering{"aten.eye.default", eye},
      Lowering{"aten.eye.m", eye},
      Lowering{"aten.linspace.default", linspace},
  };
  return kRows;
}

}  // namespace portwright
