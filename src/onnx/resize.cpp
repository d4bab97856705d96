// Interpolation: upsample_* by output size or by scale factors.
#include <algorithm>
#include <array>
#include <cmath>

#include "onnx/lowering.h"

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
void linear(const LoweringCall& call) { resize(call, "linear", flag(call.arg(2))); }
void cubic(const LoweringCall& call) { resize(call, "cubic", flag(call.arg(2))); }
void nearest(const LoweringCall& call) { resize(call, "nearest", false); }

}  // namespace

std::span<const Lowering> resize_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.upsample_linear1d.vec", linear},
      Lowering{"aten.upsample_bilinear2d.vec", linear},
      Lowering{"aten.upsample_trilinear3d.vec", linear},
      Lowering{"aten.upsample_bicubic2d.vec", cubic},
      Lowering{"aten.upsample_nearest1d.vec", nearest},
      Lowering{"aten.upsample_nearest2d.vec", nearest},
      Lowering{"aten.upsample_nearest3d.vec", nearest},
  };
  return kRows;
}

}  // namespace portwright
