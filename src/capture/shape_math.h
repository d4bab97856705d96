// Shape arithmetic that several operators share. Every decision goes through the tracer, so that it
// is proven, or recorded as a guard.
#pragma once

#include <optional>
#include <vector>

#include "capture/tracer.h"

namespace portwright {

using Shape = std::vector<Expr>;

// NumPy broadcasting of two shapes; sizes that must agree are stated as equal.
Shape broadcast(Tracer& tracer, const Shape& a, const Shape& b);

// Whether a size is 1, stated where that is no constant: a size that stays 1 when sizes of 0 and 1
// in the sample grow, as that of `x[-1:]` does.
bool is_one(Tracer& tracer, const Expr& size);

// `dim` counted from the front.
size_t wrap_dim(int64_t dim, size_t rank);

// The target of a view or reshape with its -1 filled in; the element counts are stated as equal.
Shape infer_view(Tracer& tracer, const Shape& from, const Shape& requested);

// The strides that an elementwise result takes over from `operand` of the same shape: dense, in the
// operand's order of dimensions. Nothing when that is row-major.
std::optional<Shape> preserved_strides(Tracer& tracer, const TensorType& operand);

struct SliceBounds {
  Expr start, end;
};
// Python's slice bounds clamped to [0, size].
SliceBounds clamp_slice(Tracer& tracer, const Expr& size, const Argument& start,
                        const Argument& end);

}  // namespace portwright
