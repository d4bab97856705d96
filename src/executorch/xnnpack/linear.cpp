// Matrix products.
#include <array>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

// A matrix that does not change is packed when the model is loaded.
bool is_filter(const XnnNodeView& node, size_t i) {
  return node.weight(i) != nullptr && node.rank(i) == 2;
}

bool is_bias(const XnnNodeView& node, size_t i, const Expr& width) {
  return node.weight(i) != nullptr && node.rank(i) == 1 && node.shape(i)[0] == width;
}

// linear(input, weight [out, in], bias).
std::string_view linear_refusal(const XnnNodeView& node) {
  if (node.rank(1) != 2) return "a filter that is no matrix";
  if (!is_constant(node.shape(1))) return "a filter of dynamic size";
  return "";
}

void linear(XnnBuilder& x, const XnnNodeView& node) {
  const bool fused = node.has(2) && is_bias(node, 2, node.shape(1)[0]);
  const XnnId input = x.value(node.id(0)), filter = x.value(node.id(1));
  XnnId y = x.fully_connected(input, filter, fused ? x.value(node.id(2)) : kNoXnnValue);
  if (node.has(2) && !fused) y = x.binary(XnnOp::kAdd, y, x.value(node.id(2)));
  x.bind(node.node.result(), y);
}

// `a` and `b` are where the operands stand.
std::string_view product_refusal(const XnnNodeView& node, size_t a, size_t b) {
  return node.rank(a) < 2 || node.rank(b) < 2 ? "a product with a vector" : "";
}

XnnId product(XnnBuilder& x, const XnnNodeView& node, size_t a, size_t b) {
  const XnnId left = x.value(node.id(a)), right = x.value(node.id(b));
  if (!is_filter(node, b)) return x.matmul(left, right);
  return x.fully_connected(left, right, kNoXnnValue, kXnnTransposeWeights);
}

std::string_view matmul_refusal(const XnnNodeView& node) { return product_refusal(node, 0, 1); }

void matmul(XnnBuilder& x, const XnnNodeView& node) {
  x.bind(node.node.result(), product(x, node, 0, 1));
}

// beta * self + alpha * (a @ b): self, a, b, beta, alpha.
std::string_view add_product_refusal(const XnnNodeView& node) {
  for (const size_t factor : {size_t{3}, size_t{4}}) {
    if (!node.number(factor)) return kSymbolicOperand;
    if (!holds(node.result().dtype, *node.number(factor))) return kNotHeld;
  }
  return product_refusal(node, 1, 2);
}

void add_product(XnnBuilder& x, const XnnNodeView& node) {
  const double beta = *node.number(3), alpha = *node.number(4);
  const bool plain = beta == 1 && alpha == 1;
  if (plain && is_filter(node, 2) && is_bias(node, 0, node.shape(2)[1])) {
    const XnnId left = x.value(node.id(1)), right = x.value(node.id(2));
    return x.bind(node.node.result(),
                  x.fully_connected(left, right, x.value(node.id(0)), kXnnTransposeWeights));
  }
  const XnnId scaled = x.scale(product(x, node, 1, 2), alpha);
  if (beta == 0) return x.bind(node.node.result(), scaled);
  const XnnId self = x.scale(x.value(node.id(0)), beta);
  x.bind(node.node.result(), x.binary(XnnOp::kAdd, self, scaled));
}

}  // namespace

std::span<const XnnLowering> xnn_linear_lowerings() {
  constexpr XnnGain kGain = XnnGain::kHeavy;
  static constexpr std::array kRows = {
      XnnLowering{"aten.linear.default", kGain, linear_refusal, linear},
      XnnLowering{"aten.matmul.default", kGain, matmul_refusal, matmul},
      XnnLowering{"aten.mm.default", kGain, matmul_refusal, matmul},
      XnnLowering{"aten.bmm.default", kGain, matmul_refusal, matmul},
      XnnLowering{"aten.addmm.default", kGain, add_product_refusal, add_product},
      XnnLowering{"aten.baddbmm.default", kGain, add_product_refusal, add_product},
  };
  return kRows;
}

}  // namespace portwright
