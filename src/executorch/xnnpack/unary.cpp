// Activations and other elementwise operators of one operand. At the ends of float32 XNNPACK's
// differ from eager's: no number for sigmoids beyond 4e26 and roots beyond 8e37, no sine beyond
// 1e7.
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

using Range = std::pair<double, double>;

void give(XnnBuilder& x, const XnnNodeView& node, XnnId id) { x.bind(node.node.result(), id); }
XnnId input(XnnBuilder& x, const XnnNodeView& node) { return x.value(node.id(0)); }

template <XnnOp op>
void unary(XnnBuilder& x, const XnnNodeView& node) {
  give(x, node, x.unary(op, input(x, node)));
}

// In float32, where XNNPACK's kernel for float16 is off by more than a rounding.
template <XnnOp op>
void wide_unary(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId y = x.unary(op, x.convert(input(x, node), DType::kFloat32));
  give(x, node, x.convert(y, node.result().dtype));
}

// A bound that is None is none.
std::optional<double> bound(const XnnNodeView& node, size_t i, double none) {
  return node.has(i) ? node.number(i) : none;
}

std::optional<Range> clamp_range(const XnnNodeView& node) {
  const auto low = bound(node, 1, -kInfinity), high = bound(node, 2, kInfinity);
  return low && high ? std::optional(Range(*low, *high)) : std::nullopt;
}
std::optional<Range> lower_range(const XnnNodeView& node) {
  const auto low = node.number(1);
  return low ? std::optional(Range(*low, kInfinity)) : std::nullopt;
}
std::optional<Range> upper_range(const XnnNodeView& node) {
  const auto high = node.number(1);
  return high ? std::optional(Range(-kInfinity, *high)) : std::nullopt;
}
std::optional<Range> relu_range(const XnnNodeView&) { return Range(0, kInfinity); }
std::optional<Range> relu6_range(const XnnNodeView&) { return Range(0, 6); }

// As a float32 or float16 tensor has it.
float rounded(DType dtype, double number) {
  const auto single = static_cast<float>(number);
  return dtype == DType::kFloat16 ? static_cast<float>(static_cast<_Float16>(single)) : single;
}

using RangeOf = std::optional<Range> (*)(const XnnNodeView&);

template <RangeOf range_of>
std::string_view clamp_refusal(const XnnNodeView& node) {
  const auto range = range_of(node);
  if (!range) return kSymbolicOperand;
  // Source: xnn_subgraph_check_output_min_max, which sees the ends in the tensor's dtype.
  const DType dtype = node.result().dtype;
  return rounded(dtype, range->first) < rounded(dtype, range->second) ? ""
                                                                      : "a clamp to an empty range";
}

template <RangeOf range_of>
void clamp(XnnBuilder& x, const XnnNodeView& node) {
  const auto range = *range_of(node);
  give(x, node,
       x.clamp(input(x, node), static_cast<float>(range.first), static_cast<float>(range.second)));
}

std::string_view number_refusal(const XnnNodeView& node) {
  const auto value = node.number(1);
  if (!value || !std::isfinite(*value)) return kSymbolicOperand;
  return holds(node.result().dtype, *value) ? "" : kNotHeld;
}

void leaky_relu(XnnBuilder& x, const XnnNodeView& node) {
  const XnnScalar slope{static_cast<float>(*node.number(1))};
  give(x, node, x.unary(XnnOp::kLeakyRelu, input(x, node), slope));
}

// elu(x, alpha, scale, input_scale).
std::string_view elu_refusal(const XnnNodeView& node) {
  if (node.number(1).value_or(0) <= 0) return "elu's alpha is not positive";
  return node.number(2) == 1.0 && node.number(3) == 1.0 ? "" : "a scaled elu";
}

void elu(XnnBuilder& x, const XnnNodeView& node) {
  const XnnScalar alpha{static_cast<float>(*node.number(1))};
  give(x, node, x.unary(XnnOp::kElu, input(x, node), alpha));
}

// prelu(x, weight): one slope, or one for each channel.
std::string_view prelu_refusal(const XnnNodeView& node) {
  return node.weight(1) == nullptr || node.rank(0) < 2 ? "slopes that change" : "";
}

void prelu(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId flat = x.value(node.id(1));
  Shape shape(node.rank(0) - 1, Expr(1));
  shape[0] = x.shape(flat)[0];
  const XnnId slopes = shape[0].is_constant(1) ? flat : x.reshape(flat, shape);
  give(x, node, x.binary(XnnOp::kPrelu, input(x, node), slopes));
}

void silu(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId a = input(x, node);
  give(x, node, x.binary(XnnOp::kMultiply, a, x.unary(XnnOp::kSigmoid, a)));
}

// clamp(x / 6 + 1 / 2, 0, 1).
void hardsigmoid(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId sixth = x.scale(input(x, node), 1.0 / 6);
  const XnnId half = x.number(0.5, x.dtype(sixth));
  give(x, node, x.clamp(x.binary(XnnOp::kAdd, sixth, half), 0, 1));
}

void inverse_root(XnnBuilder& x, const XnnNodeView& node) {
  give(x, node, x.inverse_root(input(x, node)));
}

void reciprocal(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId a = input(x, node);
  give(x, node, x.binary(XnnOp::kDivide, x.number(1, x.dtype(a)), a));
}

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). Source: arXiv 1606.08415.
XnnId tanh_gelu(XnnBuilder& x, XnnId a) {
  const double outer = std::sqrt(2 / 3.14159265358979323846);
  // x (outer + outer 0.044715 x^2) is one operator less.
  const XnnId bent = x.binary(XnnOp::kAdd, x.scale(x.unary(XnnOp::kSquare, a), outer * 0.044715),
                              x.number(outer, x.dtype(a)));
  const XnnId gate = x.unary(XnnOp::kTanh, x.binary(XnnOp::kMultiply, a, bent));
  const XnnId half = x.scale(a, 0.5);
  return x.binary(XnnOp::kAdd, half, x.binary(XnnOp::kMultiply, half, gate));
}

void gelu(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId a = input(x, node);
  const bool tanh = std::get<std::string>(node.arg(1)) == "tanh";
  give(x, node, tanh ? tanh_gelu(x, a) : x.unary(XnnOp::kGelu, a));
}

// _to_copy(x, dtype, layout, ...).
void convert(XnnBuilder& x, const XnnNodeView& node) {
  give(x, node, x.convert(input(x, node), node.result().dtype));
}

void identity(XnnBuilder& x, const XnnNodeView& node) { give(x, node, input(x, node)); }

}  // namespace

std::span<const XnnLowering> xnn_unary_lowerings() {
  constexpr XnnGain kGain = XnnGain::kElementwise;
  static constexpr std::array kRows = {
      XnnLowering{"aten.abs.default", kGain, takes_all, unary<XnnOp::kAbs>},
      XnnLowering{"aten.ceil.default", kGain, takes_all, unary<XnnOp::kCeiling>},
      XnnLowering{"aten.cos.default", kGain, takes_all, unary<XnnOp::kCos>},
      XnnLowering{"aten.exp.default", kGain, takes_all, wide_unary<XnnOp::kExp>},
      XnnLowering{"aten.floor.default", kGain, takes_all, unary<XnnOp::kFloor>},
      XnnLowering{"aten.hardswish.default", kGain, takes_all, unary<XnnOp::kHardswish>},
      XnnLowering{"aten.log.default", kGain, takes_all, unary<XnnOp::kLog>},
      XnnLowering{"aten.neg.default", kGain, takes_all, unary<XnnOp::kNegate>},
      XnnLowering{"aten.rsqrt.default", kGain, takes_all, inverse_root},
      XnnLowering{"aten.sigmoid.default", kGain, takes_all, unary<XnnOp::kSigmoid>},
      XnnLowering{"aten.sin.default", kGain, takes_all, unary<XnnOp::kSin>},
      XnnLowering{"aten.sqrt.default", kGain, takes_all, unary<XnnOp::kSquareRoot>},
      XnnLowering{"aten.square.default", kGain, takes_all, unary<XnnOp::kSquare>},
      XnnLowering{"aten.tanh.default", kGain, takes_all, wide_unary<XnnOp::kTanh>},
      XnnLowering{"aten.relu.default", kGain, clamp_refusal<relu_range>, clamp<relu_range>},
      XnnLowering{"aten.relu6.default", kGain, clamp_refusal<relu6_range>, clamp<relu6_range>},
      XnnLowering{"aten.clamp.default", kGain, clamp_refusal<clamp_range>, clamp<clamp_range>},
      XnnLowering{"aten.hardtanh.default", kGain, clamp_refusal<clamp_range>, clamp<clamp_range>},
      XnnLowering{"aten.clamp_min.default", kGain, clamp_refusal<lower_range>, clamp<lower_range>},
      XnnLowering{"aten.clamp_max.default", kGain, clamp_refusal<upper_range>, clamp<upper_range>},
      XnnLowering{"aten.leaky_relu.default", kGain, number_refusal, leaky_relu},
      XnnLowering{"aten.elu.default", kGain, elu_refusal, elu},
      XnnLowering{"aten.prelu.default", kGain, prelu_refusal, prelu},
      XnnLowering{"aten.gelu.default", kGain, takes_all, gelu},
      XnnLowering{"aten.silu.default", kGain, takes_all, silu},
      XnnLowering{"aten.hardsigmoid.default", kGain, takes_all, hardsigmoid},
      XnnLowering{"aten.reciprocal.default", kGain, takes_all, reciprocal},
      XnnLowering{"aten._to_copy.default", XnnGain::kMove, takes_all, convert, true},
      XnnLowering{"aten.clone.default", XnnGain::kMove, takes_all, identity},
      XnnLowering{"aten.contiguous.default", XnnGain::kMove, takes_all, identity},
      XnnLowering{"aten.detach.default", XnnGain::kMove, takes_all, identity},
      XnnLowering{"aten.alias.default", XnnGain::kMove, takes_all, identity},
  };
  return kRows;
}

}  // namespace portwright
