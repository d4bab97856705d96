// Pooling and resizing over height and width, on NHWC.
#include <array>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

constexpr std::string_view kNotTwoDims = "pooling over other than two dims";
constexpr std::string_view kCeiling = "a pooling whose last window is cut";
constexpr std::string_view kWideStride = "a pooling that leaves elements out";

struct Pooling {
  std::vector<int64_t> kernel, stride, padding, dilation = {1, 1};
};

std::optional<std::vector<int64_t>> pair_at(const XnnNodeView& node, size_t i) {
  auto values = node.integers(i);
  if (values && values->size() == 1) values->push_back(values->front());
  return values && values->size() == 2 ? values : std::nullopt;
}

// (x, kernel, stride, padding, ...); no stride is the kernel's.
std::optional<Pooling> read(const XnnNodeView& node) {
  const auto kernel = pair_at(node, 1), padding = pair_at(node, 3);
  const auto* stride = std::get_if<IntList>(&node.arg(2));
  const bool own = stride != nullptr && !stride->empty();
  const auto steps = own ? pair_at(node, 2) : kernel;
  if (!kernel || !padding || !steps) return std::nullopt;
  return Pooling{*kernel, *steps, *padding};
}

// Whether rounding up and down give the same size.
bool divides(const XnnNodeView& node, const Pooling& p) {
  for (size_t i = 0; i < 2; ++i) {
    const auto size = node.shape(0)[2 + i].maybe_constant();
    const int64_t window = p.dilation[i] * (p.kernel[i] - 1) + 1;
    if (!size || (*size + 2 * p.padding[i] - window) % p.stride[i] != 0) return false;
  }
  return true;
}

// XNNPACK's limits. Source: partition/config/generic_node_configs.py.
std::string_view window_refusal(const XnnNodeView& node, const Pooling& p, bool ceiling) {
  if (node.rank(0) != 4) return kNotTwoDims;
  if (p.kernel[0] * p.kernel[1] == 1) return "a pooling of single elements";
  if (p.stride[0] > p.kernel[0] || p.stride[1] > p.kernel[1]) return kWideStride;
  return ceiling && !divides(node, p) ? kCeiling : "";
}

uint32_t u32(int64_t value) { return static_cast<uint32_t>(value); }
XnnPair pair_of(const std::vector<int64_t>& values) { return {u32(values[0]), u32(values[1])}; }

Shape nhwc_shape(const Shape& nchw) { return {nchw[0], nchw[2], nchw[3], nchw[1]}; }

// `padding` is that of height and width, the same before and behind.
XnnId pool(XnnBuilder& x, XnnOp op, XnnId nhwc, const Pooling& p, const Shape& result) {
  XnnPooling made;
  made.padding = {u32(p.padding[0]), u32(p.padding[1]), u32(p.padding[0]), u32(p.padding[1])};
  made.kernel = pair_of(p.kernel);
  made.stride = pair_of(p.stride);
  made.dilation = pair_of(p.dilation);
  return x.to_nchw(
      x.add_node({op, {nhwc}, kNoXnnValue, made, kXnnKeepDims, {}}, nhwc_shape(result)));
}

// max_pool2d(x, kernel, stride, padding, dilation, ceil_mode).
std::string_view max_pool_refusal(const XnnNodeView& node) {
  auto p = read(node);
  const auto dilation = pair_at(node, 4);
  if (!p || !dilation) return kSymbolicOperand;
  p->dilation = *dilation;
  return window_refusal(node, *p, node.flag(5));
}

void max_pool(XnnBuilder& x, const XnnNodeView& node) {
  Pooling p = *read(node);
  p.dilation = *pair_at(node, 4);
  const XnnId input = x.to_nhwc(x.value(node.id(0)));
  x.bind(node.node.result(), pool(x, XnnOp::kMaxPool, input, p, node.result().shape));
}

// avg_pool2d(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override).
std::string_view average_pool_refusal(const XnnNodeView& node) {
  const auto p = read(node);
  if (!p) return kSymbolicOperand;
  if (node.has(6)) return "an average with a divisor of its own";
  return window_refusal(node, *p, node.flag(4));
}

// XNNPACK's average counts no padding: where it is to be counted, it is made into zeros before.
void average_pool(XnnBuilder& x, const XnnNodeView& node) {
  Pooling p = *read(node);
  XnnId input = x.to_nhwc(x.value(node.id(0)));
  if (node.flag(5) && (p.padding[0] != 0 || p.padding[1] != 0)) {
    const std::vector<uint32_t> edges = {0, u32(p.padding[0]), u32(p.padding[1]), 0};
    Shape padded = x.shape(input);
    for (size_t i = 0; i < 2; ++i) padded[1 + i] = padded[1 + i] + 2 * p.padding[i];
    input = x.pad(input, {edges, edges, 0}, padded);
    p.padding = {0, 0};
  }
  x.bind(node.node.result(), pool(x, XnnOp::kAveragePool, input, p, node.result().shape));
}

// adaptive_avg_pool2d(x, size): windows of one size side by side.
std::optional<Pooling> adaptive_windows(const XnnNodeView& node) {
  Pooling p;
  for (size_t i = 0; i < 2; ++i) {
    const auto from = node.shape(0)[2 + i].maybe_constant();
    const auto to = node.result().shape[2 + i].maybe_constant();
    if (!from || !to || *from % *to != 0) return std::nullopt;
    p.kernel.push_back(*from / *to);
  }
  p.stride = p.kernel;
  p.padding = {0, 0};
  return p;
}

bool to_one(const XnnNodeView& node) {
  return node.result().shape[2].is_constant(1) && node.result().shape[3].is_constant(1);
}

std::string_view adaptive_refusal(const XnnNodeView& node) {
  if (node.rank(0) != 4) return kNotTwoDims;
  if (to_one(node)) return "";
  const auto p = adaptive_windows(node);
  return p ? window_refusal(node, *p, false) : "windows of several sizes";
}

void adaptive_pool(XnnBuilder& x, const XnnNodeView& node) {
  const Shape result = node.result().shape;
  const XnnId input = x.to_nhwc(x.value(node.id(0)));
  if (!to_one(node)) {
    const Pooling p = *adaptive_windows(node);
    return x.bind(node.node.result(), pool(x, XnnOp::kAveragePool, input, p, result));
  }
  const XnnId mean = x.add_node(
      {XnnOp::kGlobalAveragePool, {input}, kNoXnnValue, {}, kXnnKeepDims, {}}, nhwc_shape(result));
  x.bind(node.node.result(), x.to_nchw(mean));
}

// upsample_bilinear2d.vec(x, size, align_corners, factors): the factors are those of the sizes.
std::string_view resize_refusal(const XnnNodeView& node) {
  if (node.rank(0) != 4) return kNotTwoDims;
  const Shape &from = node.shape(0), &to = node.result().shape;
  const auto* factors = std::get_if<FloatList>(&node.arg(3));
  for (size_t i = 0; i < 2; ++i) {
    const auto before = from[2 + i].maybe_constant(), after = to[2 + i].maybe_constant();
    if (!before || !after) return "a resize of dynamic size";
    const bool exact =
        factors == nullptr || static_cast<double>(*before) * factors->at(i) == *after;
    if (!exact && !node.flag(2)) return "a resize whose factors are not those of its sizes";
  }
  return "";
}

void resize(XnnBuilder& x, const XnnNodeView& node) {
  const Shape& to = node.result().shape;
  const XnnDims size{{u32(to[2].constant()), u32(to[3].constant())}};
  const uint32_t flags = node.flag(2) ? kXnnAlignCorners : 0;
  const XnnId input = x.to_nhwc(x.value(node.id(0)));
  const XnnId y =
      x.add_node({XnnOp::kResizeBilinear, {input}, kNoXnnValue, size, flags, {}}, nhwc_shape(to));
  x.bind(node.node.result(), x.to_nchw(y));
}

}  // namespace

std::span<const XnnLowering> xnn_pooling_lowerings() {
  constexpr XnnGain kGain = XnnGain::kHeavy;
  static constexpr std::array kRows = {
      XnnLowering{"aten.max_pool2d.default", kGain, max_pool_refusal, max_pool},
      XnnLowering{"aten.avg_pool2d.default", kGain, average_pool_refusal, average_pool},
      XnnLowering{"aten.adaptive_avg_pool2d.default", kGain, adaptive_refusal, adaptive_pool},
      XnnLowering{"aten.upsample_bilinear2d.vec", kGain, resize_refusal, resize},
  };
  return kRows;
}

}  // namespace portwright
