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

}  // namespace

std::span<const Lowering> fourier_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten._fft_c2c.default", complex_to_complex},
      Lowering{"aten._fft_r2c.default", real_to_complex},
  };
  return kRows;
}

}  // namespace portwright
