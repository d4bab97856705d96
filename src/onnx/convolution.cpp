// Convolutions.
#include <array>

#include "onnx/spatial.h"

namespace portwright {
namespace {

std::vector<std::string> conv_operands(const LoweringCall& call, const std::string& input) {
  std::vector<std::string> operands = {input, call.emit.tensor(call.arg(1))};
  if (call.has(2)) operands.push_back(call.emit.tensor(call.arg(2)));
  return operands;
}

// conv1d/2d/3d(input, weight, bias, stride, padding, dilation, groups).
void conv(const LoweringCall& call) {
  Emitter& e = call.emit;
  const size_t dims = call.type(1).rank() - 2;
  OnnxAttributes attributes = {{"strides", spatial(call.arg(3), dims)},
                               {"dilations", spatial(call.arg(5), dims)},
                               {"group", constant_int(call.arg(6))}};
  if (const auto* mode = std::get_if<std::string>(&call.arg(4))) {
    attributes.emplace_back("auto_pad", std::string(*mode == "same" ? "SAME_UPPER" : "VALID"));
  } else {
    attributes.emplace_back("pads", both_ends(spatial(call.arg(4), dims)));
  }
  const Batched input = with_batch(call, dims);
  give_unbatched(call, e.op("Conv", conv_operands(call, input.value), attributes), input.added);
}

// Positions of stride, padding, output_padding, groups and dilation in a transposed convolution.
struct TransposedOperands {
  size_t stride, padding, output_padding, groups, dilation;
};

void transposed(const LoweringCall& call, const TransposedOperands& at) {
  Emitter& e = call.emit;
  const size_t dims = call.type(1).rank() - 2;
  const Batched input = with_batch(call, dims);
  const std::string value = e.op("ConvTranspose", conv_operands(call, input.value),
                                 {{"strides", spatial(call.arg(at.stride), dims)},
                                  {"pads", both_ends(spatial(call.arg(at.padding), dims))},
                                  {"output_padding", spatial(call.arg(at.output_padding), dims)},
                                  {"dilations", spatial(call.arg(at.dilation), dims)},
                                  {"group", constant_int(call.arg(at.groups))}});
  give_unbatched(call, value, input.added);
}

// conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation).
void conv_transpose(const LoweringCall& call) { transposed(call, {3, 4, 5, 6, 7}); }

// convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups).
void convolution(const LoweringCall& call) {
  if (flag(call.arg(6))) return transposed(call, {3, 4, 7, 8, 5});
  Emitter& e = call.emit;
  const size_t dims = call.type(1).rank() - 2;
  const Batched input = with_batch(call, dims);
  const std::string value = e.op("Conv", conv_operands(call, input.value),
                                 {{"strides", spatial(call.arg(3), dims)},
                                  {"pads", both_ends(spatial(call.arg(4), dims))},
                                  {"dilations", spatial(call.arg(5), dims)},
                                  {"group", constant_int(call.arg(8))}});
  give_unbatched(call, value, input.added);
}

}  // namespace

std::span<const Lowering> convolution_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.conv1d.default", conv},
      Lowering{"aten.conv2d.default", conv},
      Lowering{"aten.conv3d.default", conv},
      Lowering{"aten.conv1d.padding", conv},
      Lowering{"aten.conv2d.padding", conv},
      Lowering{"aten.conv3d.padding", conv},
      Lowering{"aten.conv_transpose1d.default", conv_transpose},
      Lowering{"aten.conv_transpose2d.input", conv_transpose},
      Lowering{"aten.conv_transpose3d.input", conv_transpose},
      Lowering{"aten.convolution.default", convolution},
  };
  return kRows;
}

}  // namespace portwright
