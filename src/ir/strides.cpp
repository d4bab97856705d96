#include "ir/strides.h"

#include <algorithm>

namespace portwright {

std::vector<Expr> contiguous_strides(const std::vector<Expr>& shape) {
  std::vector<Expr> strides(shape.size());
  Expr step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step = step * shape[i];
  }
  return strides;
}

std::vector<Expr> strides_of(const TensorType& type) {
  return type.strides ? *type.strides : contiguous_strides(type.shape);
}

TensorType normalized(TensorType type) {
  if (!type.strides) return type;
  Expr step = 1;
  for (size_t i = type.shape.size(); i-- > 0;) {
    if (type.shape[i].is_constant(1)) continue;
    if (!((*type.strides)[i] == step)) return type;
    step = step * type.shape[i];
  }
  type.strides.reset();
  return type;
}

std::optional<std::vector<Expr>> view_strides(const TensorType& from,
                                              const std::vector<Expr>& shape) {
  const auto empty = [](const Expr& size) { return size.is_constant(0); };
  if (!from.strides || std::any_of(shape.begin(), shape.end(), empty)) {
    return contiguous_strides(shape);
  }
  // Runs of dims of `from` that are contiguous with each other must match runs of `shape`.
  const std::vector<Expr>& old_strides = *from.strides;
  std::vector<Expr> strides(shape.size());
  auto view_dim = static_cast<int64_t>(shape.size()) - 1;
  Expr chunk_numel = 1;
  for (size_t i = from.shape.size(); i-- > 0;) {
    chunk_numel = chunk_numel * from.shape[i];
    const bool run_ends = i == 0 || (!from.shape[i - 1].is_constant(1) &&
                                     !(old_strides[i - 1] == from.shape[i] * old_strides[i]));
    if (!run_ends) continue;
    size_t run_end = i;
    while (run_end + 1 < from.shape.size() &&
           old_strides[run_end] == from.shape[run_end + 1] * old_strides[run_end + 1]) {
      ++run_end;
    }
    Expr step = old_strides[run_end];
    Expr covered = 1;
    while (view_dim >= 0 && (!(covered == chunk_numel) || shape[view_dim].is_constant(1))) {
      strides[view_dim] = step;
      covered = covered * shape[view_dim];
      step = step * shape[view_dim];
      --view_dim;
    }
    if (!(covered == chunk_numel)) return std::nullopt;
    chunk_numel = 1;
  }
  if (view_dim >= 0) return std::nullopt;
  return strides;
}

std::optional<std::vector<int64_t>> memory_order(const TensorType& type) {
  const std::vector<Expr> strides = strides_of(type);
  std::vector<int64_t> order;
  Expr expected = 1;
  while (order.size() < type.rank()) {  // from the innermost dim outwards
    size_t i = 0;
    const auto taken = [&](size_t dim) {
      return std::find(order.begin(), order.end(), static_cast<int64_t>(dim)) != order.end();
    };
    while (i < type.rank() && (taken(i) || strides[i] != expected)) ++i;
    if (i == type.rank()) return std::nullopt;
    order.insert(order.begin(), static_cast<int64_t>(i));
    expected = expected * type.shape[i];
  }
  return order;
}

}  // namespace portwright
