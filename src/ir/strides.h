// Symbolic strides of tensors.
#pragma once

#include <optional>
#include <vector>

#include "ir/program.h"

namespace portwright {

// Row-major strides of a symbolic shape.
std::vector<Expr> contiguous_strides(const std::vector<Expr>& shape);
// The strides of a type, also when it leaves them out.
std::vector<Expr> strides_of(const TensorType& type);
// The type without strides when they are the contiguous ones (dims of size 1 may have any).
TensorType normalized(TensorType type);
// The strides of `from` seen with another shape, when no copy is needed: torch's computeStride.
std::optional<std::vector<Expr>> view_strides(const TensorType& from,
                                              const std::vector<Expr>& shape);

// The order of dims in which the elements of a type lie in memory one after the other, outermost
// first; nothing for tensors with gaps or overlaps.
std::optional<std::vector<int64_t>> memory_order(const TensorType& type);

}  // namespace portwright
