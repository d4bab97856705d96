// Parts of tensors, and tensors of parts.
#include <algorithm>
#include <array>
#include <cstdint>

#include "executorch/xnnpack/lowering.h"

namespace portwright {
namespace {

constexpr std::string_view kFromTheEnd = "a place counted from the end of a dynamic dim";

// Where a slice starts and how far it goes; XNNPACK cuts it at the end of the dim.
struct Part {
  size_t dim = 0;
  int64_t start = 0, size = 0;
};

// A position that may be counted from the end, where that is known.
std::optional<int64_t> place(int64_t position, const Expr& size) {
  const auto whole = size.maybe_constant();
  if (position >= 0) return whole ? std::min(position, *whole) : position;
  return whole ? std::optional(std::max<int64_t>(position + *whole, 0)) : std::nullopt;
}

// slice.Tensor(x, dim, start, end, step).
std::optional<Part> part_of(const XnnNodeView& node) {
  const size_t rank = node.rank(0);
  const auto dim = node.dim(1, rank);
  const auto start = node.has(2) ? node.integer(2) : 0;
  if (!dim || !start || node.integer(4) != 1) return std::nullopt;
  const Expr& size = node.shape(0)[*dim];
  const auto from = place(*start, size);
  const bool open = !node.has(3) || node.arg(3) == Argument(size);
  const auto end = open ? INT64_MAX : node.integer(3);
  const auto to = end ? place(*end, size) : std::nullopt;
  if (!from || !to || *to <= *from) return std::nullopt;
  return Part{*dim, *from, *to - *from};
}

// Every step-th element of a dim that is a multiple of the step: one column of that dim in rows.
struct Steps {
  size_t dim = 0;
  int64_t first = 0, step = 1;
};

std::optional<Steps> steps_of(const XnnNodeView& node) {
  const size_t rank = node.rank(0);
  const auto dim = node.dim(1, rank);
  const auto start = node.has(2) ? node.integer(2) : 0, step = node.integer(4);
  if (!dim || !start || !step || *step < 2 || rank == kXnnMaxRank) return std::nullopt;
  const auto size = node.shape(0)[*dim].maybe_constant();
  const auto end = node.has(3) ? node.integer(3) : INT64_MAX;
  const bool whole = size && end && *end >= *size && *size % *step == 0;
  if (!whole || *start < 0 || *start >= *step || dynamic_dims(node.shape(0)) > 1) return {};
  return Steps{*dim, *start, *step};
}

void slice_steps(XnnBuilder& x, const XnnNodeView& node, const Steps& steps) {
  Shape rows = node.shape(0);
  rows[steps.dim] = floor_div(rows[steps.dim], steps.step);
  rows.insert(rows.begin() + static_cast<ptrdiff_t>(steps.dim) + 1, Expr(steps.step));
  const XnnId split = x.reshape(x.value(node.id(0)), rows);
  const XnnId column = x.slice(split, steps.dim + 1, steps.first, 1, 1);
  x.bind(node.node.result(), x.reshape(column, node.result().shape));
}

std::string_view slice_refusal(const XnnNodeView& node) {
  const bool taken = part_of(node) || steps_of(node);
  return taken ? "" : "a slice with steps, of dynamic places or from the end";
}

void slice(XnnBuilder& x, const XnnNodeView& node) {
  if (const auto steps = steps_of(node)) return slice_steps(x, node, *steps);
  const Part part = *part_of(node);
  x.bind(node.node.result(), x.slice(x.value(node.id(0)), part.dim, part.start, part.size,
                                     node.result().shape[part.dim]));
}

// narrow(x, dim, start, length).
std::string_view narrow_refusal(const XnnNodeView& node) {
  const auto start = node.integer(2), size = node.integer(3);
  if (!node.dim(1, node.rank(0)) || !start || !size) return kSymbolicOperand;
  return *start < 0 ? kFromTheEnd : "";
}

void narrow(XnnBuilder& x, const XnnNodeView& node) {
  const size_t dim = *node.dim(1, node.rank(0));
  x.bind(node.node.result(), x.slice(x.value(node.id(0)), dim, *node.integer(2), *node.integer(3),
                                     node.result().shape[dim]));
}

// select.int(x, dim, index).
std::string_view select_refusal(const XnnNodeView& node) {
  const auto dim = node.dim(1, node.rank(0));
  const auto index = node.integer(2);
  if (!dim || !index) return kSymbolicOperand;
  if (*index < 0 && !node.shape(0)[*dim].is_constant()) return kFromTheEnd;
  return dynamic_dims(node.result().shape) > 1 ? kTwoDynamicDims : "";
}

void select(XnnBuilder& x, const XnnNodeView& node) {
  const size_t dim = *node.dim(1, node.rank(0));
  const int64_t index = *place(*node.integer(2), node.shape(0)[dim]);
  const XnnId one = x.slice(x.value(node.id(0)), dim, index, 1, 1);
  x.bind(node.node.result(), x.reshape(one, node.result().shape));
}

const ValueList& results(const XnnNodeView& node) {
  return std::get<ValueList>(node.node.outputs.at(0));
}

std::string_view parts_refusal(const XnnNodeView& node, size_t dim_operand) {
  const auto dim = node.dim(dim_operand, node.rank(0));
  if (!dim) return kSymbolicOperand;
  for (const ValueId id : results(node)) {
    if (id == kNoValue) return "no tensor result";
    if (!node.scope.type(id).shape.at(*dim).is_constant()) return "a part of dynamic size";
  }
  return "";
}

// split.Tensor(x, size, dim), split_with_sizes(x, sizes, dim), chunk(x, chunks, dim): the sizes are
// those of the results.
std::string_view split_refusal(const XnnNodeView& node) { return parts_refusal(node, 2); }

void split(XnnBuilder& x, const XnnNodeView& node) {
  const size_t dim = *node.dim(2, node.rank(0));
  int64_t start = 0;
  for (const ValueId id : results(node)) {
    const int64_t size = node.scope.type(id).shape[dim].constant();
    x.bind(id, x.slice(x.value(node.id(0)), dim, start, size, size));
    start += size;
  }
}

// unbind.int(x, dim).
std::string_view unbind_refusal(const XnnNodeView& node) {
  if (!node.dim(1, node.rank(0))) return kSymbolicOperand;
  return dynamic_dims(node.scope.type(results(node).at(0)).shape) > 1 ? kTwoDynamicDims : "";
}

void unbind(XnnBuilder& x, const XnnNodeView& node) {
  const size_t dim = *node.dim(1, node.rank(0));
  int64_t index = 0;
  for (const ValueId id : results(node)) {
    const XnnId one = x.slice(x.value(node.id(0)), dim, index++, 1, 1);
    x.bind(id, x.reshape(one, node.scope.type(id).shape));
  }
}

// glu(x, dim): a * sigmoid(b), the halves of x.
std::string_view glu_refusal(const XnnNodeView& node) {
  const auto dim = node.dim(1, node.rank(0));
  if (!dim) return kSymbolicOperand;
  return node.shape(0)[*dim].is_constant() ? "" : "a part of dynamic size";
}

void glu(XnnBuilder& x, const XnnNodeView& node) {
  const size_t dim = *node.dim(1, node.rank(0));
  const int64_t half = node.shape(0)[dim].constant() / 2;
  const XnnId whole = x.value(node.id(0));
  const XnnId gate = x.unary(XnnOp::kSigmoid, x.slice(whole, dim, half, half, half));
  x.bind(node.node.result(), x.binary(XnnOp::kMultiply, x.slice(whole, dim, 0, half, half), gate));
}

const ValueList& items(const XnnNodeView& node) { return std::get<ValueList>(node.arg(0)); }

// cat(tensors, dim).
std::string_view cat_refusal(const XnnNodeView& node) {
  const size_t rank = node.result().rank();
  if (!node.dim(1, rank)) return kSymbolicOperand;
  for (const ValueId id : items(node)) {
    if (node.scope.type(id).rank() != rank) return "tensors of several ranks are joined";
  }
  return "";
}

void cat(XnnBuilder& x, const XnnNodeView& node) {
  std::vector<XnnId> parts;
  for (const ValueId id : items(node)) parts.push_back(x.value(id));
  x.bind(node.node.result(), x.concatenate(std::move(parts), *node.dim(1, node.result().rank())));
}

// stack(tensors, dim).
std::string_view stack_refusal(const XnnNodeView& node) {
  if (!node.dim(1, node.result().rank())) return kSymbolicOperand;
  return dynamic_dims(node.result().shape) > 1 ? kTwoDynamicDims : "";
}

void stack(XnnBuilder& x, const XnnNodeView& node) {
  const size_t dim = *node.dim(1, node.result().rank());
  Shape shape = node.result().shape;
  shape[dim] = 1;
  std::vector<XnnId> parts;
  for (const ValueId id : items(node)) parts.push_back(x.reshape(x.value(id), shape));
  x.bind(node.node.result(), x.concatenate(std::move(parts), dim));
}

// roll(x, shifts, dims): the ends of dims come first.
std::string_view roll_refusal(const XnnNodeView& node) {
  const auto shifts = node.integers(1);
  const auto dims = node.dims(2, node.rank(0));
  if (!shifts || !dims || dims->size() != shifts->size()) return kSymbolicOperand;
  for (const size_t dim : *dims) {
    if (!node.shape(0)[dim].is_constant()) return "a part of dynamic size";
  }
  return "";
}

void roll(XnnBuilder& x, const XnnNodeView& node) {
  const std::vector<int64_t> shifts = *node.integers(1);
  const std::vector<size_t> dims = *node.dims(2, node.rank(0));
  XnnId rolled = x.value(node.id(0));
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t size = node.shape(0)[dims[i]].constant();
    const int64_t back = mod(Expr(shifts[i]), Expr(size)).constant();
    if (back == 0) continue;
    const XnnId end = x.slice(rolled, dims[i], size - back, back, back);
    const XnnId begin = x.slice(rolled, dims[i], 0, size - back, size - back);
    rolled = x.concatenate({end, begin}, dims[i]);
  }
  x.bind(node.node.result(), rolled);
}

// constant_pad_nd(x, pad, value) and pad(x, pad, mode, value): pairs from the last dim on.
double pad_value(const XnnNodeView& node) {
  const size_t place = node.node.arguments.size() - 1;
  return node.has(place) ? node.number(place).value_or(0) : 0;
}

std::string_view pad_refusal(const XnnNodeView& node) {
  const auto pads = node.integers(1);
  const auto* mode = std::get_if<std::string>(&node.arg(2));
  if (mode != nullptr && *mode != "constant") return "a padding that is not constant";
  const size_t place = node.node.arguments.size() - 1;
  if (!pads || (node.has(place) && !node.number(place))) return kSymbolicOperand;
  if (!holds(node.result().dtype, pad_value(node))) return kNotHeld;
  const bool cuts = std::any_of(pads->begin(), pads->end(), [](int64_t pad) { return pad < 0; });
  return cuts ? "a negative padding" : "";
}

void pad(XnnBuilder& x, const XnnNodeView& node) {
  const std::vector<int64_t> pads = *node.integers(1);
  const size_t rank = node.rank(0);
  XnnPadding padding{std::vector<uint32_t>(rank, 0), std::vector<uint32_t>(rank, 0),
                     static_cast<float>(pad_value(node))};
  for (size_t i = 0; i < pads.size() / 2; ++i) {
    padding.before[rank - 1 - i] = static_cast<uint32_t>(pads[2 * i]);
    padding.after[rank - 1 - i] = static_cast<uint32_t>(pads[2 * i + 1]);
  }
  x.bind(node.node.result(), x.pad(x.value(node.id(0)), std::move(padding), node.result().shape));
}

}  // namespace

std::span<const XnnLowering> xnn_slicing_lowerings() {
  constexpr XnnGain kMove = XnnGain::kMove;
  static constexpr std::array kRows = {
      XnnLowering{"aten.slice.Tensor", kMove, slice_refusal, slice},
      XnnLowering{"aten.narrow.default", kMove, narrow_refusal, narrow},
      XnnLowering{"aten.select.int", kMove, select_refusal, select},
      XnnLowering{"aten.split.Tensor", kMove, split_refusal, split},
      XnnLowering{"aten.split_with_sizes.default", kMove, split_refusal, split},
      XnnLowering{"aten.chunk.default", kMove, split_refusal, split},
      XnnLowering{"aten.unbind.int", kMove, unbind_refusal, unbind},
      XnnLowering{"aten.cat.default", kMove, cat_refusal, cat},
      XnnLowering{"aten.stack.default", kMove, stack_refusal, stack},
      XnnLowering{"aten.constant_pad_nd.default", kMove, pad_refusal, pad},
      XnnLowering{"aten.roll.default", kMove, roll_refusal, roll},
      XnnLowering{"aten.pad.default", kMove, pad_refusal, pad},
      XnnLowering{"aten.glu.default", XnnGain::kElementwise, glu_refusal, glu},
  };
  return kRows;
}

}  // namespace portwright
