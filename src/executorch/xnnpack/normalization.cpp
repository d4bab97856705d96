// Softmax and norms, in float32 for float16, as eager does.
#include <array>
#include <limits>
#include <utility>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

void give(XnnBuilder& x, const XnnNodeView& node, XnnId id) { x.bind(node.node.result(), id); }

std::vector<size_t> swapped(size_t rank, size_t a, size_t b) {
  std::vector<size_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = i;
  std::swap(order[a], order[b]);
  return order;
}

// softmax.int(x, dim, dtype) and _softmax(x, dim, half_to_float).
std::string_view softmax_refusal(const XnnNodeView& node) {
  return node.dim(1, node.rank(0)) ? "" : kSymbolicOperand;
}

void softmax(XnnBuilder& x, const XnnNodeView& node) {
  const size_t rank = node.rank(0);
  const auto order = swapped(rank, *node.dim(1, rank), rank - 1);
  const XnnId last = x.convert(x.transpose(x.value(node.id(0)), order), DType::kFloat32);
  give(x, node, x.transpose(x.convert(x.softmax(last), node.result().dtype), order));
}

// Norms over the last dim only, of a constant size.
std::string_view norm_refusal(const XnnNodeView& node) {
  const auto sizes = node.integers(1);
  if (!sizes || sizes->size() != 1) return "a norm over several dims";
  return node.shape(0).back().is_constant() ? "" : kDynamicWidth;
}

XnnId scaled(XnnBuilder& x, const XnnNodeView& node, XnnId y, size_t weight) {
  y = x.convert(y, node.result().dtype);
  return node.has(weight) ? x.binary(XnnOp::kMultiply, y, x.value(node.id(weight))) : y;
}

XnnId shifted(XnnBuilder& x, const XnnNodeView& node, XnnId y, size_t bias) {
  return node.has(bias) ? x.binary(XnnOp::kAdd, y, x.value(node.id(bias))) : y;
}

// a / sqrt(mean(a^2) + epsilon) over the last dim, of a float32 tensor.
XnnId unit(XnnBuilder& x, XnnId a, double epsilon) {
  const double share = 1 / static_cast<double>(x.shape(a).back().constant());
  const XnnId mean = x.reduce_last(x.unary(XnnOp::kSquare, a), share, epsilon);
  return x.binary(XnnOp::kMultiply, a, x.unary(XnnOp::kReciprocalSquareRoot, mean));
}

// a - mean(a) over the last dim, in float32.
XnnId centered(XnnBuilder& x, XnnId a) {
  a = x.convert(a, DType::kFloat32);
  const double share = 1 / static_cast<double>(x.shape(a).back().constant());
  return x.binary(XnnOp::kSubtract, a, x.reduce_last(a, share));
}

// rms_norm(x, sizes, weight, epsilon).
void rms_norm(XnnBuilder& x, const XnnNodeView& node) {
  const double epsilon = node.has(3) ? *node.number(3) : std::numeric_limits<float>::epsilon();
  const XnnId wide = x.convert(x.value(node.id(0)), DType::kFloat32);
  give(x, node, scaled(x, node, unit(x, wide, epsilon), 2));
}

// layer_norm(x, sizes, weight, bias, epsilon, cudnn).
void layer_norm(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId y = unit(x, centered(x, x.value(node.id(0))), *node.number(4));
  give(x, node, shifted(x, node, scaled(x, node, y, 2), 3));
}

// Channel parameters [channels] beside [batch, channels, ...]: those are constants.
std::string_view channel_refusal(const XnnNodeView& node, std::initializer_list<size_t> operands) {
  for (const size_t i : operands) {
    if (node.has(i) && node.weight(i) == nullptr) return "a parameter of channels that changes";
  }
  return "";
}

XnnId per_channel(XnnBuilder& x, const XnnNodeView& node, size_t i) {
  const XnnId flat = x.value(node.id(i));
  Shape shape(node.rank(0) - 1, Expr(1));
  shape[0] = x.shape(flat)[0];
  return x.reshape(flat, shape);
}

// group_norm(x, groups, weight, bias, epsilon, cudnn).
std::string_view group_norm_refusal(const XnnNodeView& node) {
  const Shape& shape = node.shape(0);
  for (size_t i = 1; i < shape.size(); ++i) {
    if (!shape[i].is_constant()) return kDynamicWidth;
  }
  if (shape.size() < 2 || !node.integer(1)) return kSymbolicOperand;
  return channel_refusal(node, {2, 3});
}

void group_norm(XnnBuilder& x, const XnnNodeView& node) {
  const Shape& shape = node.shape(0);
  const Expr groups = node.integer(1).value();
  const Expr rest = product(std::span(shape).subspan(1));
  const XnnId flat = x.reshape(x.value(node.id(0)), {shape[0], groups, floor_div(rest, groups)});
  XnnId y = x.reshape(unit(x, centered(x, flat), *node.number(4)), shape);
  y = x.convert(y, node.result().dtype);
  if (node.has(2)) y = x.binary(XnnOp::kMultiply, y, per_channel(x, node, 2));
  if (node.has(3)) y = x.binary(XnnOp::kAdd, y, per_channel(x, node, 3));
  give(x, node, y);
}

}  // namespace

std::span<const XnnLowering> xnn_normalization_lowerings() {
  constexpr XnnGain kGain = XnnGain::kHeavy;
  static constexpr std::array kRows = {
      XnnLowering{"aten.softmax.int", kGain, softmax_refusal, softmax, true},
      XnnLowering{"aten._softmax.default", kGain, softmax_refusal, softmax, true},
      XnnLowering{"aten.layer_norm.default", kGain, norm_refusal, layer_norm},
      XnnLowering{"aten.rms_norm.default", kGain, norm_refusal, rms_norm},
      XnnLowering{"aten.group_norm.default", kGain, group_norm_refusal, group_norm},
  };
  return kRows;
}

}  // namespace portwright
