// Scaled dot product attention from standard operators.
// Source: torch.nn.functional.scaled_dot_product_attention's reference implementation.
#include <array>
#include <cmath>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// Operands of aten.scaled_dot_product_attention.default.
enum : size_t { kQuery, kKey, kValue, kMask, kDropout, kCausal, kScale, kGrouped };

// Repeats each key/value head for its group of query heads (enable_gqa).
std::string repeat_heads(const LoweringCall& call, size_t operand) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(operand);
  std::string value = e.tensor(call.arg(operand));
  const Expr query_heads = call.type(kQuery).shape.at(1);
  const Expr heads = type.shape.at(1);
  if (query_heads == heads) return value;
  const auto groups = divide_exactly(query_heads, heads);
  if (type.rank() != 4 || !groups) {
    throw Error(ErrorCode::kUnsupported,
                "grouped attention needs 4-D operands and whole groups of heads");
  }
  const std::vector<Expr> spread = {type.shape[0], heads, *groups, type.shape[2], type.shape[3]};
  const std::vector<Expr> merged = {type.shape[0], query_heads, type.shape[2], type.shape[3]};
  const std::string expanded = e.op("Expand", {e.unsqueeze(value, {2}), e.shape(spread)});
  return e.op("Reshape", {expanded, e.shape(merged)});
}

// The part of the scores above the diagonal that is_causal hides, as an additive mask [L, S].
std::string causal_mask(const LoweringCall& call, DType dtype) {
  Emitter& e = call.emit;
  const Expr queries = call.type(kQuery).shape[call.type(kQuery).rank() - 2];
  const Expr keys = call.type(kKey).shape[call.type(kKey).rank() - 2];
  const std::vector<Expr> sizes = {queries, keys};
  const std::string hidden = e.op("Expand", {e.scalar(-INFINITY, dtype), e.shape(sizes)});
  // Trilu multiplies nothing: it copies, so infinities outside the triangle become zeros.
  return e.op("Trilu", {hidden, e.scalar(1, DType::kInt64)}, {{"upper", int64_t{1}}});
}

std::string masked(const LoweringCall& call, const std::string& scores, DType dtype) {
  Emitter& e = call.emit;
  if (flag(call.arg(kCausal))) return e.op("Add", {scores, causal_mask(call, dtype)});
  if (!call.has(kMask)) return scores;
  if (call.type(kMask).dtype == DType::kBool) {
    const std::string bias =
        e.op("Where", {e.tensor(call.arg(kMask)), e.scalar(0, dtype), e.scalar(-INFINITY, dtype)});
    return e.op("Add", {scores, bias});
  }
  return e.op("Add", {scores, e.tensor(call.arg(kMask), dtype)});
}

// Rows that see no key at all give NaN in a plain softmax; torch gives zeros.
bool may_hide_whole_rows(const LoweringCall& call) {
  return call.has(kMask) && call.type(kMask).dtype == DType::kBool;
}

void attention(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const TensorType& query_type = call.type(kQuery);
  const size_t rank = query_type.rank();
  const std::string query = e.tensor(call.arg(kQuery));
  const bool grouped = call.node.arguments.size() > kGrouped && flag(call.arg(kGrouped));
  const std::string key = grouped ? repeat_heads(call, kKey) : e.tensor(call.arg(kKey));
  const std::string value = grouped ? repeat_heads(call, kValue) : e.tensor(call.arg(kValue));

  std::string scale;
  if (call.has(kScale)) {
    scale = e.tensor(call.arg(kScale), dtype);
  } else {
    const Real width = Real::ratio(query_type.shape.back());
    const Real inverse = Real::binary(RealOp::kTrueDiv, 1.0, Real::unary(RealOp::kSqrt, width));
    scale = e.scalar_real(inverse, dtype);
  }
  const std::string scores =
      e.op("MatMul", {e.op("Mul", {query, scale}), e.matrix_transposed(key, rank)});
  std::string weights = e.op("Softmax", {masked(call, scores, dtype)}, {{"axis", int64_t{-1}}});
  if (may_hide_whole_rows(call)) {
    weights = e.op("Where", {e.op("IsNaN", {weights}), e.scalar(0, dtype), weights});
  }
  call.give(e.op("MatMul", {weights, value}));
}

}  // namespace

std::span<const Lowering> attention_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.scaled_dot_product_attention.default", attention},
  };
  return kRows;
}

}  // namespace portwright
