// Norms and softmax.
#include <array>
#include <cmath>
#include <limits>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

// (x, normalized_shape, weight, bias, eps, cudnn_enable); the kernel also gives mean and
// 1/deviation.
void layer_norm(const EdgeCall& call) {
  TensorType row = call.result();
  const size_t normed = call.ints(1).size();
  for (size_t i = row.rank() - normed; i < row.rank(); ++i) row.shape[i] = 1;
  call.out.kernel("aten.native_layer_norm.default",
                  {call.arg(0), call.arg(1), call.arg(2), call.arg(3), call.arg(4)},
                  {call.node.outputs.at(0), call.out.make(row), call.out.make(row)});
}

// (x, normalized_shape, weight, eps)
void rms_norm(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  const auto rank = static_cast<int64_t>(out.type(x).rank());
  std::vector<int64_t> dims;
  for (auto i = static_cast<int64_t>(call.ints(1).size()); i > 0; --i) dims.push_back(rank - i);
  const ValueId square = out.binary("aten.mul.Tensor", x, x);
  const double eps = call.number(3, std::numeric_limits<float>::epsilon());
  const ValueId mean = out.plus(out.reduced("aten.mean.dim", square, dims), eps);
  const ValueId norm = out.binary("aten.mul.Tensor", x, out.unary("aten.rsqrt.default", mean));
  if (!call.has(2)) return call.give(norm);
  call.as("aten.mul.Tensor", {ValueRef{norm}, call.arg(2)});
}

// (x, groups, weight, bias, eps, cudnn_enabled)
void group_norm(const EdgeCall& call) {
  const std::vector<Expr>& shape = call.type(0).shape;
  const TensorType row{call.type(0).dtype, {shape.at(0), std::get<Expr>(call.arg(1))}, {}};
  const Expr inner = product(std::span(shape).subspan(2));
  call.out.kernel("aten.native_group_norm.default",
                  {call.arg(0), call.arg(2), call.arg(3), shape.at(0), shape.at(1), inner,
                   call.arg(1), call.arg(4)},
                  {call.node.outputs.at(0), call.out.make(row), call.out.make(row)});
}

// [channels] as [1, channels, 1, ...].
ValueId by_channel(EdgeWriter& out, ValueId id, size_t rank) {
  std::vector<Expr> shape(rank, 1);
  shape[1] = out.type(id).shape.at(0);
  return out.view(id, shape);
}

// By the batch's own mean and variance, as instance norms are.
void normed_by_batch(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = call.tensor(0);
  const size_t rank = out.type(x).rank();
  std::vector<int64_t> dims = {0};
  for (size_t i = 2; i < rank; ++i) dims.push_back(static_cast<int64_t>(i));
  const ValueId centered = out.difference(x, out.reduced("aten.mean.dim", x, dims));
  const ValueId square = out.binary("aten.mul.Tensor", centered, centered);
  const ValueId variance = out.plus(out.reduced("aten.mean.dim", square, dims), call.arg(7));
  ValueId norm = out.binary("aten.mul.Tensor", centered, out.unary("aten.rsqrt.default", variance));
  if (call.has(1))
    norm = out.binary("aten.mul.Tensor", norm, by_channel(out, call.tensor(1), rank));
  if (call.has(2)) norm = out.sum(norm, by_channel(out, call.tensor(2), rank));
  call.give(norm, 0);
}

// (x, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled)
void batch_norm(const EdgeCall& call) {
  if (call.flag(5)) return normed_by_batch(call);
  const TensorType none{call.type(0).dtype, {0}, {}};
  call.out.kernel(
      "aten._native_batch_norm_legit_no_training.default",
      {call.arg(0), call.arg(1), call.arg(2), call.arg(3), call.arg(4), call.arg(6), call.arg(7)},
      {call.node.outputs.at(0), call.out.make(none), call.out.make(none)});
}

void softmax_by(const EdgeCall& call, const std::string& op) {
  const ValueId x = call.out.cast(call.tensor(0), call.result().dtype);
  call.kernel(op, {ValueRef{x}, Expr(call.dim(1)), false});
}

void softmax(const EdgeCall& call) { softmax_by(call, "aten._softmax.default"); }
void log_softmax(const EdgeCall& call) { softmax_by(call, "aten._log_softmax.default"); }

// sum(|x|^p)^(1/p) over dims; (x, ord, dim, keepdim, dtype)
void vector_norm(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId x = out.cast(call.tensor(0), call.result().dtype);
  std::vector<int64_t> dims = call.has(2) ? call.dims(2) : std::vector<int64_t>{};
  if (dims.empty()) {
    for (size_t i = 0; i < out.type(x).rank(); ++i) dims.push_back(static_cast<int64_t>(i));
  }
  const double order = call.number(1, 2);
  const ValueId size = out.unary("aten.abs.default", x);
  ValueId norm = kNoValue;
  if (std::isinf(order)) {
    TensorType type = out.type(x);
    IntList list;
    for (int64_t dim : dims) {
      type.shape.at(dim) = 1;
      list.emplace_back(dim);
    }
    norm = out.add(order > 0 ? "aten.amax.default" : "aten.amin.default",
                   {ValueRef{size}, list, true}, type);
  } else if (order == 2) {
    const ValueId square = out.binary("aten.mul.Tensor", x, x);
    norm = out.unary("aten.sqrt.default", out.reduced("aten.sum.dim_IntList", square, dims));
  } else if (order == 0) {
    const ValueId set = out.cast(out.compared("aten.ne.Scalar", x, 0.0), out.type(x).dtype);
    norm = out.reduced("aten.sum.dim_IntList", set, dims);
  } else {
    const ValueId power = out.with_number("aten.pow.Tensor_Scalar", size, order);
    norm = out.with_number("aten.pow.Tensor_Scalar",
                           out.reduced("aten.sum.dim_IntList", power, dims), 1 / order);
  }
  call.give(out.view(norm, call.result().shape));
}

}  // namespace

std::span<const EdgeLowering> norm_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.layer_norm.default", layer_norm},
      EdgeLowering{"aten.rms_norm.default", rms_norm},
      EdgeLowering{"aten.group_norm.default", group_norm},
      EdgeLowering{"aten.batch_norm.default", batch_norm},
      EdgeLowering{"aten.softmax.int", softmax},
      EdgeLowering{"aten.log_softmax.int", log_softmax},
      EdgeLowering{"aten.linalg_vector_norm.default", vector_norm},
  };
  return kRows;
}

}  // namespace portwright
