// Views and transposes.
#include <array>
#include <utility>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

// XNNPACK infers one dim from the number of elements.
std::string_view reshape_refusal(const XnnNodeView& node) {
  const Shape& to = node.result().shape;
  return to != node.shape(0) && dynamic_dims(to) > 1 ? kTwoDynamicDims : "";
}

void reshape(XnnBuilder& x, const XnnNodeView& node) {
  x.bind(node.node.result(), x.reshape(x.value(node.id(0)), node.result().shape));
}

// expand() that repeats nothing.
std::string_view expand_refusal(const XnnNodeView& node) {
  const Shape &from = node.shape(0), &to = node.result().shape;
  for (size_t i = 0; i < from.size(); ++i) {
    if (to[to.size() - 1 - i] != from[from.size() - 1 - i]) return "elements are repeated";
  }
  for (size_t i = 0; i + from.size() < to.size(); ++i) {
    if (!to[i].is_constant(1)) return "elements are repeated";
  }
  return reshape_refusal(node);
}

std::string_view permute_refusal(const XnnNodeView& node) {
  return node.dims(1, node.rank(0)) ? "" : kSymbolicOperand;
}

void permute(XnnBuilder& x, const XnnNodeView& node) {
  x.bind(node.node.result(), x.transpose(x.value(node.id(0)), *node.dims(1, node.rank(0))));
}

std::string_view transpose_refusal(const XnnNodeView& node) {
  const size_t rank = node.rank(0);
  return node.dim(1, rank) && node.dim(2, rank) ? "" : kSymbolicOperand;
}

void swap_dims(XnnBuilder& x, const XnnNodeView& node, size_t a, size_t b) {
  std::vector<size_t> order(node.rank(0));
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  if (!order.empty()) std::swap(order.at(a), order.at(b));
  x.bind(node.node.result(), x.transpose(x.value(node.id(0)), order));
}

void transpose(XnnBuilder& x, const XnnNodeView& node) {
  const size_t rank = node.rank(0);
  swap_dims(x, node, *node.dim(1, rank), *node.dim(2, rank));
}

void t(XnnBuilder& x, const XnnNodeView& node) { swap_dims(x, node, 0, node.rank(0) - 1); }

}  // namespace

std::span<const XnnLowering> xnn_shape_lowerings() {
  constexpr XnnGain kView = XnnGain::kView, kMove = XnnGain::kMove;
  static constexpr std::array kRows = {
      XnnLowering{"aten.view.default", kView, reshape_refusal, reshape},
      XnnLowering{"aten.reshape.default", kView, reshape_refusal, reshape},
      XnnLowering{"aten._unsafe_view.default", kView, reshape_refusal, reshape},
      XnnLowering{"aten.flatten.using_ints", kView, reshape_refusal, reshape},
      XnnLowering{"aten.unflatten.int", kView, reshape_refusal, reshape},
      XnnLowering{"aten.unsqueeze.default", kView, reshape_refusal, reshape},
      XnnLowering{"aten.squeeze.default", kView, reshape_refusal, reshape},
      XnnLowering{"aten.squeeze.dim", kView, reshape_refusal, reshape},
      XnnLowering{"aten.squeeze.dims", kView, reshape_refusal, reshape},
      XnnLowering{"aten.expand.default", kView, expand_refusal, reshape},
      XnnLowering{"aten.permute.default", kMove, permute_refusal, permute},
      XnnLowering{"aten.transpose.int", kMove, transpose_refusal, transpose},
      XnnLowering{"aten.t.default", kMove, takes_all, t},
  };
  return kRows;
}

}  // namespace portwright
