// Sampling on a grid, and distances.
#include <array>
#include <cmath>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners).
void grid_sampler(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::array modes = e.opset() >= 20
                               ? std::array<const char*, 3>{"linear", "nearest", "cubic"}
                               : std::array<const char*, 3>{"bilinear", "nearest", "bicubic"};
  const std::array<const char*, 3> paddings = {"zeros", "border", "reflection"};
  if (call.type(0).rank() == 5 && e.opset() < 20) {
    throw Error(ErrorCode::kUnsupported, "grid_sample of volumes needs opset 20");
  }
  call.give(e.op("GridSample", {e.tensor(call.arg(0)), e.tensor(call.arg(1))},
                 {{"mode", std::string(modes.at(constant_int(call.arg(2))))},
                  {"padding_mode", std::string(paddings.at(constant_int(call.arg(3))))},
                  {"align_corners", int64_t{flag(call.arg(4))}}}));
}

// _euclidean_dist(x1, x2): |a|^2 - 2 a b + |b|^2 as one product, as torch computes it.
void euclidean_distance(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string a = e.tensor(call.arg(0));
  const std::string b = e.tensor(call.arg(1));
  auto norm = [&](const std::string& x) {
    return e.op("ReduceSum", {e.op("Mul", {x, x}), e.ints({-1})}, {{"keepdims", int64_t{1}}});
  };
  auto ones = [&](const std::string& like) {
    return e.op("Expand", {e.scalar(1, dtype), e.op("Shape", {like})});
  };
  const OnnxAttributes last = {{"axis", int64_t{-1}}};
  const std::string na = norm(a);
  const std::string nb = norm(b);
  const std::string left =
      e.op("Concat", {e.op("Mul", {a, e.scalar(-2, dtype)}), na, ones(na)}, last);
  const std::string right = e.op("Concat", {b, ones(nb), nb}, last);
  const std::string square =
      e.op("MatMul", {left, e.matrix_transposed(right, call.type(1).rank())});
  call.give(e.op("Sqrt", {e.op("Max", {square, e.scalar(0, dtype)})}));
}

// _cdist_forward(x1, x2, p, compute_mode): each row against each.
void distance(const LoweringCall& call) {
  Emitter& e = call.emit;
  const double p = constant_number(call.arg(2)).value();
  const std::string a = e.unsqueeze(e.tensor(call.arg(0)), {-2});
  const std::string b = e.unsqueeze(e.tensor(call.arg(1)), {-3});
  const std::string gap = e.op("Sub", {a, b});
  const OnnxAttributes dropped = {{"keepdims", int64_t{0}}};
  if (p == 1) return call.give(e.op("ReduceL1", {gap, e.ints({-1})}, dropped));
  if (p == 2) return call.give(e.op("ReduceL2", {gap, e.ints({-1})}, dropped));
  if (std::isinf(p))
    return call.give(e.op("ReduceMax", {e.op("Abs", {gap}), e.ints({-1})}, dropped));
  throw Error(ErrorCode::kUnsupported, "a distance of a norm other than 1, 2 and infinity");
}

}  // namespace

std::span<const Lowering> sampling_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.grid_sampler_2d.default", grid_sampler},
      Lowering{"aten.grid_sampler_3d.default", grid_sampler},
      Lowering{"aten._euclidean_dist.default", euclidean_distance},
      Lowering{"aten._cdist_forward.default", distance},
  };
  return kRows;
}

}  // namespace portwright
