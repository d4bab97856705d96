#include "capture/shape_math.h"

#include <algorithm>
#include <numeric>

namespace portwright {
namespace {

Expr broadcast_size(Tracer& tracer, const Expr& a, const Expr& b) {
  if (a == b) return a;
  if (is_one(tracer, a)) return b;
  if (is_one(tracer, b)) return a;
  if (tracer.symbols().hint(a) == tracer.symbols().hint(b)) {
    tracer.require_equal(a, b);
    return a.is_constant() ? a : b.is_constant() ? b : tracer.symbols().resolve(a);
  }
  // Only a size of 1 can be broadcast to the other: the program needs that 1.
  if (tracer.symbols().hint(a) == 1) {
    tracer.require_equal(a, 1);
    return b;
  }
  tracer.require_equal(b, tracer.symbols().hint(b) == 1 ? Expr(1) : a);
  return a;
}

// Takes the factors of `shape` that also stand in `others` out of both.
void cancel(Shape& shape, Shape& others) {
  for (auto it = others.begin(); it != others.end();) {
    auto same = std::find(shape.begin(), shape.end(), *it);
    if (same == shape.end()) {
      ++it;
    } else {
      shape.erase(same);
      it = others.erase(it);
    }
  }
}

Expr bound(const Argument& argument, const Expr& fallback) {
  const auto* expr = std::get_if<Expr>(&argument);
  return expr != nullptr ? *expr : fallback;
}

}  // namespace

bool is_one(Tracer& tracer, const Expr& size) {
  if (size.is_constant()) return size.is_constant(1);
  const SymbolTable& symbols = tracer.symbols();
  bool small = false;
  for_each_symbol(size,
                  [&](SymbolId id) { small |= symbols.typical()[id] != symbols.hints()[id]; });
  if (!small || symbols.hint(size) != 1 || evaluate(size, symbols.typical()) != 1) return false;
  tracer.require_equal(size, 1);
  return true;
}

Shape broadcast(Tracer& tracer, const Shape& a, const Shape& b) {
  if (a == b) return a;
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const size_t offset = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i) {
    result[offset + i] = broadcast_size(tracer, longer[offset + i], shorter[i]);
  }
  return result;
}

size_t wrap_dim(int64_t dim, size_t rank) {
  const auto count = static_cast<int64_t>(std::max<size_t>(rank, 1));
  if (dim < -count || dim >= count) {
    throw Error(ErrorCode::kInvalidArgument, "dim " + std::to_string(dim) +
                                                 " is out of range for a tensor of rank " +
                                                 std::to_string(rank));
  }
  return static_cast<size_t>(dim < 0 ? dim + count : dim);
}

Shape infer_view(Tracer& tracer, const Shape& from, const Shape& requested) {
  Shape shape;
  for (const Expr& size : requested) shape.push_back(tracer.symbols().resolve(size));
  const auto open = std::find_if(shape.begin(), shape.end(),
                                 [](const Expr& size) { return size.is_constant(-1); });
  if (open == shape.end()) {
    Shape left = from;
    Shape right = shape;
    cancel(left, right);
    tracer.require_equal(product(left), product(right));
    return shape;
  }
  Shape left = from;
  Shape right;
  for (auto it = shape.begin(); it != shape.end(); ++it) {
    if (it != open) right.push_back(*it);
  }
  cancel(left, right);
  const Expr total = product(left);
  const Expr rest = product(right);
  if (auto exact = divide_exactly(total, rest)) {
    *open = *exact;
  } else {
    tracer.require_equal(mod(total, rest), 0);
    *open = floor_div(total, rest);
  }
  return shape;
}

std::optional<Shape> preserved_strides(Tracer& tracer, const TensorType& operand) {
  if (!operand.strides) return std::nullopt;
  std::vector<int64_t> hints;
  for (const Expr& stride : *operand.strides) {
    hints.push_back(evaluate(stride, tracer.symbols().typical()));
  }
  if (std::find(hints.begin(), hints.end(), 0) != hints.end()) return std::nullopt;
  std::vector<size_t> order(hints.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return hints[a] > hints[b]; });
  Shape strides(order.size());
  Expr step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = step;
    step = step * operand.shape[order[i]];
  }
  return strides;
}

SliceBounds clamp_slice(Tracer& tracer, const Expr& size, const Argument& start_argument,
                        const Argument& end_argument) {
  SymbolTable& symbols = tracer.symbols();
  Expr start = symbols.resolve(bound(start_argument, 0));
  Expr end = symbols.resolve(bound(end_argument, size));
  auto negative = [&](const Expr& expr) {
    return tracer.holds(Predicate::compare(expr, Relation::kLt, 0));
  };
  // x[:1] is taken to have an element; x[:2] of a size that may be 1 is another shape there.
  auto beyond = [&](const Expr& expr, const Expr& limit) {
    const bool assume_sizes = !expr.is_constant() || expr.constant() < 2;
    return tracer.holds(Predicate::compare(expr, Relation::kGt, limit), assume_sizes);
  };
  const bool counted_from_end = negative(start);  // then it is at most the size
  if (counted_from_end) {
    // The last k of a size that may be smaller (a sliding window): exact without a decision.
    const bool from_end = start.is_constant();
    start = start + size;
    if (from_end && !symbols.decide(Predicate::compare(start, Relation::kLt, 0))) {
      start = max(start, 0);
    }
  }
  if (negative(start)) start = 0;
  if (!start.is_constant(0) && !counted_from_end && beyond(start, size)) start = size;
  if (end.is_constant() && end.constant() == INT64_MAX) {
    end = size;
  } else if (!(end == size)) {
    if (negative(end)) end = end + size;
    if (negative(end)) end = 0;
    if (beyond(end, size)) end = size;
  }
  const bool ordered = start.is_constant(0) || start == end || (counted_from_end && end == size);
  if (!ordered && beyond(start, end)) end = start;
  return {start, end};
}

}  // namespace portwright
