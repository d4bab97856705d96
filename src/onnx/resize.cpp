// Interpolation: upsample_* by output size or by scale factors.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// The Resize that matches torch: cubic with a = -0.75, half-pixel centres unless align_corners,
// nearest by the floor of the source position.
std::string resize(const LoweringCall& call, const std::string& mode, bool align_corners) {
  Emitter& e = call.emit;
  const std::string transform = align_corners       ? "align_corners"
                                : mode == "nearest" ? "asymmetric"
                                                    : "half_pixel";
  OnnxAttributes attributes = {{"mode", mode}, {"coordinate_transformation_mode", transform}};
  if (mode == "nearest") attributes.emplace_back("nearest_mode", std::string("floor"));
  if (mode == "cubic") attributes.emplace_back("cubic_coeff_a", -0.75F);
  return e.op("Resize", {e.tensor(call.arg(0)), "", "", e.shape(call.result().shape)}, attributes);
}

// upsample_*.vec(input, output_size, align_corners, scale_factors); nearest has no align_corners.
void require_size(const LoweringCall& call, size_t scales) {
  if (!call.has(1) && call.node.arguments.size() > scales && call.has(scales)) {
    // With given factors torch samples by them, not by the ratio of the sizes: these agree only
    // where the scaled size is whole.
    const auto& factors = std::get<FloatList>(call.arg(scales));
    for (double factor : factors) {
      if (factor != static_cast<double>(static_cast<int64_t>(factor))) {
        throw Error(ErrorCode::kUnsupported,
                    "interpolate with a fractional scale_factor: give size=, or "
                    "recompute_scale_factor=True");
      }
    }
  }
}

void linear(const LoweringCall& call) {
  require_size(call, 3);
  call.give(resize(call, "linear", flag(call.arg(2))));
}

void cubic(const LoweringCall& call) {
  require_size(call, 3);
  call.give(resize(call, "cubic", flag(call.arg(2))));
}

void nearest(const LoweringCall& call) {
  require_size(call, 2);
  call.give(resize(call, "nearest", false));
}

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
