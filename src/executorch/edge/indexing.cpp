// Elements picked and placed by indices.
#include <array>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

// Indices for index_put: None for the dims before.
ValueList along(int64_t dim, ValueId index) {
  ValueList indices(dim, kNoValue);
  indices.push_back(index);
  return indices;
}

// (x, dim, index, source or value): kernels take indices of int64 only.
void with_long_index(const EdgeCall& call) {
  std::vector<Argument> arguments = call.node.arguments;
  arguments[2] = ValueRef{call.out.cast(call.tensor(2), DType::kInt64)};
  call.kernel(call.node.op, std::move(arguments));
}

// (x, dim, index, source, alpha)
void index_add(const EdgeCall& call) {
  ValueId source = call.tensor(3);
  if (call.number(4, 1) != 1) source = call.out.with_number("aten.mul.Scalar", source, call.arg(4));
  call.as("aten.index_put.default",
          {call.arg(0), along(call.dim(1), call.tensor(2)), ValueRef{source}, true});
}

// (x, dim, index, source)
void index_copy(const EdgeCall& call) {
  call.as("aten.index_put.default",
          {call.arg(0), along(call.dim(1), call.tensor(2)), call.arg(3), false});
}

void nonzero_numpy(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const auto& results = std::get<ValueList>(call.node.outputs.at(0));
  const Expr count = out.type(results.at(0)).shape.at(0);
  const auto rank = static_cast<int64_t>(call.type(0).rank());
  const ValueId places = out.kernel("aten.nonzero.default", {call.arg(0)},
                                    TensorType{DType::kInt64, {count, rank}, {}});
  for (int64_t i = 0; i < rank; ++i) {
    out.replace(results.at(i), out.add("aten.select.int", {ValueRef{places}, Expr(1), Expr(i)},
                                       TensorType{DType::kInt64, {count}, {}}));
  }
}

ValueId without_first(EdgeWriter& out, ValueId x) {
  const Expr size = out.type(x).shape.at(0);
  return out.slice(x, 0, 1, size);
}

// Runs of equal elements: where each begins is true.
ValueId starts_of_runs(EdgeWriter& out, ValueId x) {
  const Expr size = out.type(x).shape.at(0);
  const ValueId later = without_first(out, x);
  const ValueId earlier = out.slice(x, 0, 0, size - 1);
  const ValueId differs = out.add("aten.ne.Tensor", {ValueRef{later}, ValueRef{earlier}},
                                  TensorType{DType::kBool, {size - 1}, {}});
  return out.add("aten.cat.default",
                 {ValueList{out.full({1}, true, DType::kBool), differs}, Expr(0)},
                 TensorType{DType::kBool, {size}, {}});
}

// The first element of each run, the run of each element, the lengths of runs: of a flat tensor
// with at least one element. (x, return_inverse, return_counts, dim)
void unique_consecutive(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  if (call.has(3)) throw Error(ErrorCode::kUnsupported, "unique_consecutive along a dim");
  const Expr size = product(call.type(0).shape);
  const ValueId x = out.view(call.tensor(0), {size});
  const ValueId starts = starts_of_runs(out, x);
  const Expr count = call.result(0).shape.at(0);
  call.give(out.kernel("aten.masked_select.default", {ValueRef{x}, ValueRef{starts}},
                       TensorType{call.type(0).dtype, {count}, {}}),
            0);
  if (call.flag(1)) {
    const ValueId number =
        out.add("aten.cumsum.default", {ValueRef{starts}, Expr(0), DType::kInt64},
                TensorType{DType::kInt64, {size}, {}});
    call.give(out.view(out.plus(number, Expr(-1)), call.type(0).shape), 1);
  }
  if (call.flag(2)) {
    const ValueId places = out.view(out.kernel("aten.nonzero.default", {ValueRef{starts}},
                                               TensorType{DType::kInt64, {count, 1}, {}}),
                                    {count});
    const ValueId end = out.full({1}, size, DType::kInt64);
    const ValueId ends =
        out.add("aten.cat.default", {ValueList{without_first(out, places), end}, Expr(0)},
                TensorType{DType::kInt64, {count}, {}});
    call.give(out.difference(ends, places), 2);
  }
}

}  // namespace

std::span<const EdgeLowering> indexing_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.gather.default", with_long_index},
      EdgeLowering{"aten.scatter.src", with_long_index},
      EdgeLowering{"aten.scatter.value", with_long_index},
      EdgeLowering{"aten.scatter_add.default", with_long_index},
      EdgeLowering{"aten.index_add.default", index_add},
      EdgeLowering{"aten.index_copy.default", index_copy},
      EdgeLowering{"aten.nonzero_numpy.default", nonzero_numpy},
      EdgeLowering{"aten.unique_consecutive.default", unique_consecutive},
  };
  return kRows;
}

}  // namespace portwright
