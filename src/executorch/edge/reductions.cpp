// Sums, sorts and counts.
#include <array>
#include <numeric>

#include "executorch/edge/lowering.h"
#include "ir/broadcast.h"

namespace portwright {
namespace {

std::vector<int64_t> all_dims(const TensorType& type) {
  std::vector<int64_t> dims(type.rank());
  std::iota(dims.begin(), dims.end(), 0);
  return dims;
}

void sum(const EdgeCall& call) {
  IntList dims;
  for (int64_t dim : all_dims(call.type(0))) dims.emplace_back(dim);
  call.kernel("aten.sum.dim_IntList", {call.arg(0), dims, false, call.result().dtype});
}

ValueId inverted(const EdgeCall& call, ValueId id) {
  return call.out.add("aten.logical_not.default", {ValueRef{id}},
                      TensorType{DType::kBool, call.out.type(id).shape, {}});
}

// Nothing is false.
void all(const EdgeCall& call) {
  const ValueId any = call.out.add("aten.any.default", {ValueRef{inverted(call, call.tensor(0))}},
                                   TensorType{DType::kBool, {}, {}});
  call.give(inverted(call, any));
}

void all_along(const EdgeCall& call) {
  const ValueId any = call.out.add(
      "aten.any.dim", {ValueRef{inverted(call, call.tensor(0))}, call.arg(1), call.arg(2)},
      TensorType{DType::kBool, call.result().shape, {}});
  call.give(inverted(call, any));
}

void std_correction(const EdgeCall& call) {
  const ValueId variance = call.out.add("aten.var.correction", call.node.arguments, call.result());
  call.as("aten.sqrt.default", {ValueRef{variance}});
}

struct Sorted {
  ValueId values = kNoValue, index = kNoValue;
};

// By the runtime's topk, which leaves the order of equal elements open.
Sorted topk_of_all(EdgeWriter& out, ValueId x, int64_t dim, bool descending) {
  const TensorType type = out.type(x);
  const Sorted sorted{out.make(type), out.make(TensorType{DType::kInt64, type.shape, {}})};
  out.kernel("aten.topk.default", {ValueRef{x}, type.shape.at(dim), Expr(dim), descending, true},
             {sorted.values, sorted.index});
  return sorted;
}

// The places along a dim, as int64 that broadcasts to x.
ValueId places(EdgeWriter& out, ValueId x, int64_t dim) {
  const Expr size = out.type(x).shape.at(dim);
  std::vector<Expr> along(out.type(x).rank(), 1);
  along[dim] = size;
  return out.view(out.add("aten.arange.default", {size, DType::kInt64, None{}, None{}, None{}},
                          TensorType{DType::kInt64, {size}, {}}),
                  along);
}

// Integers as keys that no two elements share and that keep the order of equal ones.
ValueId unique_keys(EdgeWriter& out, ValueId x, int64_t dim, bool descending) {
  const Expr size = out.type(x).shape.at(dim);
  const ValueId scaled = out.with_number("aten.mul.Scalar", out.cast(x, DType::kInt64), size);
  const ValueId place = places(out, x, dim);
  return descending ? out.difference(scaled, place) : out.sum(scaled, place);
}

// The number of each float among the distinct ones in their order, as an integer.
ValueId ranks(EdgeWriter& out, ValueId x, int64_t dim, bool descending) {
  const Sorted sorted = topk_of_all(out, x, dim, descending);
  const Expr size = out.type(x).shape.at(dim);
  TensorType between{DType::kBool, out.type(x).shape, {}};
  between.shape[dim] = size - 1;
  const ValueId later = out.slice(sorted.values, dim, 1, size);
  const ValueId earlier = out.slice(sorted.values, dim, 0, size - 1);
  const ValueId differs = out.add("aten.ne.Tensor", {ValueRef{later}, ValueRef{earlier}}, between);
  TensorType first = between;
  first.shape[dim] = 1;
  const TensorType whole{DType::kInt64, out.type(x).shape, {}};
  const ValueId steps =
      out.add("aten.cat.default",
              {ValueList{out.full(first.shape, false, DType::kBool), differs}, Expr(dim)},
              TensorType{DType::kBool, whole.shape, {}});
  const ValueId number =
      out.add("aten.cumsum.default", {ValueRef{steps}, Expr(dim), DType::kInt64}, whole);
  const ValueId zeros = out.full(whole.shape, Expr(0), DType::kInt64);
  return out.add("aten.scatter.src",
                 {ValueRef{zeros}, Expr(dim), ValueRef{sorted.index}, ValueRef{number}}, whole);
}

// Equal elements stay in their order, as torch's do.
void sort_by(const EdgeCall& call, size_t dim_at, size_t descending_at) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  if (out.type(x).rank() == 0) {
    call.give(x, 0);
    call.give(out.full({}, Expr(0), DType::kInt64), 1);
    return;
  }
  const int64_t dim = call.dim(dim_at);
  const bool is_float = is_floating_point(out.type(x).dtype);
  const bool descending = call.flag(descending_at);
  const ValueId key = is_float ? unique_keys(out, ranks(out, x, dim, descending), dim, false)
                               : unique_keys(out, x, dim, descending);
  const ValueId index = topk_of_all(out, key, dim, descending && !is_float).index;
  call.give(index, 1);
  call.give(out.add("aten.gather.default", {ValueRef{x}, Expr(dim), ValueRef{index}, false},
                    TensorType{out.type(x).dtype, out.type(x).shape, {}}),
            0);
}

void sort(const EdgeCall& call) { sort_by(call, 1, 2); }
void sort_stable(const EdgeCall& call) { sort_by(call, 2, 3); }

// How many of the boundaries, which are sorted, lie before each element.
void count_before(const EdgeCall& call, ValueId x, ValueId boundaries, bool right) {
  EdgeWriter& out = call.out;
  std::vector<Expr> wide = out.type(x).shape;
  wide.emplace_back(1);
  const ValueId element = out.view(x, wide);
  TensorType type{DType::kBool, broadcast(wide, out.type(boundaries).shape), {}};
  const ValueId before = out.add(right ? "aten.le.Tensor" : "aten.lt.Tensor",
                                 {ValueRef{boundaries}, ValueRef{element}}, type);
  const auto last = static_cast<int64_t>(wide.size()) - 1;
  const ValueId count =
      out.kernel("aten.sum.dim_IntList", {ValueRef{before}, IntList{last}, false, None{}},
                 TensorType{DType::kInt64, out.type(x).shape, {}});
  call.give(out.cast(count, call.result().dtype));
}

// (x, boundaries, out_int32, right)
void bucketize(const EdgeCall& call) {
  count_before(call, call.tensor(0), call.tensor(1), call.flag(3));
}

// (sorted_sequence, x, out_int32, right, side, sorter)
void searchsorted(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  if (call.has(5)) throw Error(ErrorCode::kUnsupported, "searchsorted with a sorter");
  const auto* side = call.has(4) ? std::get_if<std::string>(&call.arg(4)) : nullptr;
  const bool right = call.flag(3) || (side != nullptr && *side == "right");
  ValueId sequence = call.tensor(0);
  if (out.type(sequence).rank() > 1) {  // one sequence for each row of x
    std::vector<Expr> rows = out.type(sequence).shape;
    rows.insert(rows.end() - 1, Expr(1));
    sequence = out.view(sequence, rows);
  }
  count_before(call, call.tensor(1), sequence, right);
}

void one_hot(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  const Expr classes = call.result().shape.back();
  std::vector<Expr> wide = out.type(x).shape;
  wide.emplace_back(1);
  const ValueId numbers =
      out.add("aten.arange.default", {classes, DType::kInt64, None{}, None{}, None{}},
              TensorType{DType::kInt64, {classes}, {}});
  const ValueId hot = out.add("aten.eq.Tensor", {ValueRef{out.view(x, wide)}, ValueRef{numbers}},
                              TensorType{DType::kBool, call.result().shape, {}});
  call.give(out.cast(hot, DType::kInt64));
}

}  // namespace

std::span<const EdgeLowering> reduction_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.sum.default", sum},
      EdgeLowering{"aten.all.default", all},
      EdgeLowering{"aten._is_all_true.default", all},
      EdgeLowering{"aten.all.dim", all_along},
      EdgeLowering{"aten.std.correction", std_correction},
      EdgeLowering{"aten.sort.default", sort},
      EdgeLowering{"aten.sort.stable", sort_stable},
      EdgeLowering{"aten.bucketize.Tensor", bucketize},
      EdgeLowering{"aten.searchsorted.Tensor", searchsorted},
      EdgeLowering{"aten.one_hot.default", one_hot},
  };
  return kRows;
}

}  // namespace portwright
