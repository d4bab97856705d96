// Sliding windows: unfold, fold, strided views, sums of embeddings over runs.
#include <algorithm>
#include <array>
#include <limits>

#include "ir/strides.h"
#include "onnx/counting.h"

namespace portwright {
namespace {

// start + step * [0, count) as a 1-D int64 tensor.
std::string steps(Emitter& e, const Expr& count, const Expr& step) {
  const std::string range =
      e.op("Range", {e.scalar(0, DType::kInt64), e.scalar_int(count), e.scalar(1, DType::kInt64)});
  return step.is_constant(1) ? range : e.op("Mul", {range, e.dim(step)});
}

// [rows, columns] of row * row_step + column * column_step.
std::string window_places(Emitter& e, const Expr& rows, const Expr& row_step, const Expr& columns,
                          const Expr& column_step) {
  return e.op("Add", {e.unsqueeze(steps(e, rows, row_step), {1}),
                      e.unsqueeze(steps(e, columns, column_step), {0})});
}

// unfold(self, dim, size, step): windows along the dim, their elements in a new last dim.
void unfold(const LoweringCall& call) {
  Emitter& e = call.emit;
  const size_t rank = call.type(0).rank();
  const int64_t axis = constant_dim(call.arg(1), rank);
  const Expr windows = call.result().shape.at(axis);
  const std::string places =
      window_places(e, windows, std::get<Expr>(call.arg(3)), std::get<Expr>(call.arg(2)), 1);
  const std::string taken = e.op("Gather", {e.tensor(call.arg(0)), places}, {{"axis", axis}});
  std::vector<int64_t> order;
  for (size_t i = 0; i <= rank; ++i) {
    if (static_cast<int64_t>(i) != axis + 1) order.push_back(static_cast<int64_t>(i));
  }
  order.push_back(axis + 1);
  call.give(e.transpose(taken, order));
}

// The elements in the order of memory, where a permutation of the dims is row-major.
std::string in_memory_order(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  std::string value = e.tensor(call.arg(0));
  if (type.strides) {
    const auto order = memory_order(type);
    if (!order)
      throw Error(ErrorCode::kUnsupported, "as_strided of a tensor with gaps or overlaps");
    value = e.transpose(value, *order);
  }
  return e.op("Reshape", {value, e.ints({-1})});
}

// as_strided(self, size, stride, storage_offset).
void as_strided(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& sizes = std::get<IntList>(call.arg(1));
  const auto& strides = std::get<IntList>(call.arg(2));
  std::string places =
      call.has(3) ? e.scalar_int(std::get<Expr>(call.arg(3))) : e.scalar(0, DType::kInt64);
  for (size_t i = 0; i < sizes.size(); ++i) {
    std::vector<int64_t> behind;
    for (size_t j = i + 1; j < sizes.size(); ++j) behind.push_back(static_cast<int64_t>(j - i));
    places = e.op("Add", {places, e.unsqueeze(steps(e, sizes[i], strides[i]), behind)});
  }
  call.give(e.op("Gather", {in_memory_order(call), places}, {{"axis", int64_t{0}}}));
}

int64_t pair_item(const Argument& argument, size_t i) {
  const auto& list = std::get<IntList>(argument);
  return constant_int(list.at(list.size() == 1 ? 0 : i));
}

// How many windows of im2col or col2im fit along spatial dim i of this size.
Expr window_count(const LoweringCall& call, const Expr& size, size_t first, size_t i) {
  const int64_t kernel = pair_item(call.arg(first), i);
  const int64_t dilation = pair_item(call.arg(first + 1), i);
  const int64_t padding = pair_item(call.arg(first + 2), i);
  const int64_t stride = pair_item(call.arg(first + 3), i);
  return floor_div(size + Expr(2 * padding - dilation * (kernel - 1) - 1), Expr(stride)) + Expr(1);
}

// im2col(self, kernel, dilation, padding, stride): [N, C, H, W] -> [N, C * kh * kw, windows].
void im2col(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  const size_t batch = type.rank() - 3;  // 0 without a batch
  std::string x = e.tensor(call.arg(0));
  if (batch == 0) x = e.unsqueeze(x, {0});
  const int64_t ph = pair_item(call.arg(3), 0);
  const int64_t pw = pair_item(call.arg(3), 1);
  if (ph != 0 || pw != 0) {
    x = e.op("Pad", {x, e.ints({0, 0, ph, pw, 0, 0, ph, pw}), e.scalar(0, type.dtype)});
  }
  for (size_t i = 0; i < 2; ++i) {  // [N, C, kh, Lh, W], then [N, C, kh, Lh, kw, Lw]
    const Expr count = window_count(call, type.shape.at(batch + 1 + i), 1, i);
    const std::string places = window_places(
        e, pair_item(call.arg(1), i), pair_item(call.arg(2), i), count, pair_item(call.arg(4), i));
    x = e.op("Gather", {x, places}, {{"axis", int64_t{i == 0 ? 2 : 4}}});
  }
  call.give(e.op("Reshape", {e.transpose(x, {0, 1, 2, 4, 3, 5}), e.shape(call.result().shape)}));
}

// col2im(self, output_size, kernel, dilation, padding, stride).
void col2im(const LoweringCall& call) {
  Emitter& e = call.emit;
  const bool batched = call.type(0).rank() == 3;
  const std::string x = e.tensor(call.arg(0));
  const int64_t ph = pair_item(call.arg(4), 0);
  const int64_t pw = pair_item(call.arg(4), 1);
  const std::string image = e.op(
      "Col2Im",
      {batched ? x : e.unsqueeze(x, {0}), e.shape(std::get<IntList>(call.arg(1))),
       e.ints({pair_item(call.arg(2), 0), pair_item(call.arg(2), 1)})},
      {{"dilations", std::vector<int64_t>{pair_item(call.arg(3), 0), pair_item(call.arg(3), 1)}},
       {"pads", std::vector<int64_t>{ph, pw, ph, pw}},
       {"strides", std::vector<int64_t>{pair_item(call.arg(5), 0), pair_item(call.arg(5), 1)}}});
  call.give(batched ? image : e.squeeze(image, {0}));
}

// The bounds of an embedding_bag's bags in its indices, [bags + 1].
std::string bag_bounds(const LoweringCall& call, const std::string& indices) {
  Emitter& e = call.emit;
  std::string starts = e.cast(e.tensor(call.arg(2)), call.type(2).dtype, DType::kInt64);
  if (flag(call.arg(7))) return starts;
  return e.op("Concat", {starts, e.op("Shape", {indices})}, {{"axis", int64_t{0}}});
}

// How many of the indices in each bag count, [bags, 1].
std::string counted(Emitter& e, const std::string& bags, const std::string& counts,
                    const std::string& bag_count) {
  const std::string zeros = e.op("Expand", {e.scalar(0, DType::kInt64), bag_count});
  const std::string sums =
      e.op("ScatterND", {zeros, bags, counts}, {{"reduction", std::string("add")}});
  return e.unsqueeze(sums, {1});
}

// _embedding_bag(weight, indices, offsets, scale_grad, mode, sparse, per_sample_weights,
// include_last_offset, padding_idx): sums (mode 0), means (1) or maxima (2) of each bag's rows, of
// which those at the padding index do not count. Empty bags are zeros.
void embedding_bag(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t mode = constant_int(call.arg(4));
  const int64_t padding = constant_int(call.arg(8));
  const DType dtype = call.result().dtype;
  const std::string indices = e.cast(e.tensor(call.arg(1)), call.type(1).dtype, DType::kInt64);
  std::string rows = e.op("Gather", {e.tensor(call.arg(0)), indices}, {{"axis", int64_t{0}}});
  if (call.has(6)) rows = e.op("Mul", {rows, e.unsqueeze(e.tensor(call.arg(6)), {1})});
  const double least = mode == 2 ? -std::numeric_limits<double>::infinity() : 0.0;
  const std::string start = e.scalar(least, dtype);
  const std::string bounds = bag_bounds(call, indices);
  const std::string axis = e.ints({0});
  const std::string lengths =
      e.op("Sub", {e.op("Slice", {bounds, e.ints({1}), e.ints({INT64_MAX}), axis}),
                   e.op("Slice", {bounds, axis, e.ints({-1}), axis})});
  const std::string bags = e.unsqueeze(run_numbers(e, lengths), {1});
  std::string counts = e.unsqueeze(lengths, {1});
  if (padding >= 0) {
    const std::string counts_not =
        e.op("Equal", {indices, e.scalar(static_cast<double>(padding), DType::kInt64)});
    rows = e.op("Where", {e.unsqueeze(counts_not, {1}), start, rows});
    const std::string one_each = e.cast(e.op("Not", {counts_not}), DType::kBool, DType::kInt64);
    counts = counted(e, bags, one_each, e.op("Shape", {lengths}));
  }
  const std::string initial = e.op("Expand", {start, e.shape(call.result().shape)});
  std::string result = e.op("ScatterND", {initial, bags, rows},
                            {{"reduction", std::string(mode == 2 ? "max" : "add")}});
  if (mode == 1) {
    const std::string some = e.op("Max", {counts, e.ints({1})});
    result = e.op("Div", {result, e.cast(some, DType::kInt64, dtype)});
  } else if (mode == 2) {
    const std::string none = e.op("Equal", {counts, axis});
    result = e.op("Where", {none, e.scalar(0, dtype), result});
  }
  call.give(result, 0);  // the other results are for the gradient
}

}  // namespace

std::span<const Lowering> window_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.unfold.default", unfold},
      Lowering{"aten.as_strided.default", as_strided},
      Lowering{"aten.im2col.default", im2col},
      Lowering{"aten.col2im.default", col2im},
      Lowering{"aten._embedding_bag.default", embedding_bag},
      Lowering{"aten._embedding_bag_forward_only.default", embedding_bag},
  };
  return kRows;
}

}  // namespace portwright
