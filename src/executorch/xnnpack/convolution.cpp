// Convolutions over two dims, on NHWC, and the batch norms behind them. Those over one dim are
// made into these before, see prepare.h.
#include <array>
#include <cmath>

#include "executorch/xnnpack/lowering.h"
#include "ir/scalar_bytes.h"

namespace portwright {
namespace {

// A convolution as aten.convolution has it.
struct Convolution {
  std::vector<int64_t> stride, dilation, output_padding = {0, 0};
  std::vector<int64_t> before, after;  // padding of height and width
  int64_t groups = 1;
  bool transposed = false;
};

// Where the operands behind input, weight and bias stand; 0 for none.
struct Places {
  size_t stride, padding, dilation, groups, output_padding = 0, transposed = 0;
};
constexpr Places kForward = {3, 4, 5, 6};        // conv2d
constexpr Places kTransposed = {3, 4, 7, 6, 5};  // conv_transpose2d
constexpr Places kGeneral = {3, 4, 5, 8, 7, 6};  // convolution

// One number stands for both dims.
std::optional<std::vector<int64_t>> pair_at(const XnnNodeView& node, size_t i) {
  auto values = node.integers(i);
  if (values && values->size() == 1) values->push_back(values->front());
  return values && values->size() == 2 ? values : std::nullopt;
}

// "valid" pads nothing; "same" pads so that the size stays, the odd one behind.
bool read_padding(const XnnNodeView& node, size_t place, Convolution& found) {
  if (const auto* name = std::get_if<std::string>(&node.arg(place))) {
    for (size_t i = 0; i < 2; ++i) {
      const int64_t kernel = node.weight(1)->shape[2 + i];
      const int64_t whole = *name == "same" ? found.dilation[i] * (kernel - 1) : 0;
      found.before.push_back(whole / 2);
      found.after.push_back(whole - whole / 2);
    }
    return true;
  }
  const auto padding = pair_at(node, place);
  if (!padding || padding->at(0) < 0 || padding->at(1) < 0) return false;
  found.before = found.after = *padding;
  return true;
}

std::optional<Convolution> read(const XnnNodeView& node, const Places& places, bool transposed) {
  Convolution found;
  const auto stride = pair_at(node, places.stride), dilation = pair_at(node, places.dilation);
  const auto groups = node.integer(places.groups);
  if (!stride || !dilation || !groups) return std::nullopt;
  found.stride = *stride;
  found.dilation = *dilation;
  found.groups = *groups;
  found.transposed = transposed || (places.transposed != 0 && node.flag(places.transposed));
  if (found.transposed) {
    const auto output_padding = pair_at(node, places.output_padding);
    if (!output_padding) return std::nullopt;
    found.output_padding = *output_padding;
  }
  return read_padding(node, places.padding, found) ? std::optional(found) : std::nullopt;
}

std::optional<Convolution> read_forward(const XnnNodeView& node) {
  return read(node, kForward, false);
}
std::optional<Convolution> read_transposed(const XnnNodeView& node) {
  return read(node, kTransposed, true);
}
std::optional<Convolution> read_general(const XnnNodeView& node) {
  return read(node, kGeneral, false);
}

using Read = std::optional<Convolution> (*)(const XnnNodeView&);

template <Read read>
std::string_view refusal(const XnnNodeView& node) {
  if (node.rank(0) != 4) return "a convolution over other than two dims";
  if (node.weight(1) == nullptr) return "a filter that changes";
  if (node.has(2) && node.weight(2) == nullptr) return "a bias that changes";
  return read(node) ? "" : kSymbolicOperand;
}

// The filter's dims in another order, without its elements being moved here: the writer does that.
struct Filter {
  Weight weight;
  std::vector<int64_t> shape;  // for XNNPACK
  const char* layout;
};

Weight reordered(const Weight& weight, const std::vector<size_t>& order) {
  Weight moved = weight;
  for (size_t i = 0; i < order.size(); ++i) {
    moved.shape[i] = weight.shape[order[i]];
    moved.strides[i] = weight.strides[order[i]];
  }
  return moved;
}

// [out, in of a group, height, width] to [out, height, width, in], and for convolutions of single
// channels to [1, height, width, out].
Filter forward_filter(const Weight& weight, bool depthwise) {
  Weight moved = reordered(
      weight, depthwise ? std::vector<size_t>{1, 2, 3, 0} : std::vector<size_t>{0, 2, 3, 1});
  std::vector<int64_t> shape = moved.shape;
  return {std::move(moved), std::move(shape), depthwise ? ".1hwo" : ".ohwi"};
}

// [in, out of a group, height, width] to [out, height, width, in of a group].
Filter transposed_filter(const Weight& weight, int64_t groups) {
  Weight split = weight;
  split.shape = {groups, weight.shape[0] / groups, weight.shape[1], weight.shape[2],
                 weight.shape[3]};
  split.strides = {weight.strides[0] * split.shape[1], weight.strides[0], weight.strides[1],
                   weight.strides[2], weight.strides[3]};
  Weight moved = reordered(split, {0, 2, 3, 4, 1});
  return {std::move(moved),
          {groups * weight.shape[1], weight.shape[2], weight.shape[3], split.shape[1]},
          ".gohwi"};
}

uint32_t u32(int64_t value) { return static_cast<uint32_t>(value); }
XnnPair pair_of(const std::vector<int64_t>& values) { return {u32(values[0]), u32(values[1])}; }

XnnConvolution attributes_of(const Convolution& c, const Weight& weight) {
  XnnConvolution made;
  made.padding = {u32(c.before[0]), u32(c.after[1]), u32(c.after[0]), u32(c.before[1])};
  made.kernel = {u32(weight.shape[2]), u32(weight.shape[3])};
  made.stride = pair_of(c.stride);
  made.dilation = pair_of(c.dilation);
  made.adjustment = pair_of(c.output_padding);
  made.groups = u32(c.groups);
  const int64_t outer = weight.shape[0] / c.groups, inner = weight.shape[1];
  made.group_inputs = u32(c.transposed ? outer : inner);
  made.group_outputs = u32(c.transposed ? inner : outer);
  return made;
}

// Filters and biases are float32 for float16 images, too: XNNPACK packs them as float16.
XnnId wide(XnnBuilder& x, const Weight& weight, const std::vector<int64_t>& shape) {
  return x.floats(shape, floats_of_bytes(weight.copy_bytes(), weight.dtype), DType::kFloat32);
}

XnnId filter_of(XnnBuilder& x, const XnnNodeView& node, const Filter& filter) {
  if (filter.weight.dtype != DType::kFloat32) return wide(x, filter.weight, filter.shape);
  return x.constant(x.key_of(node.id(1)) + filter.layout, filter.weight, filter.shape);
}

XnnId bias_of(XnnBuilder& x, const XnnNodeView& node) {
  if (!node.has(2)) return kNoXnnValue;
  const Weight& bias = *node.weight(2);
  return bias.dtype == DType::kFloat32 ? x.value(node.id(2)) : wide(x, bias, bias.shape);
}

Shape nhwc_shape(const Shape& nchw) { return {nchw[0], nchw[2], nchw[3], nchw[1]}; }

template <Read read>
void convolution(XnnBuilder& x, const XnnNodeView& node) {
  const Convolution c = *read(node);
  const Weight& weight = *node.weight(1);
  const XnnConvolution attributes = attributes_of(c, weight);
  const bool depthwise = !c.transposed && attributes.group_inputs == 1;
  const Filter filter =
      c.transposed ? transposed_filter(weight, c.groups) : forward_filter(weight, depthwise);
  XnnOp op = depthwise ? XnnOp::kDepthwiseConvolution : XnnOp::kConvolution;
  if (c.transposed) op = XnnOp::kTransposedConvolution;
  const XnnId input = x.to_nhwc(x.value(node.id(0)));
  const XnnId kernel = filter_of(x, node, filter), bias = bias_of(x, node);
  const XnnId y = x.add_node({op, {input, kernel, bias}, kNoXnnValue, attributes, 0, {}},
                             nhwc_shape(node.result().shape));
  x.bind(node.node.result(), x.to_nchw(y));
}

// batch_norm(x, weight, bias, mean, variance, training, momentum, epsilon, cudnn).
std::string_view batch_norm_refusal(const XnnNodeView& node) {
  if (node.flag(5)) return "a batch norm in training";
  if (!node.number(7) || !node.has(3) || !node.has(4) || node.rank(0) < 2) return kSymbolicOperand;
  for (const size_t i : {size_t{1}, size_t{2}, size_t{3}, size_t{4}}) {
    if (node.has(i) && node.weight(i) == nullptr) return "a parameter of channels that changes";
  }
  return "";
}

// x * scale + shift, by channel.
struct Affine {
  std::vector<float> scale, shift;
};

Affine affine_of(XnnBuilder& x, const XnnNodeView& node) {
  const auto read = [&](size_t i, float none, size_t count) {
    return node.has(i) ? *x.elements(x.value(node.id(i))) : std::vector<float>(count, none);
  };
  const std::vector<float> mean = read(3, 0, 0), variance = read(4, 0, 0);
  const std::vector<float> weight = read(1, 1, mean.size()), bias = read(2, 0, mean.size());
  Affine found;
  for (size_t i = 0; i < mean.size(); ++i) {
    const double scale = weight[i] / std::sqrt(static_cast<double>(variance[i]) + *node.number(7));
    found.scale.push_back(static_cast<float>(scale));
    found.shift.push_back(static_cast<float>(bias[i] - mean[i] * scale));
  }
  return found;
}

// The convolution behind an NCHW tensor that nothing else reads, with the norm in its filter.
std::optional<XnnId> folded(XnnBuilder& x, XnnId y, const Affine& affine) {
  const auto nhwc = x.nhwc_before(y);
  const XnnNode* made = nhwc ? x.maker(*nhwc) : nullptr;
  const bool convolves =
      made != nullptr && !made->range &&
      (made->op == XnnOp::kConvolution || made->op == XnnOp::kDepthwiseConvolution);
  if (!convolves) return std::nullopt;
  XnnNode node = *made;
  std::vector<float> filter = *x.elements(node.inputs[1]);
  const size_t channels = affine.scale.size(), per_channel = filter.size() / channels;
  const bool depthwise = node.op == XnnOp::kDepthwiseConvolution;
  for (size_t i = 0; i < filter.size(); ++i) {
    filter[i] *= affine.scale[depthwise ? i % channels : i / per_channel];
  }
  std::vector<float> bias = affine.shift;
  if (node.inputs[2] != kNoXnnValue) {
    const std::vector<float> before = *x.elements(node.inputs[2]);
    for (size_t i = 0; i < channels; ++i) bias[i] += before[i] * affine.scale[i];
  }
  std::vector<int64_t> shape;
  for (const Expr& size : x.shape(node.inputs[1])) shape.push_back(size.constant());
  const DType dtype = x.dtype(node.inputs[1]);
  node.inputs[1] = x.floats(shape, filter, dtype);
  node.inputs[2] = x.floats({static_cast<int64_t>(channels)}, bias, dtype);
  return x.to_nchw(x.add_node(std::move(node), x.shape(*nhwc)));
}

void batch_norm(XnnBuilder& x, const XnnNodeView& node) {
  const Affine affine = affine_of(x, node);
  const XnnId input = x.value(node.id(0));
  if (node.scope.uses(node.id(0)) == 1) {
    if (const auto y = folded(x, input, affine)) return x.bind(node.node.result(), *y);
  }
  std::vector<int64_t> shape(node.rank(0) - 1, 1);
  shape[0] = static_cast<int64_t>(affine.scale.size());
  const XnnId scale = x.floats(shape, affine.scale, x.dtype(input));
  const XnnId shift = x.floats(shape, affine.shift, x.dtype(input));
  const XnnId scaled = x.binary(XnnOp::kMultiply, input, scale);
  x.bind(node.node.result(), x.binary(XnnOp::kAdd, scaled, shift));
}

}  // namespace

std::span<const XnnLowering> xnn_convolution_lowerings() {
  constexpr XnnGain kGain = XnnGain::kHeavy;
  static constexpr std::array kRows = {
      XnnLowering{"aten.conv2d.default", kGain, refusal<read_forward>, convolution<read_forward>},
      XnnLowering{"aten.conv2d.padding", kGain, refusal<read_forward>, convolution<read_forward>},
      XnnLowering{"aten.conv_transpose2d.input", kGain, refusal<read_transposed>,
                  convolution<read_transposed>},
      XnnLowering{"aten.convolution.default", kGain, refusal<read_general>,
                  convolution<read_general>},
      XnnLowering{"aten.batch_norm.default", XnnGain::kElementwise, batch_norm_refusal, batch_norm},
  };
  return kRows;
}

}  // namespace portwright
