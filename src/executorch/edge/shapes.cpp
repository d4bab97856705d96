// Operators that only move elements. Kernels of the runtime copy; a view is none.
#include <algorithm>
#include <array>
#include <numeric>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

// The same elements in the same order.
void as_view(const EdgeCall& call) {
  call.give(call.out.view(call.tensor(0), call.result().shape));
}

void permuted(const EdgeCall& call, const std::vector<int64_t>& order) {
  call.give(call.out.permute(call.tensor(0), order));
}

std::vector<int64_t> counted(size_t rank) {
  std::vector<int64_t> order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

void permute(const EdgeCall& call) { permuted(call, call.dims(1)); }

void transpose(const EdgeCall& call) {
  std::vector<int64_t> order = counted(call.type(0).rank());
  if (order.empty()) return call.give(call.tensor(0));
  std::swap(order[call.dim(1)], order[call.dim(2)]);
  permuted(call, order);
}

void t(const EdgeCall& call) {
  std::vector<int64_t> order = counted(call.type(0).rank());
  std::reverse(order.begin(), order.end());
  permuted(call, order);
}

std::vector<Expr> without_ones(const std::vector<Expr>& shape) {
  std::vector<Expr> kept;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(kept),
               [](const Expr& size) { return !size.is_constant(1); });
  return kept;
}

void expand(const EdgeCall& call) {
  const ValueId x = call.tensor(0);
  const std::vector<Expr>& shape = call.result().shape;
  const bool adds_ones_only = without_ones(call.type(0).shape) == without_ones(shape);
  call.give(adds_ones_only ? call.out.view(x, shape) : call.out.expand(x, shape));
}

// The result's i-th tensor is a run of the operand's elements along a dim.
void parts(const EdgeCall& call, int64_t dim, bool keeps_dim) {
  const auto& results = std::get<ValueList>(call.node.outputs.at(0));
  Expr start = 0;
  for (ValueId result : results) {
    if (result == kNoValue) continue;
    const std::vector<Expr> shape = call.out.type(result).shape;
    const Expr end = start + (keeps_dim ? shape.at(dim) : Expr(1));
    call.out.replace(result, call.out.view(call.out.slice(call.tensor(0), dim, start, end), shape));
    start = end;
  }
}

void chunk(const EdgeCall& call) {
  parts(call, call.node.arguments.size() > 2 ? call.dim(2) : 0, true);
}
void unbind(const EdgeCall& call) {
  parts(call, call.node.arguments.size() > 1 ? call.dim(1) : 0, false);
}

// Repeats of fewer dims than the operand has are of its last ones.
void tile(const EdgeCall& call) {
  IntList repeats = call.ints(1);
  while (repeats.size() < call.type(0).rank()) repeats.insert(repeats.begin(), Expr(1));
  call.as("aten.repeat.default", {call.arg(0), repeats});
}

// repeat_interleave with one number: each element along a dim that many times in a row.
void repeat_interleave_int(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  ValueId x = call.tensor(0);
  if (!call.has(2)) x = out.view(x, {product(out.type(x).shape)});
  const auto rank = static_cast<int64_t>(out.type(x).rank());
  int64_t dim = call.has(2) ? call.integer(2) : 0;
  if (dim < 0) dim += rank;
  std::vector<Expr> wide = out.type(x).shape;
  wide.insert(wide.begin() + dim + 1, Expr(1));
  const ValueId narrow = out.view(x, wide);
  wide[dim + 1] = std::get<Expr>(call.arg(1));
  call.give(out.view(out.expand(narrow, wide), call.result().shape));
}

void repeat_interleave_tensor(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  ValueId x = call.tensor(0);
  if (!call.has(2)) x = out.view(x, {product(out.type(x).shape)});
  int64_t dim = call.has(2) ? call.integer(2) : 0;
  if (dim < 0) dim += static_cast<int64_t>(out.type(x).rank());
  const Expr size = call.result().shape.at(dim);
  ValueId repeats = call.tensor(1);
  const Expr length = out.type(x).shape.at(dim);
  if (out.type(repeats).rank() == 0 || out.type(repeats).shape[0] != length)
    repeats = out.expand(out.view(repeats, {1}), {length});
  const ValueId index = out.kernel("aten.repeat_interleave.Tensor", {ValueRef{repeats}, None{}},
                                   TensorType{out.type(repeats).dtype, {size}, {}});
  call.as("aten.index_select.default",
          {ValueRef{x}, Expr(dim), ValueRef{out.cast(index, DType::kInt64)}});
}

// Negative amounts cut off; the runtime's kernel takes none.
ValueId cut(const EdgeCall& call, IntList& amounts) {
  EdgeWriter& out = call.out;
  ValueId x = call.tensor(0);
  const auto rank = static_cast<int64_t>(out.type(x).rank());
  for (size_t i = 0; i + 1 < amounts.size(); i += 2) {
    const int64_t dim = rank - 1 - static_cast<int64_t>(i / 2);
    const auto cut_off = [&](Expr& amount) {
      if (out.symbols().range(amount).lo >= 0) return Expr(0);
      const Expr size = max(-amount, 0);
      amount = max(amount, 0);
      return size;
    };
    const Expr size = out.type(x).shape.at(dim);
    const Expr before = cut_off(amounts[i]);
    const Expr behind = cut_off(amounts[i + 1]);
    x = out.slice(x, dim, before, size - behind);
  }
  return x;
}

void constant_pad(const EdgeCall& call) {
  IntList amounts = call.ints(1);
  const ValueId x = cut(call, amounts);
  const bool is_cut_only = std::all_of(amounts.begin(), amounts.end(),
                                       [](const Expr& amount) { return amount.is_constant(0); });
  if (is_cut_only) return call.give(x);
  const Argument value = call.has(2) ? call.arg(2) : Argument(Expr(0));
  call.kernel("aten.constant_pad_nd.default", {ValueRef{x}, amounts, value});
}

void pad(const EdgeCall& call) {
  const auto* mode = std::get_if<std::string>(&call.arg(2));
  const IntList amounts = call.ints(1);
  if (mode == nullptr || *mode == "constant") {
    const Argument value = call.has(3) ? call.arg(3) : Argument(Expr(0));
    return call.as("aten.constant_pad_nd.default", {call.arg(0), amounts, value});
  }
  const std::string dims = std::to_string(amounts.size() / 2) + "d";
  if (*mode == "reflect")
    return call.kernel("aten.reflection_pad" + dims + ".default", {call.arg(0), amounts});
  if (*mode == "replicate")
    return call.kernel("aten.replication_pad" + dims + ".default", {call.arg(0), amounts});
  throw Error(ErrorCode::kUnsupported, "padding of mode '" + *mode + "'");
}

// tril's complement: where the lower triangle below the diagonal is, 0.
void triu(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  const Expr diagonal = std::get<Expr>(call.arg(1));
  const ValueId ones = out.full(out.type(x).shape, true, DType::kBool);
  const ValueId below = out.add("aten.tril.default", {ValueRef{ones}, diagonal - 1},
                                TensorType{DType::kBool, out.type(x).shape, {}});
  call.as("aten.where.self", {ValueRef{below}, Expr(0), ValueRef{x}});
}

}  // namespace

std::span<const EdgeLowering> shape_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.view.default", as_view},
      EdgeLowering{"aten._unsafe_view.default", as_view},
      EdgeLowering{"aten.reshape.default", as_view},
      EdgeLowering{"aten.flatten.using_ints", as_view},
      EdgeLowering{"aten.unflatten.int", as_view},
      EdgeLowering{"aten.unsqueeze.default", as_view},
      EdgeLowering{"aten.squeeze.default", as_view},
      EdgeLowering{"aten.squeeze.dim", as_view},
      EdgeLowering{"aten.squeeze.dims", as_view},
      EdgeLowering{"aten.permute.default", permute},
      EdgeLowering{"aten.transpose.int", transpose},
      EdgeLowering{"aten.t.default", t},
      EdgeLowering{"aten.expand.default", expand},
      EdgeLowering{"aten.chunk.default", chunk},
      EdgeLowering{"aten.split.Tensor", chunk},
      EdgeLowering{"aten.tensor_split.sections", chunk},
      EdgeLowering{"aten.split_with_sizes.default", chunk},
      EdgeLowering{"aten.unbind.int", unbind},
      EdgeLowering{"aten.tile.default", tile},
      EdgeLowering{"aten.repeat_interleave.self_int", repeat_interleave_int},
      EdgeLowering{"aten.repeat_interleave.self_Tensor", repeat_interleave_tensor},
      EdgeLowering{"aten.pad.default", pad},
      EdgeLowering{"aten.constant_pad_nd.default", constant_pad},
      EdgeLowering{"aten.triu.default", triu},
  };
  return kRows;
}

}  // namespace portwright
