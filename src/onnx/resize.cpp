// Interpolation: upsample_* by output size or by scale factors.
#include <algorithm>
#include <array>
#include <cmath>

#include "onnx/spatial.h"

namespace portwright {
namespace {

bool whole(double factor) { return factor == std::floor(factor); }

// The factors that torch samples by, when the model gave them and they are not the ratio of the
// sizes: floor(size * factor) is only exact for whole ones.
const FloatList* sampling_factors(const LoweringCall& call) {
  if (call.has(1)) return nullptr;
  const auto* factors = std::get_if<FloatList>(&call.node.arguments.back());
  if (factors == nullptr || std::all_of(factors->begin(), factors->end(), whole)) return nullptr;
  return factors;
}

// How far two neighbouring results are apart in the operand, a 0-D float.
std::string sampling_step(const LoweringCall& call, size_t axis, bool align_corners) {
  Emitter& e = call.emit;
  const Expr from = call.type(0).shape.at(axis);
  const Expr to = call.result().shape.at(axis);
  if (align_corners) {
    const Real last = Real::ratio(from - Expr(1));
    return e.scalar_real(Real::binary(RealOp::kTrueDiv, last, Real::ratio(max(to - Expr(1), 1))),
                         DType::kFloat32);
  }
  if (const FloatList* factors = sampling_factors(call)) {
    return e.scalar(1 / factors->at(axis - 2), DType::kFloat32);
  }
  return e.scalar_real(Real::binary(RealOp::kTrueDiv, Real::ratio(from), Real::ratio(to)),
                       DType::kFloat32);
}

// 0.5, 1.5, ... of so many.
std::string centres(Emitter& e, const Expr& count) {
  const std::string range =
      e.op("Range", {e.scalar(0, DType::kInt64), e.scalar_int(count), e.scalar(1, DType::kInt64)});
  return e.op("Add",
              {e.cast(range, DType::kInt64, DType::kFloat32), e.scalar(0.5, DType::kFloat32)});
}

// The weight of an element at this distance: a tent, or the cubic of image libraries (a = -0.5).
std::string filtered(Emitter& e, const std::string& x, bool cubic) {
  auto number = [&](double value) { return e.scalar(value, DType::kFloat32); };
  if (!cubic) return e.op("Relu", {e.op("Sub", {number(1), x})});
  auto plus = [&](const std::string& sum, double more) { return e.op("Add", {sum, number(more)}); };
  const std::string square = e.op("Mul", {x, x});
  const std::string near =
      plus(e.op("Mul", {plus(e.op("Mul", {x, number(1.5)}), -2.5), square}), 1);
  const std::string inner = plus(e.op("Mul", {plus(x, -5), x}), 8);
  const std::string far = e.op("Mul", {plus(e.op("Mul", {inner, x}), -4), number(-0.5)});
  const std::string outside = e.op("Where", {e.op("Less", {x, number(2)}), far, number(0)});
  return e.op("Where", {e.op("Less", {x, number(1)}), near, outside});
}

enum class Filter : uint8_t { kLinear, kLinearCorners, kSmoothLinear, kSmoothCubic };

// Where the results' centres are among those of the elements (0.5, 1.5, ...), within the outer
// ones.
std::string sampled_centres(const LoweringCall& call, size_t axis, bool align_corners) {
  Emitter& e = call.emit;
  const std::string step = sampling_step(call, axis, align_corners);
  const std::string half = e.scalar(0.5, DType::kFloat32);
  const std::string result = centres(e, call.result().shape.at(axis));
  if (align_corners) return e.op("Add", {e.op("Mul", {e.op("Sub", {result, half}), step}), half});
  const std::string count =
      e.cast(e.scalar_int(call.type(0).shape.at(axis)), DType::kInt64, DType::kFloat32);
  return e.op("Min",
              {e.op("Max", {e.op("Mul", {result, step}), half}), e.op("Sub", {count, half})});
}

// [size, new size]: what each element adds to each result.
std::string resampling_weights(const LoweringCall& call, size_t axis, Filter filter) {
  Emitter& e = call.emit;
  const std::string element = e.unsqueeze(centres(e, call.type(0).shape.at(axis)), {1});
  if (filter == Filter::kLinear || filter == Filter::kLinearCorners) {
    const std::string target = sampled_centres(call, axis, filter == Filter::kLinearCorners);
    return filtered(e, e.op("Abs", {e.op("Sub", {element, target})}), false);
  }
  const std::string step = sampling_step(call, axis, false);
  const std::string target = e.op("Mul", {centres(e, call.result().shape.at(axis)), step});
  const std::string width = e.op("Max", {step, e.scalar(1, DType::kFloat32)});
  const std::string distance = e.op("Div", {e.op("Abs", {e.op("Sub", {element, target})}), width});
  const std::string weights = filtered(e, distance, filter == Filter::kSmoothCubic);
  return e.op("Div", {weights, e.op("ReduceSum", {weights, e.ints({0})})});
}

// Along each axis in turn, as a product with weights: antialiased as torch does it, which ONNX
// Runtime's Resize does not; and inside bodies, where onnx's full check takes no Resize to sizes.
void resample(const LoweringCall& call, Filter filter) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  std::string value = e.tensor(call.arg(0), DType::kFloat32);
  for (size_t axis = 2; axis < type.rank(); ++axis) {
    value = product_along(e, value, type.rank(), axis, resampling_weights(call, axis, filter));
  }
  call.give(e.cast(value, DType::kFloat32, type.dtype));
}

// The same of nearest elements: floor(i * step) of each axis.
void gather_nearest(const LoweringCall& call) {
  Emitter& e = call.emit;
  std::string value = e.tensor(call.arg(0));
  for (size_t axis = 2; axis < call.type(0).rank(); ++axis) {
    const std::string index =
        e.op("Sub", {centres(e, call.result().shape.at(axis)), e.scalar(0.5, DType::kFloat32)});
    const std::string place = e.op("Mul", {index, sampling_step(call, axis, false)});
    const std::string last = e.dim(call.type(0).shape.at(axis) - Expr(1));
    const std::string at = e.op("Min", {e.cast(place, DType::kFloat32, DType::kInt64), last});
    value = e.op("Gather", {value, at}, {{"axis", static_cast<int64_t>(axis)}});
  }
  call.give(value);
}

template <bool kCubic>
void antialiased(const LoweringCall& call) {
  if (flag(call.arg(2))) {
    throw Error(ErrorCode::kUnsupported, "antialiased interpolation with align_corners");
  }
  resample(call, kCubic ? Filter::kSmoothCubic : Filter::kSmoothLinear);
}

// The Resize that matches torch: cubic with a = -0.75, half-pixel centres unless align_corners,
// nearest by the floor of the source position.
void resize(const LoweringCall& call, const std::string& mode, bool align_corners) {
  Emitter& e = call.emit;
  const std::string transform = align_corners       ? "align_corners"
                                : mode == "nearest" ? "asymmetric"
                                                    : "half_pixel";
  OnnxAttributes attributes = {{"mode", mode}, {"coordinate_transformation_mode", transform}};
  if (mode == "nearest") attributes.emplace_back("nearest_mode", std::string("floor"));
  if (mode == "cubic") attributes.emplace_back("cubic_coeff_a", -0.75F);
  const std::string x = e.tensor(call.arg(0));
  if (const FloatList* factors = align_corners ? nullptr : sampling_factors(call)) {
    std::vector<std::string> scales(2, e.unsqueeze(e.scalar(1, DType::kFloat32), {0}));
    for (double factor : *factors) {
      scales.push_back(e.unsqueeze(e.scalar(factor, DType::kFloat32), {0}));
    }
    const std::string all = e.op("Concat", scales, {{"axis", int64_t{0}}});
    return call.give(e.op("Resize", {x, "", all}, attributes));
  }
  call.give(e.op("Resize", {x, "", "", e.shape(call.result().shape)}, attributes));
}

// upsample_*.vec(input, output_size, align_corners, scale_factors); nearest has no align_corners.
void linear(const LoweringCall& call) {
  const bool align_corners = flag(call.arg(2));
  if (call.emit.in_body()) {
    return resample(call, align_corners ? Filter::kLinearCorners : Filter::kLinear);
  }
  resize(call, "linear", align_corners);
}
void cubic(const LoweringCall& call) { resize(call, "cubic", flag(call.arg(2))); }
void nearest(const LoweringCall& call) {
  if (call.emit.in_body()) return gather_nearest(call);
  resize(call, "nearest", false);
}

}  // namespace

std::span<const Lowering> resize_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.upsample_linear1d.vec", linear},
      Lowering{"aten.upsample_bilinear2d.vec", linear},
      Lowering{"aten.upsample_trilinear3d.vec", linear},
      Lowering{"aten.upsample_bicubic2d.vec", cubic},
      Lowering{"aten._upsample_bilinear2d_aa.vec", antialiased<false>},
      Lowering{"aten._upsample_bicubic2d_aa.vec", antialiased<true>},
      Lowering{"aten.upsample_nearest1d.vec", nearest},
      Lowering{"aten.upsample_nearest2d.vec", nearest},
      Lowering{"aten.upsample_nearest3d.vec", nearest},
  };
  return kRows;
}

}  // namespace portwright
