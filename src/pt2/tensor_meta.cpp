#include "pt2/tensor_meta.h"

#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

Json meta(DType dtype, Json sizes, Json strides, int64_t storage_offset, bool requires_grad) {
  return {{"dtype", dtype_number(dtype)},
          {"sizes", std::move(sizes)},
          {"requires_grad", requires_grad},
          {"device", {{"type", "cpu"}, {"index", nullptr}}},
          {"strides", std::move(strides)},
          {"storage_offset", {{"as_int", storage_offset}}},
          {"layout", number_of(kLayouts, "strided")}};
}

std::vector<Expr> strides_of(const TensorType& type) {
  if (type.strides) return *type.strides;
  std::vector<Expr> strides(type.rank());
  Expr stride = 1;
  for (size_t i = type.rank(); i-- > 0;) {
    strides[i] = stride;
    // An empty dim counts as one, as in torch.
    const Expr& size = type.shape[i];
    stride = stride * (size.is_constant(0) ? Expr(1) : size);
  }
  return strides;
}

}  // namespace

Json tensor_meta(const TensorType& type, const SymbolNodes& symbols, bool requires_grad) {
  Json sizes = Json::array();
  Json strides = Json::array();
  for (const Expr& size : type.shape) sizes.push_back(symbols.sym_int(size));
  for (const Expr& stride : strides_of(type)) strides.push_back(symbols.sym_int(stride));
  return meta(type.dtype, std::move(sizes), std::move(strides), 0, requires_grad);
}

Json weight_meta(const Weight& weight, int64_t storage_offset, bool requires_grad) {
  Json sizes = Json::array();
  Json strides = Json::array();
  for (int64_t size : weight.shape) sizes.push_back({{"as_int", size}});
  for (int64_t stride : weight.strides) strides.push_back({{"as_int", stride}});
  return meta(weight.dtype, std::move(sizes), std::move(strides), storage_offset, requires_grad);
}

}  // namespace portwright
