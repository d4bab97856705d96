// Fused operators (fusion/fusion.h): those of the standard at opset 23, or ONNX Runtime's own.
// Source: onnxruntime's docs/ContribOperators.md.
#include <array>
#include <limits>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr int64_t kAttentionOpset = 23;  // Attention and RotaryEmbedding of the standard

// The providers of other devices have kernels for ONNX Runtime's own operators first.
bool has_own_kernels(OnnxRuntime runtime) {
  return runtime != OnnxRuntime::kStandard && runtime != OnnxRuntime::kCpu;
}

// ONNX Runtime's takes tables [positions, rotated / 2]: here a row for each token, [batch * seq].
std::string own_rotary_embedding(const LoweringCall& call, const OnnxAttributes& attributes) {
  Emitter& e = call.emit;
  const std::vector<Expr> rows = {call.type(1).shape[0], call.type(1).shape[1]};
  const int64_t half = call.type(1).shape[2].constant();
  auto flat = [&](size_t i) {
    const std::string table = e.tensor(call.arg(i));
    return e.once("rows " + table, [&] { return e.op("Reshape", {table, e.ints({-1, half})}); });
  };
  const std::string places = e.once("places " + to_string(rows[0]) + " " + to_string(rows[1]), [&] {
    const std::string all = e.op(
        "Range",
        {e.scalar(0, DType::kInt64), e.scalar_int(rows[0] * rows[1]), e.scalar(1, DType::kInt64)});
    return e.op("Reshape", {all, e.shape(rows)});
  });
  return e.op("com.microsoft::RotaryEmbedding", {e.tensor(call.arg(0)), places, flat(1), flat(2)},
              attributes);
}

// rotary_embedding(x, cos, sin, heads, interleaved).
void rotary_embedding(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t heads = constant_int(call.arg(3));
  const int64_t width = call.type(0).shape[2].constant() / heads;
  const int64_t rotated = 2 * call.type(1).shape[2].constant();
  OnnxAttributes attributes = {{"num_heads", heads}, {"interleaved", int64_t{flag(call.arg(4))}}};
  if (rotated != width) attributes.emplace_back("rotary_embedding_dim", rotated);
  if (has_own_kernels(e.runtime())) return call.give(own_rotary_embedding(call, attributes));
  call.give(e.op("RotaryEmbedding",
                 {e.tensor(call.arg(0)), e.tensor(call.arg(1)), e.tensor(call.arg(2))},
                 attributes));
}

double least_of(DType dtype) {
  return dtype == DType::kFloat16 ? -65504.0 : std::numeric_limits<float>::lowest();
}

// ONNX Runtime's Attention gives zeros for rows of the least number, which Transformers fills with,
// as if it were -inf; torch gives their mean. Half of it means the same in both.
std::string with_finite_rows(const LoweringCall& call, const std::string& mask) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  return e.once("finite " + mask, [&] {
    const std::string raised = e.op("Max", {mask, e.scalar(least_of(dtype) / 2, dtype)});
    const std::string infinite = e.op("Less", {mask, e.scalar(least_of(dtype), dtype)});
    return e.op("Where", {infinite, mask, raised});
  });
}

// A mask that is added. Of a bool one, the least number where a key is not seen, which leaves rows
// without any key finite.
std::string additive(const LoweringCall& call, size_t mask) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  if (call.type(mask).dtype != DType::kBool) {
    return with_finite_rows(call, e.tensor(call.arg(mask), dtype));
  }
  const std::string seen = e.tensor(call.arg(mask));
  return e.once("additive " + seen, [&] {
    return e.op("Where", {seen, e.scalar(0, dtype), e.scalar(least_of(dtype), dtype)});
  });
}

// A mask as Attention takes it, bool or added.
std::string attention_mask(const LoweringCall& call, size_t mask) {
  return call.type(mask).dtype == DType::kBool ? call.emit.tensor(call.arg(mask))
                                               : additive(call, mask);
}

// A mask (or what was made of it) with as many rows as there are queries: ONNX Runtime's kernels
// broadcast over batch and heads only. With `rank`, of four dims.
std::string whole_mask(const LoweringCall& call, const std::string& mask, size_t operand,
                       size_t rank = 2) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(operand);
  std::vector<Expr> shape = type.shape;
  while (shape.size() < rank) shape.insert(shape.begin(), Expr(1));
  shape.at(shape.size() - 2) = call.type(0).shape[1];
  if (shape == type.shape) return mask;
  const std::string sizes = e.shape(shape);
  return e.once("whole " + mask + " " + sizes, [&] { return e.op("Expand", {mask, sizes}); });
}

void multi_head_attention(const LoweringCall& call) {
  Emitter& e = call.emit;
  std::vector<std::string> operands = {e.tensor(call.arg(0)), e.tensor(call.arg(1)),
                                       e.tensor(call.arg(2))};
  OnnxAttributes attributes = {{"num_heads", constant_int(call.arg(6))},
                               {"scale", static_cast<float>(*constant_number(call.arg(5)))}};
  if (constant_int(call.arg(4)) == kAllButLater) {
    attributes.emplace_back("unidirectional", int64_t{1});
  } else if (call.has(3)) {
    operands.insert(operands.end(), {"", "", whole_mask(call, additive(call, 3), 3, 4)});
  }
  call.give(e.op("com.microsoft::MultiHeadAttention", operands, attributes));
}

// attention(query, key, value, mask, causal, scale, heads, key_heads).
void attention(const LoweringCall& call) {
  Emitter& e = call.emit;
  if (has_own_kernels(e.runtime())) return multi_head_attention(call);
  std::vector<std::string> operands = {e.tensor(call.arg(0)), e.tensor(call.arg(1)),
                                       e.tensor(call.arg(2))};
  OnnxAttributes attributes = {{"q_num_heads", constant_int(call.arg(6))},
                               {"kv_num_heads", constant_int(call.arg(7))},
                               {"scale", static_cast<float>(*constant_number(call.arg(5)))}};
  if (constant_int(call.arg(4)) == kAllButLater) {
    attributes.emplace_back("is_causal", int64_t{1});
  } else if (call.has(3)) {
    operands.push_back(whole_mask(call, attention_mask(call, 3), 3));
  }
  call.give(e.op("Attention", operands, attributes));
}

// The tokens after this step, as GroupQueryAttention takes them: int32 [batch] of the last key's
// position, and their number, a scalar.
struct Lengths {
  std::string last_key, total;
};

Lengths lengths_of(const LoweringCall& call, size_t total, const Expr& batch) {
  Emitter& e = call.emit;
  const Argument& argument = call.arg(total);
  const auto* expr = std::get_if<Expr>(&argument);
  const std::string count = expr != nullptr ? e.scalar_int(*expr) : e.tensor(argument);
  Lengths lengths;
  lengths.total =
      e.once("int32 " + count, [&] { return e.cast(count, DType::kInt64, DType::kInt32); });
  lengths.last_key = e.once("last key " + count, [&] {
    const std::string last = e.op("Sub", {lengths.total, e.scalar(1, DType::kInt32)});
    return e.op("Expand", {last, e.dim(batch)});
  });
  return lengths;
}

enum : size_t {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kMask,
  kCausal,
  kTotal,
  kScale,
  kHeads,
  kKeyHeads
};

// Where it can be told from the sizes.
Predicate has_no_past(const LoweringCall& call) {
  if (!std::holds_alternative<Expr>(call.arg(kTotal))) return false;
  return Predicate::compare(call.type(kPastKey).shape[2], Relation::kLe, 0);
}

// Its kernels take several new tokens behind a past for one sequence only.
void group_query_attention(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& query = call.type(kQuery);
  e.require(Predicate::compare(query.shape[0], Relation::kLe, 1) ||
                Predicate::compare(query.shape[1], Relation::kLe, 1) || has_no_past(call),
            call.node);
  const Lengths lengths = lengths_of(call, kTotal, query.shape[0]);
  std::vector<std::string> operands = {e.tensor(call.arg(kQuery)),
                                       e.tensor(call.arg(kKey)),
                                       e.tensor(call.arg(kValue)),
                                       e.tensor(call.arg(kPastKey)),
                                       e.tensor(call.arg(kPastValue)),
                                       lengths.last_key,
                                       lengths.total};
  if (constant_int(call.arg(kCausal)) != kAllButLater && call.has(kMask)) {
    operands.insert(operands.end(),
                    {"", "", "", whole_mask(call, additive(call, kMask), kMask, 4)});
  }
  const auto results = e.ops("com.microsoft::GroupQueryAttention", operands, 3,
                             {{"num_heads", constant_int(call.arg(kHeads))},
                              {"kv_num_heads", constant_int(call.arg(kKeyHeads))},
                              {"scale", static_cast<float>(*constant_number(call.arg(kScale)))}});
  for (size_t i = 0; i < results.size(); ++i) call.give(results[i], i);
}

// The standard's Attention takes the mask as it is: what its own causal mask hides behind a past
// changed with the opset.
void standard_cached_attention(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string mask =
      call.has(kMask) ? whole_mask(call, attention_mask(call, kMask), kMask) : std::string();
  const auto results =
      e.ops("Attention",
            {e.tensor(call.arg(kQuery)), e.tensor(call.arg(kKey)), e.tensor(call.arg(kValue)), mask,
             e.tensor(call.arg(kPastKey)), e.tensor(call.arg(kPastValue))},
            3,
            {{"q_num_heads", constant_int(call.arg(kHeads))},
             {"kv_num_heads", constant_int(call.arg(kKeyHeads))},
             {"scale", static_cast<float>(*constant_number(call.arg(kScale)))}});
  for (size_t i = 0; i < results.size(); ++i) call.give(results[i], i);
}

void cached_attention(const LoweringCall& call) {
  if (call.emit.runtime() == OnnxRuntime::kStandard) return standard_cached_attention(call);
  group_query_attention(call);
}

void give_skip_norm(const LoweringCall& call, const char* op, std::vector<std::string> operands,
                    size_t epsilon) {
  const auto results =
      call.emit.ops(op, std::move(operands), 4,
                    {{"epsilon", static_cast<float>(*constant_number(call.arg(epsilon)))}});
  call.give(results[0], 0);
  call.give(results[3], 1);
}

// skip_rms_norm(x, skip, weight, epsilon).
void skip_rms_norm(const LoweringCall& call) {
  Emitter& e = call.emit;
  give_skip_norm(call, "com.microsoft::SkipSimplifiedLayerNormalization",
                 {e.tensor(call.arg(0)), e.tensor(call.arg(1)), e.tensor(call.arg(2))}, 3);
}

// skip_layer_norm(x, skip, weight, bias, epsilon).
void skip_layer_norm(const LoweringCall& call) {
  Emitter& e = call.emit;
  std::vector<std::string> operands = {e.tensor(call.arg(0)), e.tensor(call.arg(1)),
                                       e.tensor(call.arg(2))};
  if (call.has(3)) operands.push_back(e.tensor(call.arg(3)));
  give_skip_norm(call, "com.microsoft::SkipLayerNormalization", std::move(operands), 4);
}

}  // namespace

OnnxRuntime runtime_named(const std::string& name) {
  static constexpr std::array<std::pair<std::string_view, OnnxRuntime>, 4> kNames = {
      {{"cpu", OnnxRuntime::kCpu},
       {"cuda", OnnxRuntime::kCuda},
       {"webgpu", OnnxRuntime::kWebGpu},
       {"dml", OnnxRuntime::kDirectMl}}};
  for (const auto& [known, runtime] : kNames) {
    if (known == name) return runtime;
  }
  throw Error(ErrorCode::kInvalidArgument,
              "ort_fusions must be 'cpu', 'cuda', 'webgpu' or 'dml', not '" + name + "'");
}

FusionTarget fusion_target(OnnxRuntime runtime, int64_t opset) {
  FusionTarget target;
  target.rotary = target.attention = opset >= kAttentionOpset;
  target.skip_norms = has_own_kernels(runtime);
  target.grouped_attention = !has_own_kernels(runtime);  // MultiHeadAttention has no groups
  target.cached_attention = target.attention;
  target.fixed_cache = target.attention && runtime != OnnxRuntime::kStandard;
  target.float32_cache = runtime != OnnxRuntime::kCuda;  // its kernel is for halves
  target.cache_width_multiple = runtime == OnnxRuntime::kStandard ? 1 : 8;
  return target;
}

std::span<const Lowering> composite_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"portwright.skip_rms_norm.default", skip_rms_norm},
      Lowering{"portwright.skip_layer_norm.default", skip_layer_norm},
      Lowering{"portwright.rotary_embedding.default", rotary_embedding},
      Lowering{"portwright.attention.default", attention},
      Lowering{"portwright.cached_attention.default", cached_attention},
  };
  return kRows;
}

}  // namespace portwright
