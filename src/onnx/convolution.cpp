// Convolutions and pooling.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// A spatial operand as one int per spatial dim.
std::vector<int64_t> spatial(const Argument& argument, size_t dims) {
  std::vector<int64_t> values;
  for (const Expr& item : std::get<IntList>(argument)) values.push_back(constant_int(item));
  if (values.size() == 1) values.resize(dims, values[0]);
  return values;
}

// ONNX wants all begins, then all ends.
std::vector<int64_t> both_ends(std::vector<int64_t> pads) {
  const size_t n = pads.size();
  for (size_t i = 0; i < n; ++i) pads.push_back(pads[i]);
  return pads;
}

// A 3-D operand of a 2-D operator (no batch) gets one, and loses it again.
struct Batched {
  std::string value;
  bool added;
};

Batched with_batch(const LoweringCall& call, size_t dims) {
  Emitter& e = call.emit;
  const std::string value = e.tensor(call.arg(0));
  const bool missing = call.type(0).rank() == dims + 1;
  return {missing ? e.unsqueeze(value, {0}) : value, missing};
}

void give_unbatched(const LoweringCall& call, const std::string& value, bool added) {
  call.give(added ? call.emit.squeeze(value, {0}) : value);
}

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

std::vector<int64_t> strides_or_kernel(const LoweringCall& call, size_t i,
                                       const std::vector<int64_t>& kernel) {
  const auto* list = std::get_if<IntList>(&call.arg(i));
  return list == nullptr || list->empty() ? kernel : spatial(call.arg(i), kernel.size());
}

// max_pool(self, kernel, stride, padding, dilation, ceil_mode).
template <size_t kDims>
void max_pool(const LoweringCall& call) {
  const std::vector<int64_t> kernel = spatial(call.arg(1), kDims);
  const Batched input = with_batch(call, kDims);
  const std::string value = call.emit.op("MaxPool", {input.value},
                                         {{"kernel_shape", kernel},
                                          {"strides", strides_or_kernel(call, 2, kernel)},
                                          {"pads", both_ends(spatial(call.arg(3), kDims))},
                                          {"dilations", spatial(call.arg(4), kDims)},
                                          {"ceil_mode", int64_t{flag(call.arg(5))}}});
  give_unbatched(call, value, input.added);
}

// avg_pool(self, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override).
template <size_t kDims>
void avg_pool(const LoweringCall& call) {
  if (call.node.arguments.size() > 6 && call.has(6))
    throw Error(ErrorCode::kUnsupported, "avg_pool with divisor_override");
  const std::vector<int64_t> kernel = spatial(call.arg(1), kDims);
  const Batched input = with_batch(call, kDims);
  const std::string value = call.emit.op("AveragePool", {input.value},
                                         {{"kernel_shape", kernel},
                                          {"strides", strides_or_kernel(call, 2, kernel)},
                                          {"pads", both_ends(spatial(call.arg(3), kDims))},
                                          {"ceil_mode", int64_t{flag(call.arg(4))}},
                                          {"count_include_pad", int64_t{flag(call.arg(5))}}});
  give_unbatched(call, value, input.added);
}

// adaptive_avg_pool(self, output_size): a mean for size 1, a plain pool where sizes divide.
template <size_t kDims>
void adaptive_avg_pool(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& sizes = std::get<IntList>(call.arg(1));
  bool ones = true;
  std::vector<int64_t> axes, kernel;
  for (size_t i = 0; i < kDims; ++i) {
    ones = ones && sizes.at(i).is_constant(1);
    axes.push_back(static_cast<int64_t>(i) - static_cast<int64_t>(kDims));
    const Expr size = call.type(0).shape.at(call.type(0).rank() - kDims + i);
    const auto ratio = divide_exactly(size, sizes[i]);
    if (ratio && ratio->is_constant()) kernel.push_back(ratio->constant());
  }
  if (ones) {
    return call.give(
        e.op("ReduceMean", {e.tensor(call.arg(0)), e.ints(axes)}, {{"keepdims", int64_t{1}}}));
  }
  if (kernel.size() != kDims) {
    throw Error(ErrorCode::kUnsupported,
                "adaptive pooling to a size that does not divide its operand's");
  }
  const Batched input = with_batch(call, kDims);
  const std::string value =
      e.op("AveragePool", {input.value}, {{"kernel_shape", kernel}, {"strides", kernel}});
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
      Lowering{"aten.max_pool1d.default", max_pool<1>},
      Lowering{"aten.max_pool2d.default", max_pool<2>},
      Lowering{"aten.max_pool3d.default", max_pool<3>},
      Lowering{"aten.avg_pool1d.default", avg_pool<1>},
      Lowering{"aten.avg_pool2d.default", avg_pool<2>},
      Lowering{"aten.adaptive_avg_pool1d.default", adaptive_avg_pool<1>},
      Lowering{"aten.adaptive_avg_pool2d.default", adaptive_avg_pool<2>},
      Lowering{"aten._adaptive_avg_pool2d.default", adaptive_avg_pool<2>},
  };
  return kRows;
}

}  // namespace portwright
