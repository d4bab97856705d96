// Matrix products and attention.
#include <array>
#include <cmath>
#include <limits>

#include "executorch/edge/lowering.h"
#include "ir/broadcast.h"

namespace portwright {
namespace {

using Shape = std::vector<Expr>;

Expr size_from_end(const EdgeWriter& out, ValueId id, size_t i) {
  const Shape& shape = out.type(id).shape;
  return shape.at(shape.size() - i);
}

Shape leading(const EdgeWriter& out, ValueId id) {
  const Shape& shape = out.type(id).shape;
  return {shape.begin(), shape.end() - 2};
}

// [a, n, k] x [a, k, m] for any leading dims, which broadcast.
ValueId batched(EdgeWriter& out, ValueId a, ValueId b) {
  const Shape batch = broadcast(leading(out, a), leading(out, b));
  const Expr count = product(batch);
  const Expr rows = size_from_end(out, a, 2);
  const Expr inner = size_from_end(out, a, 1);
  const Expr columns = size_from_end(out, b, 1);
  const auto as_3d = [&](ValueId id, const Expr& height, const Expr& width) {
    Shape wide = batch;
    wide.insert(wide.end(), {height, width});
    return out.view(out.expand(id, wide), {count, height, width});
  };
  const ValueId result = out.kernel(
      "aten.bmm.default", {ValueRef{as_3d(a, rows, inner)}, ValueRef{as_3d(b, inner, columns)}},
      TensorType{out.type(a).dtype, {count, rows, columns}, {}});
  Shape shape = batch;
  shape.insert(shape.end(), {rows, columns});
  return out.view(result, shape);
}

// One matrix for all rows.
ValueId times_matrix(EdgeWriter& out, ValueId a, ValueId b) {
  Shape shape = out.type(a).shape;
  const Expr inner = shape.back();
  shape.pop_back();
  const Expr rows = product(shape);
  const Expr columns = size_from_end(out, b, 1);
  const ValueId result =
      out.kernel("aten.mm.default", {ValueRef{out.view(a, {rows, inner})}, ValueRef{b}},
                 TensorType{out.type(a).dtype, {rows, columns}, {}});
  shape.push_back(columns);
  return out.view(result, shape);
}

// Vectors are matrices of one row or one column.
ValueId matmul_of(EdgeWriter& out, ValueId a, ValueId b) {
  if (out.type(a).rank() == 1) a = out.view(a, {1, out.type(a).shape[0]});
  if (out.type(b).rank() == 1) b = out.view(b, {out.type(b).shape[0], 1});
  return out.type(b).rank() == 2 ? times_matrix(out, a, b) : batched(out, a, b);
}

void matmul(const EdgeCall& call) {
  const ValueId result = matmul_of(call.out, call.tensor(0), call.tensor(1));
  call.give(call.out.view(result, call.result().shape));
}

// beta * input + alpha * a @ b
void baddbmm(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  ValueId result = batched(out, call.tensor(1), call.tensor(2));
  ValueId input = call.tensor(0);
  if (call.number(4, 1) != 1) result = out.with_number("aten.mul.Scalar", result, call.arg(4));
  if (call.number(3, 1) == 0) return call.give(result);
  if (call.number(3, 1) != 1) input = out.with_number("aten.mul.Scalar", input, call.arg(3));
  call.as("aten.add.Tensor", {ValueRef{result}, ValueRef{input}, Expr(1)});
}

void linear(const EdgeCall& call) {
  if (call.type(1).rank() == 1) return call.as("aten.matmul.default", {call.arg(0), call.arg(1)});
  if (call.type(0).rank() != 1) return call.kernel(call.node.op, call.node.arguments);
  EdgeWriter& out = call.out;
  const ValueId row = out.view(call.tensor(0), {1, call.type(0).shape[0]});
  const ValueId result =
      out.kernel(call.node.op, {ValueRef{row}, call.arg(1), call.arg(2)},
                 TensorType{call.result().dtype, {1, call.result().shape[0]}, {}});
  call.give(out.view(result, call.result().shape));
}

// Heads of keys and values for each head of queries.
ValueId repeated_heads(EdgeWriter& out, ValueId id, const Expr& heads) {
  const Expr own = size_from_end(out, id, 3);
  if (own == heads) return id;
  Shape shape = out.type(id).shape;
  shape[shape.size() - 3] = heads;
  return out.add("aten.repeat_interleave.self_int",
                 {ValueRef{id}, floor_div(heads, own), Expr(-3), None{}},
                 TensorType{out.type(id).dtype, shape, {}});
}

// A bool tensor [queries, keys] that is true where the key is not after the query.
ValueId causal_mask(EdgeWriter& out, const Expr& queries, const Expr& keys) {
  const ValueId all = out.full({queries, keys}, true, DType::kBool);
  return out.add("aten.tril.default", {ValueRef{all}, Expr(0)},
                 TensorType{DType::kBool, {queries, keys}, {}});
}

struct Masked {
  ValueId scores = kNoValue;
  ValueId sees_any = kNoValue;  // bool, per row: false where all keys are hidden
};

constexpr double kHidden = -std::numeric_limits<double>::infinity();

Masked apply_mask(EdgeWriter& out, ValueId scores, ValueId mask) {
  const int64_t last = static_cast<int64_t>(out.type(mask).rank()) - 1;
  TensorType row{DType::kBool, out.type(mask).shape, {}};
  row.shape.back() = 1;
  if (out.type(mask).dtype == DType::kBool) {
    const ValueId any = out.add("aten.any.dim", {ValueRef{mask}, Expr(last), true}, std::move(row));
    const TensorType type{out.type(scores).dtype, out.type(mask).shape, {}};
    const ValueId bias = out.add("aten.where.self", {ValueRef{mask}, 0.0, kHidden}, type);
    return {out.sum(scores, bias), any};
  }
  const ValueId most = out.add("aten.amax.default", {ValueRef{mask}, IntList{last}, true},
                               TensorType{out.type(mask).dtype, row.shape, {}});
  return {out.sum(scores, out.cast(mask, out.type(scores).dtype)),
          out.compared("aten.gt.Scalar", most, kHidden)};
}

// By the scale that is given, or by one over the root of the heads' width.
ValueId scaled(const EdgeCall& call, ValueId query) {
  EdgeWriter& out = call.out;
  const Expr width = size_from_end(out, query, 1);
  if (call.has(6)) return out.with_number("aten.mul.Scalar", query, call.arg(6));
  if (width.is_constant()) {
    const double scale = 1 / std::sqrt(static_cast<double>(width.constant()));
    return out.with_number("aten.mul.Scalar", query, scale);
  }
  const ValueId root = out.unary("aten.rsqrt.default", out.full({}, width, out.type(query).dtype));
  return out.binary("aten.mul.Tensor", query, root);
}

// scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, scale,
// enable_gqa). Rows that see no key give zeros, as torch's do.
void attention(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const ValueId query = call.tensor(0);
  ValueId key = call.tensor(1), value = call.tensor(2);
  if (call.flag(7)) {
    const Expr heads = size_from_end(out, query, 3);
    key = repeated_heads(out, key, heads);
    value = repeated_heads(out, value, heads);
  }
  Masked masked{matmul_of(out, scaled(call, query), out.matrix_transposed(key)), kNoValue};
  if (call.has(3)) {
    masked = apply_mask(out, masked.scores, call.tensor(3));
  } else if (call.flag(5)) {
    const ValueId mask = causal_mask(out, size_from_end(out, query, 2), size_from_end(out, key, 2));
    masked.scores = apply_mask(out, masked.scores, mask).scores;
  }
  const TensorType& type = out.type(masked.scores);
  const auto last = static_cast<int64_t>(type.rank()) - 1;
  ValueId weights =
      out.kernel("aten._softmax.default", {ValueRef{masked.scores}, Expr(last), false}, type);
  if (masked.sees_any != kNoValue) {
    weights = out.add("aten.where.self", {ValueRef{masked.sees_any}, ValueRef{weights}, 0.0},
                      out.type(weights));
  }
  call.give(matmul_of(out, weights, value));
}

}  // namespace

std::span<const EdgeLowering> linear_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.matmul.default", matmul},
      EdgeLowering{"aten.mv.default", matmul},
      EdgeLowering{"aten.baddbmm.default", baddbmm},
      EdgeLowering{"aten.linear.default", linear},
      EdgeLowering{"aten.scaled_dot_product_attention.default", attention},
  };
  return kRows;
}

}  // namespace portwright
