// Fourier transforms of pairs (src/passes/complex_pairs.h).
#include <array>
#include <cmath>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// How the result is scaled, torch's fft_norm_mode: not at all, by 1 / sqrt(n), by 1 / n.
enum Scaling : int64_t { kNone, kByRoot, kBySize };

// One axis. ONNX's inverse divides by the size by itself, torch's does not.
std::string transform(const LoweringCall& call, const std::string& value, int64_t axis,
                      bool inverse, bool onesided) {
  Emitter& e = call.emit;
  OnnxAttributes attributes = {{"inverse", int64_t{inverse}}, {"onesided", int64_t{onesided}}};
  if (e.opset() >= 20) {
    return e.op("DFT", {value, "", e.scalar(static_cast<double>(axis), DType::kInt64)}, attributes);
  }
  attributes.emplace_back("axis", axis);
  return e.op("DFT", {value}, attributes);
}

std::string scaled(const LoweringCall& call, const std::string& value, const Expr& count,
                   int64_t scaling, bool inverse) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const Real n = Real::ratio(count);
  const Real root = Real::unary(RealOp::kSqrt, n);
  if (scaling == kNone) return inverse ? e.op("Mul", {value, e.scalar_real(n, dtype)}) : value;
  if (scaling == kByRoot) {
    return e.op(inverse ? "Mul" : "Div", {value, e.scalar_real(root, dtype)});
  }
  return inverse ? value : e.op("Div", {value, e.scalar_real(n, dtype)});
}

// _fft_c2c(self, dim, normalization, forward).
void complex_to_complex(const LoweringCall& call) {
  Emitter& e = call.emit;
  const bool inverse = !flag(call.arg(3));
  std::string value = e.tensor(call.arg(0));
  Expr count = 1;
  for (int64_t axis : constant_dims(call.arg(1), call.type(0).rank() - 1)) {
    value = transform(call, value, axis, inverse, false);
    count = count * call.type(0).shape.at(axis);
  }
  call.give(scaled(call, value, count, constant_int(call.arg(2)), inverse));
}

// _fft_r2c(self, dim, normalization, onesided): the last dim first, of real numbers.
void real_to_complex(const LoweringCall& call) {
  Emitter& e = call.emit;
  const size_t rank = call.type(0).rank();
  const std::vector<int64_t> axes = constant_dims(call.arg(1), rank);
  std::string value = e.unsqueeze(e.tensor(call.arg(0)), {static_cast<int64_t>(rank)});
  Expr count = 1;
  for (size_t i = axes.size(); i-- > 0;) {
    const bool last = i + 1 == axes.size();
    value = transform(call, value, axes[i], false, last && flag(call.arg(3)));
    count = count * call.type(0).shape.at(axes[i]);
  }
  call.give(scaled(call, value, count, constant_int(call.arg(2)), false));
}

// All `size` frequencies of real numbers from the first size / 2 + 1: the others are the conjugates
// of these, in reverse.
std::string both_sides(const LoweringCall& call, const std::string& value, int64_t axis,
                       const Expr& size) {
  Emitter& e = call.emit;
  const Expr known = call.type(0).shape.at(axis);
  const std::string mirrored =
      e.op("Range",
           {e.scalar_int(size - known), e.scalar(0, DType::kInt64), e.scalar(-1, DType::kInt64)});
  const std::string others = e.op("Gather", {value, mirrored}, {{"axis", axis}});
  const std::string sign =
      e.op("Concat",
           {e.op("Unsqueeze", {e.scalar(1, call.result().dtype), e.ints({0})}),
            e.op("Unsqueeze", {e.scalar(-1, call.result().dtype), e.ints({0})})},
           {{"axis", int64_t{0}}});
  return e.op("Concat", {value, e.op("Mul", {others, sign})}, {{"axis", axis}});
}

// _fft_c2r(self, dim, normalization, last_dim_size): the last dim last, to real numbers.
void complex_to_real(const LoweringCall& call) {
  Emitter& e = call.emit;
  const size_t rank = call.type(0).rank() - 1;
  const std::vector<int64_t> axes = constant_dims(call.arg(1), rank);
  std::string value = e.tensor(call.arg(0));
  Expr count = 1;
  for (int64_t axis : axes) {
    const bool last = axis == axes.back();
    const Expr size = call.result().shape.at(axis);
    if (last) value = both_sides(call, value, axis, size);
    value = transform(call, value, axis, true, false);
    count = count * size;
  }
  const std::string real =
      e.op("Gather", {value, e.scalar(0, DType::kInt64)}, {{"axis", int64_t{-1}}});
  call.give(scaled(call, real, count, constant_int(call.arg(2)), true));
}

}  // namespace

std::span<const Lowering> fourier_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten._fft_c2c.default", complex_to_complex},
      Lowering{"aten._fft_r2c.default", real_to_complex},
      Lowering{"aten._fft_c2r.default", complex_to_real},
  };
  return kRows;
}

}  // namespace portwright
