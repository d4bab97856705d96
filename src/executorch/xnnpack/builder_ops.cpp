// The nodes that XnnBuilder adds, without the copies that change nothing.
#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "executorch/xnnpack/builder.h"
#include "ir/broadcast.h"

namespace portwright {
namespace {

// Where dim i of NCHW stands in NHWC.
constexpr std::array<size_t, 4> kNhwcPlace = {0, 3, 1, 2};

std::vector<uint32_t> to_u32(const std::vector<size_t>& values) {
  return {values.begin(), values.end()};
}

bool is_identity(const std::vector<size_t>& order) {
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != i) return false;
  }
  return true;
}

bool swaps_last_two(const std::vector<uint32_t>& order) {
  const size_t rank = order.size();
  for (size_t i = 0; i + 2 < rank; ++i) {
    if (order[i] != i) return false;
  }
  return rank >= 2 && order[rank - 2] == rank - 1 && order[rank - 1] == rank - 2;
}

// Whether the order moves nothing but dims of 1, so that the elements stay in their places.
bool moves_only_ones(const std::vector<size_t>& order, const Shape& shape) {
  size_t last = 0;
  for (const size_t dim : order) {
    if (shape[dim].is_constant(1)) continue;
    if (dim < last) return false;
    last = dim;
  }
  return true;
}

// Which neighbouring dims of `from` each dim of `to` is made of; nothing when the reshape splits a
// dim.
std::optional<std::vector<std::vector<size_t>>> merged_dims(const Shape& from, const Shape& to) {
  std::vector<std::vector<size_t>> groups(to.size());
  size_t next = 0;
  for (size_t i = 0; i < to.size(); ++i) {
    Expr size = 1;
    while (next < from.size() && (size != to[i] || from[next].is_constant(1))) {
      size = size * from[next];
      groups[i].push_back(next++);
    }
    if (size != to[i]) return std::nullopt;
  }
  return next == from.size() ? std::optional(groups) : std::nullopt;
}

}  // namespace

XnnId XnnBuilder::add_node(XnnNode node, Shape shape) {
  const DType made = dtype(node.inputs.at(0));
  return add_node(std::move(node), std::move(shape), made);
}

XnnId XnnBuilder::add_node(XnnNode node, Shape shape, DType dtype) {
  if (shape.size() > kXnnMaxRank) {
    throw Error(ErrorCode::kInternal, "a tensor of rank " + std::to_string(shape.size()) +
                                          " was to be lowered to XNNPACK");
  }
  node.output = add_value(dtype, std::move(shape));
  makers_[node.output] = graph_.nodes.size();
  graph_.nodes.push_back(std::move(node));
  return graph_.nodes.back().output;
}

std::optional<XnnId> XnnBuilder::nhwc_before(XnnId x) const {
  const XnnNode* made = maker(x);
  if (made == nullptr) return std::nullopt;
  bool moves = false;
  if (made->op == XnnOp::kTranspose) {
    const auto& order = std::get<XnnDims>(made->attributes).dims;
    moves = std::equal(order.begin(), order.end(), kNhwcPlace.begin(), kNhwcPlace.end());
  } else if (made->op == XnnOp::kReshape) {
    // Of height and width 1 both have their elements in one order.
    const Shape &from = shapes_.at(made->inputs[0]), &to = shapes_.at(x);
    moves = from.size() == 4 && from[1].is_constant(1) && from[2].is_constant(1) &&
            to == Shape{from[0], from[3], from[1], from[2]};
  }
  return moves ? std::optional(made->inputs[0]) : std::nullopt;
}

XnnId XnnBuilder::reshaped_constant(XnnId id, const std::vector<int64_t>& shape) {
  const PteNamedData data = graph_.constants.at(*graph_.values[id].constant);
  return constant(data.key, data.weight, shape);
}

// What stands for an operand beside an NHWC tensor: another one, or a constant of channels.
std::optional<XnnId> XnnBuilder::nhwc_of(XnnId x) {
  if (const auto before = nhwc_before(x)) return before;
  if (!graph_.values[x].constant) return std::nullopt;
  Shape shape = shapes_.at(x);
  if (shape.size() > 4) return std::nullopt;
  shape.insert(shape.begin(), 4 - shape.size(), Expr(1));
  const bool channels =
      shape[0].is_constant(1) && shape[2].is_constant(1) && shape[3].is_constant(1);
  return channels ? std::optional(reshaped_constant(x, {shape[1].constant()})) : std::nullopt;
}

XnnId XnnBuilder::unary(XnnOp op, XnnId x, XnnAttributes attributes) {
  if (const auto before = nhwc_before(x)) {
    return to_nchw(unary(op, *before, std::move(attributes)));
  }
  return add_node({op, {x}, kNoXnnValue, std::move(attributes), 0, {}}, shape(x));
}

XnnId XnnBuilder::convert(XnnId x, DType to) {
  if (dtype(x) == to) return x;
  if (const auto before = nhwc_before(x)) return to_nchw(convert(*before, to));
  const XnnNode* made = maker(x);
  // There and back: all numbers of float16 are numbers of float32.
  const bool widened = made != nullptr && made->op == XnnOp::kConvert && to == DType::kFloat16;
  if (widened) return made->inputs[0];
  return add_node({XnnOp::kConvert, {x}, kNoXnnValue, {}, 0, {}}, shape(x), to);
}

XnnId XnnBuilder::softmax(XnnId x) {
  return add_node({XnnOp::kSoftmax, {x}, kNoXnnValue, {}, 0, {}}, shape(x));
}

XnnId XnnBuilder::inverse_root(XnnId x) {
  return binary(XnnOp::kDivide, number(1, dtype(x)), unary(XnnOp::kSquareRoot, x));
}

XnnId XnnBuilder::clamp(XnnId x, float low, float high) {
  if (const auto before = nhwc_before(x)) return to_nchw(clamp(*before, low, high));
  return add_node({XnnOp::kClamp, {x}, kNoXnnValue, {}, 0, XnnRange{low, high}}, shape(x));
}

XnnId XnnBuilder::binary(XnnOp op, XnnId a, XnnId b) {
  if (nhwc_before(a) || nhwc_before(b)) {
    const auto left = nhwc_of(a), right = nhwc_of(b);
    if (left && right) return to_nchw(binary(op, *left, *right));
  }
  return add_node({op, {a, b}, kNoXnnValue, {}, 0, {}}, broadcast(shape(a), shape(b)));
}

XnnId XnnBuilder::scale(XnnId x, double factor) {
  return factor == 1 ? x : binary(XnnOp::kMultiply, x, number(factor, dtype(x)));
}

XnnId XnnBuilder::reshape(XnnId x, Shape shape) {
  const XnnNode* before = maker(x);
  if (before != nullptr && before->op == XnnOp::kReshape) x = before->inputs[0];
  if (shapes_.at(x) == shape) return x;
  if (graph_.values[x].constant && is_constant(shape)) {
    std::vector<int64_t> dims;
    for (const Expr& size : shape) dims.push_back(size.constant());
    return reshaped_constant(x, dims);
  }
  if (dynamic_dims(shape) > 1) {
    throw Error(ErrorCode::kInternal, "XNNPACK infers one dim of a reshape only");
  }
  XnnDims dims;
  for (const Expr& size : shape) {
    dims.dims.push_back(static_cast<uint32_t>(size.maybe_constant().value_or(0)));
  }
  return add_node({XnnOp::kReshape, {x}, kNoXnnValue, std::move(dims), 0, {}}, std::move(shape));
}

// A transpose of a reshape, which merges dims, of a transpose: kNoXnnValue when it is none, else
// one transpose of both with a reshape behind it.
XnnId XnnBuilder::transpose_reshaped(XnnId x, const std::vector<size_t>& order, const Shape& to) {
  const XnnNode* merge = maker(x);
  if (merge == nullptr || merge->op != XnnOp::kReshape) return kNoXnnValue;
  const XnnNode* first = maker(merge->inputs[0]);
  if (first == nullptr || first->op != XnnOp::kTranspose) return kNoXnnValue;
  const auto groups = merged_dims(shapes_.at(first->output), shapes_.at(x));
  if (!groups || dynamic_dims(to) > 1) return kNoXnnValue;
  const auto& inner = std::get<XnnDims>(first->attributes).dims;
  std::vector<size_t> both;
  for (const size_t dim : order) {
    for (const size_t part : (*groups)[dim]) both.push_back(inner[part]);
  }
  return reshape(transpose(first->inputs[0], both), to);
}

XnnId XnnBuilder::transpose(XnnId x, const std::vector<size_t>& order) {
  const XnnNode* before = maker(x);
  if (before != nullptr && before->op == XnnOp::kTranspose) {
    const auto& first = std::get<XnnDims>(before->attributes).dims;
    std::vector<size_t> both;
    both.reserve(order.size());
    for (const size_t dim : order) both.push_back(first[dim]);
    return transpose(before->inputs[0], both);
  }
  if (is_identity(order)) return x;
  const Shape from = shape(x);
  Shape to;
  to.reserve(order.size());
  for (const size_t dim : order) to.push_back(from[dim]);
  if (moves_only_ones(order, from) && dynamic_dims(to) <= 1) return reshape(x, to);
  const XnnId short_cut = transpose_reshaped(x, order, to);
  if (short_cut != kNoXnnValue) return short_cut;
  return add_node({XnnOp::kTranspose, {x}, kNoXnnValue, XnnDims{to_u32(order)}, 0, {}},
                  std::move(to));
}

XnnId XnnBuilder::slice(XnnId x, size_t dim, int64_t start, int64_t size, const Expr& result) {
  Shape to = shape(x);
  if (start == 0 && to.at(dim) == result) return x;
  if (const auto before = nhwc_before(x)) {
    return to_nchw(slice(*before, kNhwcPlace.at(dim), start, size, result));
  }
  XnnSlice slice{std::vector<uint32_t>(to.size(), 0), std::vector<uint32_t>(to.size(), 0)};
  slice.offsets[dim] = static_cast<uint32_t>(start);
  slice.sizes[dim] = static_cast<uint32_t>(std::min<int64_t>(size, INT32_MAX));
  to[dim] = result;
  return add_node({XnnOp::kSlice, {x}, kNoXnnValue, std::move(slice), 0, {}}, std::move(to));
}

XnnId XnnBuilder::pad(XnnId x, XnnPadding padding, Shape result) {
  if (const auto before = nhwc_before(x)) {
    XnnPadding moved = padding;
    Shape moved_result = result;
    for (size_t i = 0; i < kNhwcPlace.size(); ++i) {
      moved.before[kNhwcPlace[i]] = padding.before[i];
      moved.after[kNhwcPlace[i]] = padding.after[i];
      moved_result[kNhwcPlace[i]] = result[i];
    }
    return to_nchw(pad(*before, std::move(moved), std::move(moved_result)));
  }
  return add_node({XnnOp::kPad, {x}, kNoXnnValue, std::move(padding), 0, {}}, std::move(result));
}

XnnId XnnBuilder::concatenate(std::vector<XnnId> items, size_t dim) {
  std::vector<XnnId> moved;
  for (const XnnId item : items) {
    if (const auto before = nhwc_before(item)) moved.push_back(*before);
  }
  if (moved.size() == items.size()) {
    return to_nchw(add_concatenations(std::move(moved), kNhwcPlace.at(dim)));
  }
  return add_concatenations(std::move(items), dim);
}

// Rounds of as many as one node joins.
XnnId XnnBuilder::add_concatenations(std::vector<XnnId> items, size_t dim) {
  while (items.size() > 1) {
    std::vector<XnnId> joined;
    for (size_t start = 0; start < items.size(); start += kXnnMaxConcatenated) {
      const size_t count = std::min(items.size() - start, kXnnMaxConcatenated);
      const auto begin = items.begin() + static_cast<ptrdiff_t>(start);
      const std::vector<XnnId> some(begin, begin + static_cast<ptrdiff_t>(count));
      Shape to = shape(some[0]);
      for (size_t i = 1; i < count; ++i) to[dim] = to[dim] + shapes_.at(some[i])[dim];
      const XnnAxis axis{static_cast<uint32_t>(dim)};
      joined.push_back(count == 1 ? some[0]
                                  : add_node({XnnOp::kConcatenate, some, kNoXnnValue, axis, 0, {}},
                                             std::move(to)));
    }
    items = std::move(joined);
  }
  return items.at(0);
}

XnnId XnnBuilder::fully_connected(XnnId x, XnnId filter, XnnId bias, uint32_t flags) {
  Shape to = shape(x);
  const Shape weights = shape(filter);
  to.back() = (flags & kXnnTransposeWeights) != 0 ? weights.at(1) : weights.at(0);
  return add_node({XnnOp::kFullyConnected, {x, filter, bias}, kNoXnnValue, {}, flags, {}},
                  std::move(to));
}

XnnId XnnBuilder::matmul(XnnId a, XnnId b) {
  const Shape left = shape(a), right = shape(b);
  Shape to = broadcast({left.begin(), left.end() - 2}, {right.begin(), right.end() - 2});
  to.push_back(left[left.size() - 2]);
  to.push_back(right.back());
  uint32_t flags = 0;
  const XnnNode* before = maker(b);
  if (before != nullptr && before->op == XnnOp::kTranspose &&
      swaps_last_two(std::get<XnnDims>(before->attributes).dims)) {
    b = before->inputs[0];
    flags = kXnnTransposeWeights;
  }
  return add_node({XnnOp::kBatchMatrixMultiply, {a, b}, kNoXnnValue, {}, flags, {}}, std::move(to));
}

// XNNPACK's own sums are not in the delegate: a filter of one row sums.
XnnId XnnBuilder::reduce_last(XnnId x, double factor, double offset) {
  const int64_t width = shape(x).back().constant();
  const std::vector<float> row(static_cast<size_t>(width), static_cast<float>(factor));
  const XnnId filter = floats({1, width}, row, DType::kFloat32);
  const XnnId bias = offset == 0 ? kNoXnnValue : number(offset, DType::kFloat32);
  return fully_connected(x, filter, bias);
}

}  // namespace portwright
