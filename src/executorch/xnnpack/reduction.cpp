// Means and sums, in float32 for float16, over dims that are brought to the end and made one.
#include <algorithm>
#include <array>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

// Where the reduced dims stand, sorted; all of them for None and [].
std::optional<std::vector<size_t>> reduced_dims(const XnnNodeView& node) {
  const size_t rank = node.rank(0);
  std::vector<size_t> dims(rank);
  for (size_t i = 0; i < rank; ++i) dims[i] = i;
  if (!node.has(1)) return dims;
  auto found = node.dims(1, rank);
  if (!found) return std::nullopt;
  if (found->empty()) return dims;
  std::sort(found->begin(), found->end());
  return found;
}

struct Reduction {
  std::vector<size_t> order;  // the kept dims, then the reduced ones
  Shape flat;                 // kept dims, and one of all that is reduced
};

Reduction plan(const Shape& shape, const std::vector<size_t>& dims) {
  Reduction plan;
  Expr width = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (std::binary_search(dims.begin(), dims.end(), i)) {
      width = width * shape[i];
    } else {
      plan.order.push_back(i);
      plan.flat.push_back(shape[i]);
    }
  }
  plan.order.insert(plan.order.end(), dims.begin(), dims.end());
  plan.flat.push_back(width);
  return plan;
}

// XNNPACK averages height and width, of any size.
bool is_average(const XnnNodeView& node, const std::vector<size_t>& dims) {
  return node.node.op == "aten.mean.dim" && node.rank(0) == 4 && dims == std::vector<size_t>{2, 3};
}

// (x, dims, keepdim, dtype).
std::string_view reduce_refusal(const XnnNodeView& node) {
  const auto dims = reduced_dims(node);
  if (!dims) return kSymbolicOperand;
  const Shape& shape = node.shape(0);
  const Reduction reduction = plan(shape, *dims);
  if (!reduction.flat.back().is_constant()) {
    if (!is_average(node, *dims)) return kDynamicWidth;
    return dynamic_dims(node.result().shape) > 1 ? kTwoDynamicDims : "";
  }
  const bool reshapes = dims->size() > 1 || !node.flag(2) || dims->back() + 1 != shape.size();
  return reshapes && dynamic_dims(shape) > 1 ? kTwoDynamicDims : "";
}

void give(XnnBuilder& x, const XnnNodeView& node, XnnId y) {
  const TensorType& type = node.result();
  x.bind(node.node.result(), x.convert(x.reshape(y, type.shape), type.dtype));
}

void average(XnnBuilder& x, const XnnNodeView& node) {
  const XnnId nhwc = x.convert(x.to_nhwc(x.value(node.id(0))), DType::kFloat32);
  const Shape from = x.shape(nhwc);
  const XnnId mean =
      x.add_node({XnnOp::kGlobalAveragePool, {nhwc}, kNoXnnValue, {}, kXnnKeepDims, {}},
                 {from[0], 1, 1, from[3]});
  give(x, node, mean);
}

template <bool mean>
void reduce(XnnBuilder& x, const XnnNodeView& node) {
  const std::vector<size_t> dims = *reduced_dims(node);
  const XnnId input = x.value(node.id(0));
  const Reduction reduction = plan(node.shape(0), dims);
  const Expr& size = reduction.flat.back();
  if (is_average(node, dims) && (x.nhwc_before(input) || !size.is_constant())) {
    return average(x, node);
  }
  const XnnId wide = x.convert(input, DType::kFloat32);
  const XnnId last = x.reshape(x.transpose(wide, reduction.order), reduction.flat);
  const double factor = mean ? 1 / static_cast<double>(size.constant()) : 1;
  give(x, node, x.reduce_last(last, factor));
}

}  // namespace

std::span<const XnnLowering> xnn_reduction_lowerings() {
  constexpr XnnGain kGain = XnnGain::kHeavy;
  static constexpr std::array kRows = {
      XnnLowering{"aten.mean.dim", kGain, reduce_refusal, reduce<true>, true},
      XnnLowering{"aten.sum.dim_IntList", kGain, reduce_refusal, reduce<false>, true},
  };
  return kRows;
}

}  // namespace portwright
