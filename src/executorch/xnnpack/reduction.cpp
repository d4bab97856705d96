// Means and sums, over dims that are brought to the end and made one.
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

// (x, dims, keepdim, dtype).
std::string_view reduce_refusal(const XnnNodeView& node) {
  if (node.has(3)) return kOtherDtype;
  const auto dims = reduced_dims(node);
  if (!dims) return kSymbolicOperand;
  const Shape& shape = node.shape(0);
  const Reduction reduction = plan(shape, *dims);
  if (!reduction.flat.back().is_constant()) return kDynamicWidth;
  const bool reshapes = dims->size() > 1 || !node.flag(2) || dims->back() + 1 != shape.size();
  return reshapes && dynamic_dims(shape) > 1 ? kTwoDynamicDims : "";
}

template <bool mean>
void reduce(XnnBuilder& x, const XnnNodeView& node) {
  const Reduction reduction = plan(node.shape(0), *reduced_dims(node));
  const XnnId last = x.reshape(x.transpose(x.value(node.id(0)), reduction.order), reduction.flat);
  const auto width = static_cast<double>(reduction.flat.back().constant());
  const XnnId reduced = x.reduce_last(last, mean ? 1 / width : 1);
  x.bind(node.node.result(), x.reshape(reduced, node.result().shape));
}

}  // namespace

std::span<const XnnLowering> xnn_reduction_lowerings() {
  constexpr XnnGain kGain = XnnGain::kHeavy;
  static constexpr std::array kRows = {
      XnnLowering{"aten.mean.dim", kGain, reduce_refusal, reduce<true>},
      XnnLowering{"aten.sum.dim_IntList", kGain, reduce_refusal, reduce<false>},
  };
  return kRows;
}

}  // namespace portwright
