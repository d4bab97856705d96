// Elementwise operators of two operands.
#include <array>
#include <cmath>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

// Tensors and constant numbers, at least one of them a tensor.
std::string_view operands_refusal(const XnnNodeView& node) {
  for (const size_t i : {size_t{0}, size_t{1}}) {
    if (node.is_tensor(i)) continue;
    if (!node.number(i)) return kSymbolicOperand;
    if (!holds(node.result().dtype, *node.number(i))) return kNotHeld;
  }
  return node.is_tensor(0) || node.is_tensor(1) ? "" : kSymbolicOperand;
}

std::string_view scaled_refusal(const XnnNodeView& node) {
  const auto alpha = node.number(2);
  if (!alpha) return kSymbolicOperand;
  const DType dtype = node.result().dtype;
  const bool held = holds(dtype, *alpha) && holds(dtype, *alpha * node.number(1).value_or(1));
  return held ? operands_refusal(node) : kNotHeld;
}

template <XnnOp op>
void binary(XnnBuilder& x, const XnnNodeView& node) {
  const DType dtype = node.result().dtype;
  const XnnId a = x.operand(node.arg(0), dtype);
  x.bind(node.node.result(), x.binary(op, a, x.operand(node.arg(1), dtype)));
}

// a + alpha * b, a - alpha * b.
template <XnnOp op>
void scaled(XnnBuilder& x, const XnnNodeView& node) {
  const DType dtype = node.result().dtype;
  const XnnId a = x.operand(node.arg(0), dtype);
  const double alpha = *node.number(2);
  const auto number = node.number(1);
  const XnnId b =
      number ? x.number(alpha * *number, dtype) : x.scale(x.operand(node.arg(1), dtype), alpha);
  x.bind(node.node.result(), x.binary(op, a, b));
}

// b - alpha * a.
void reversed_subtract(XnnBuilder& x, const XnnNodeView& node) {
  const DType dtype = node.result().dtype;
  const XnnId a = x.scale(x.operand(node.arg(0), dtype), *node.number(2));
  x.bind(node.node.result(), x.binary(XnnOp::kSubtract, x.operand(node.arg(1), dtype), a));
}

struct Power {
  double exponent;
  XnnId (*lower)(XnnBuilder& x, XnnId base);
};

XnnId square(XnnBuilder& x, XnnId base) { return x.unary(XnnOp::kSquare, base); }

XnnId inverse(XnnBuilder& x, XnnId base) {
  return x.binary(XnnOp::kDivide, x.number(1, x.dtype(base)), base);
}

// The exponents that XNNPACK has something for.
constexpr std::array kPowers = {
    Power{2, square},
    Power{3, [](XnnBuilder& x, XnnId a) { return x.binary(XnnOp::kMultiply, square(x, a), a); }},
    Power{4, [](XnnBuilder& x, XnnId a) { return square(x, square(x, a)); }},
    Power{0.5, [](XnnBuilder& x, XnnId a) { return x.unary(XnnOp::kSquareRoot, a); }},
    Power{-0.5, [](XnnBuilder& x, XnnId a) { return x.inverse_root(a); }},
    Power{-1, inverse},
};

const Power* power_of(const XnnNodeView& node) {
  const auto exponent = node.number(1);
  for (const Power& power : kPowers) {
    if (exponent == power.exponent) return &power;
  }
  return nullptr;
}

std::string_view power_refusal(const XnnNodeView& node) {
  if (!node.is_tensor(0)) return kSymbolicOperand;
  return power_of(node) == nullptr ? "an exponent without a kernel" : "";
}

void power(XnnBuilder& x, const XnnNodeView& node) {
  x.bind(node.node.result(), power_of(node)->lower(x, x.value(node.id(0))));
}

}  // namespace

std::span<const XnnLowering> xnn_binary_lowerings() {
  constexpr XnnGain kGain = XnnGain::kElementwise;
  static constexpr std::array kRows = {
      XnnLowering{"aten.add.Tensor", kGain, scaled_refusal, scaled<XnnOp::kAdd>},
      XnnLowering{"aten.add.Scalar", kGain, scaled_refusal, scaled<XnnOp::kAdd>},
      XnnLowering{"aten.sub.Tensor", kGain, scaled_refusal, scaled<XnnOp::kSubtract>},
      XnnLowering{"aten.sub.Scalar", kGain, scaled_refusal, scaled<XnnOp::kSubtract>},
      XnnLowering{"aten.rsub.Tensor", kGain, scaled_refusal, reversed_subtract},
      XnnLowering{"aten.rsub.Scalar", kGain, scaled_refusal, reversed_subtract},
      XnnLowering{"aten.mul.Tensor", kGain, operands_refusal, binary<XnnOp::kMultiply>},
      XnnLowering{"aten.mul.Scalar", kGain, operands_refusal, binary<XnnOp::kMultiply>},
      XnnLowering{"aten.div.Tensor", kGain, operands_refusal, binary<XnnOp::kDivide>},
      XnnLowering{"aten.div.Scalar", kGain, operands_refusal, binary<XnnOp::kDivide>},
      XnnLowering{"aten.maximum.default", kGain, operands_refusal, binary<XnnOp::kMaximum>},
      XnnLowering{"aten.minimum.default", kGain, operands_refusal, binary<XnnOp::kMinimum>},
      XnnLowering{"aten.max.other", kGain, operands_refusal, binary<XnnOp::kMaximum>},
      XnnLowering{"aten.min.other", kGain, operands_refusal, binary<XnnOp::kMinimum>},
      XnnLowering{"aten._prelu_kernel.default", kGain, operands_refusal, binary<XnnOp::kPrelu>},
      XnnLowering{"aten.pow.Tensor_Scalar", kGain, power_refusal, power},
  };
  return kRows;
}

}  // namespace portwright
