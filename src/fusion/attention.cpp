// Scaled dot product attention with its grouped heads, its masks and its cache.
#include <cmath>

#include "fusion/attention_operands.h"
#include "fusion/causal.h"
#include "fusion/fusions.h"

namespace portwright {
namespace {

// Operands of aten.scaled_dot_product_attention.default.
enum : size_t { kQuery, kKey, kValue, kMask, kDropout, kIsCausal, kScale, kGrouped };

// Attention on [batch, heads, length, width], key and value heads not repeated.
struct Attention {
  ValueId query = kNoValue, key = kNoValue, value = kNoValue;
  Argument mask;
  bool is_causal = false;
  double scale = 1;
  Expr heads, key_heads;
};

ValueId id_of(const Argument& argument) { return std::get<ValueRef>(argument).id; }

bool is_float(const TensorType& type) {
  return type.dtype == DType::kFloat32 || type.dtype == DType::kFloat16;
}

std::optional<double> scale_of(const Node& node, const TensorType& query) {
  const Argument& scale = node.arguments.at(kScale);
  if (const auto* number = std::get_if<double>(&scale)) return *number;
  if (!std::holds_alternative<None>(scale)) return std::nullopt;
  return 1 / std::sqrt(static_cast<double>(query.shape[3].constant()));
}

// With `grouped`, key and value heads are taken as they were before they were repeated.
std::optional<Attention> read(const Rewriter& out, const Node& node, bool grouped) {
  if (node.op != "aten.scaled_dot_product_attention.default") return std::nullopt;
  const Definitions& definitions = out.definitions();
  if (node.arguments.at(kDropout) != Argument(0.0)) return std::nullopt;
  Attention found;
  found.query = id_of(node.arguments[kQuery]);
  found.key = id_of(node.arguments[kKey]);
  found.value = id_of(node.arguments[kValue]);
  if (grouped) {
    found.key = before_repeating(definitions, found.key);
    found.value = before_repeating(definitions, found.value);
  }
  found.mask = before_expanding(definitions, node.arguments[kMask]);
  if (hides_nothing(definitions, node.arguments[kMask])) found.mask = None{};
  found.is_causal = std::get<bool>(node.arguments[kIsCausal]);
  for (const ValueId id : {found.query, found.key, found.value}) {
    const TensorType& type = out.type(id);
    const bool fits = is_float(type) && type.rank() == 4 && type.shape[1].is_constant() &&
                      type.shape[3].is_constant() &&
                      type.shape[0] == out.type(found.query).shape[0];
    if (!fits) return std::nullopt;
  }
  const auto scale = scale_of(node, out.type(found.query));
  found.heads = out.type(found.query).shape[1];
  found.key_heads = out.type(found.key).shape[1];
  const bool fits_groups = found.key_heads == out.type(found.value).shape[1] &&
                           found.key_heads.constant() > 0 &&
                           mod(found.heads, found.key_heads).is_constant(0) &&
                           out.type(found.key).shape[2] == out.type(found.value).shape[2];
  if (!scale || !fits_groups || (!grouped && found.key_heads != found.heads)) return std::nullopt;
  found.scale = *scale;
  return found;
}

// Whether both count the tokens before the first query. Each layer of a cache of fixed size has a
// counter of its own, and the mask of all of them comes from the first one's.
bool is_same_count(Rewriter& out, const Offset& a, const Offset& b) {
  if (a == b) return true;
  const auto* one = std::get_if<ValueId>(&a);
  const auto* other = std::get_if<ValueId>(&b);
  if (one == nullptr || other == nullptr) return false;
  const auto cache = [&](ValueId id) -> std::string {
    const std::string& name = out.name(id);
    const size_t counter = name.rfind(".cumulative_length");
    if (counter == std::string::npos || counter == 0) return "";
    return name.substr(0, name.rfind('.', counter - 1));
  };
  if (cache(*one).empty() || cache(*one) != cache(*other)) return false;
  out.note("the layers of " + cache(*one) + " are taken to hold the same number of tokens");
  return true;
}

// `offset`: how many keys lie before the first query's own.
Causality causality(Rewriter& out, const Attention& attention, const Expr& queries,
                    const Offset& offset) {
  if (std::holds_alternative<None>(attention.mask)) {
    // Without a mask a query sees places of a buffer that hold no token yet.
    const auto* before = std::get_if<Expr>(&offset);
    const bool full = before != nullptr && *before + queries == out.type(attention.key).shape[2];
    const bool causal = attention.is_causal && offset == Offset(Expr(0));
    return full && (causal || queries.is_constant(1)) ? kAllButLater : kAnything;
  }
  const MaskFacts facts = facts_of(out.definitions(), attention.mask);
  if (!facts.causal || !is_same_count(out, *facts.causal, offset)) return kAnything;
  return facts.only_causal ? kAllButLater : kNothingLater;
}

ValueId merged_heads(Rewriter& out, ValueId id) {
  const std::vector<Expr> shape = out.type(id).shape;
  return out.reshaped(out.transposed(id, 1, 2), {shape[0], shape[2], shape[1] * shape[3]});
}

// Whether rows that a bool mask hides entirely can be told for all heads at once.
bool is_same_for_heads(const Rewriter& out, const Argument& mask) {
  if (std::holds_alternative<None>(mask)) return true;
  const TensorType& type = out.type(id_of(mask));
  if (type.dtype != DType::kBool) return true;
  return type.rank() == 2 || (type.rank() == 4 && type.shape[1].is_constant(1));
}

// torch gives zeros for rows that see no key; kernels give their mean or NaN.
ValueId zero_where_unseen(Rewriter& out, ValueId result, const Argument& mask) {
  const TensorType type = out.type(id_of(mask));
  std::vector<Expr> shape = type.shape;
  shape.back() = 1;
  ValueId seen = out.add("aten.any.dim", {mask, Expr(-1), true}, {DType::kBool, shape, {}});
  if (shape.size() == 4) seen = out.reshaped(seen, {shape[0], shape[2], Expr(1)});
  return out.add("aten.where.self", {ValueRef{seen}, ValueRef{result}, 0.0},
                 {out.type(result).dtype, out.type(result).shape, {}});
}

bool hides_rows(const Rewriter& out, const Argument& mask, Causality causal) {
  return causal != kAllButLater && !std::holds_alternative<None>(mask) &&
         out.type(id_of(mask)).dtype == DType::kBool;
}

TensorType merged_type(const Rewriter& out, const Attention& attention) {
  const TensorType& query = out.type(attention.query);
  return {query.dtype,
          {query.shape[0], query.shape[2], query.shape[1] * out.type(attention.value).shape[3]},
          {}};
}

// [batch, queries, heads * width] to the node's [batch, heads, queries, width].
void give_split(Rewriter& out, const Node& node, const Attention& attention, ValueId merged,
                Causality causal) {
  if (hides_rows(out, attention.mask, causal)) {
    merged = zero_where_unseen(out, merged, attention.mask);
  }
  const std::vector<Expr> shape = out.type(node.result()).shape;
  const ValueId split = out.reshaped(merged, {shape[0], shape[2], shape[1], shape[3]});
  out.give("aten.transpose.int", {ValueRef{split}, Expr(1), Expr(2)}, {node.result()});
}

// The new keys or values and the past that they go behind.
struct Cached {
  ValueId present = kNoValue, past = kNoValue, fresh = kNoValue;
  Offset offset;  // tokens before the new ones
};

bool fits_past(const Rewriter& out, const Cached& cached, const Attention& attention) {
  const auto& past = out.type(cached.past).shape;
  const auto& fresh = out.type(cached.fresh).shape;
  return past.size() == 4 && fresh.size() == 4 && past[0] == fresh[0] && past[1] == fresh[1] &&
         past[3] == fresh[3] && fresh[2] == out.type(attention.query).shape[2];
}

std::optional<Cached> grown(const Rewriter& out, ValueId id) {
  const Node* cat = out.definitions().of(ValueRef{id}, "aten.cat.default");
  if (cat == nullptr) return std::nullopt;
  const auto& items = std::get<ValueList>(cat->arguments[0]);
  const auto& dim = std::get<Expr>(cat->arguments[1]);
  if (items.size() != 2 || !(dim.is_constant(2) || dim.is_constant(-2))) return std::nullopt;
  return Cached{id, items[0], items[1], out.type(items[0]).shape.at(2)};
}

std::optional<Cached> written(const Rewriter& out, ValueId id) {
  const Node* copy = out.definitions().of(ValueRef{id}, "aten.index_copy.default");
  if (copy == nullptr) return std::nullopt;
  const auto& dim = std::get<Expr>(copy->arguments[1]);
  if (!(dim.is_constant(2) || dim.is_constant(-2))) return std::nullopt;
  const auto offset = counts_along(out.definitions(), copy->arguments[2], -1);
  if (!offset) return std::nullopt;
  return Cached{id, id_of(copy->arguments[0]), id_of(copy->arguments[3]), *offset};
}

bool has_cache_kernel(const Rewriter& out, const Attention& attention) {
  const FusionTarget& target = out.target();
  const TensorType& key = out.type(attention.key);
  if (key.dtype == DType::kFloat32 && !target.float32_cache) return false;
  if (target.cache_width_multiple == 1) return true;
  return key.shape[3].constant() % target.cache_width_multiple == 0 &&
         key.shape[3] == out.type(attention.value).shape[3];
}

using CacheReader = std::optional<Cached> (*)(const Rewriter&, ValueId);

// int64 tokens that the cache holds afterwards.
Argument total_after(Rewriter& out, const Offset& offset, const Expr& queries) {
  if (const auto* expr = std::get_if<Expr>(&offset)) return *expr + queries;
  const ValueId counted = std::get<ValueId>(offset);
  return ValueRef{out.add("aten.add.Tensor", {ValueRef{counted}, queries, Expr(1)},
                          {out.type(counted).dtype, {}, {}})};
}

// Of the counters of a cache, which hold the same, the one that the mask of all layers comes from.
Offset counter(const Rewriter& out, const Attention& attention, const Offset& own) {
  const MaskFacts facts = facts_of(out.definitions(), attention.mask);
  return facts.causal ? *facts.causal : own;
}

bool fuse_cached(Rewriter& out, const Node& node, CacheReader reader) {
  const auto attention = read(out, node, true);
  if (!attention || !is_same_for_heads(out, attention->mask)) return false;
  if (!has_cache_kernel(out, *attention)) return false;
  const auto key = reader(out, attention->key);
  const auto value = reader(out, attention->value);
  if (!key || !value || !fits_past(out, *key, *attention) || !fits_past(out, *value, *attention)) {
    return false;
  }
  if (key->offset != value->offset) return false;
  const Expr queries = out.type(attention->query).shape[2];
  const Causality causal = causality(out, *attention, queries, key->offset);
  if (causal == kAnything) return false;
  const Argument total = total_after(out, counter(out, *attention, key->offset), queries);
  const ValueId query = merged_heads(out, attention->query);
  const ValueId fresh_key = merged_heads(out, key->fresh);
  const ValueId fresh_value = merged_heads(out, value->fresh);
  const ValueId result = out.make(merged_type(out, *attention));
  const ValueId present_key = out.make(out.type(key->present));
  const ValueId present_value = out.make(out.type(value->present));
  out.give("portwright.cached_attention.default",
           {ValueRef{query}, ValueRef{fresh_key}, ValueRef{fresh_value}, ValueRef{key->past},
            ValueRef{value->past}, attention->mask, Expr(int64_t{causal}), total, attention->scale,
            attention->heads, attention->key_heads},
           {result, present_key, present_value});
  out.replace(key->present, present_key);
  out.replace(value->present, present_value);
  give_split(out, node, *attention, result, causal);
  return true;
}

}  // namespace

bool fuse_cached_attention(Rewriter& out, const Node& node) {
  return fuse_cached(out, node, grown);
}

bool fuse_fixed_cache_attention(Rewriter& out, const Node& node) {
  return fuse_cached(out, node, written);
}

bool fuse_attention(Rewriter& out, const Node& node) {
  const auto attention = read(out, node, out.target().grouped_attention);
  if (!attention || !is_same_for_heads(out, attention->mask)) return false;
  const Expr queries = out.type(attention->query).shape[2];
  const bool as_long = queries == out.type(attention->key).shape[2];
  if (attention->is_causal && !as_long) return false;
  const Causality causal = as_long ? causality(out, *attention, queries, Expr(0)) : kAnything;
  const ValueId query = merged_heads(out, attention->query);
  const ValueId key = merged_heads(out, attention->key);
  const ValueId value = merged_heads(out, attention->value);
  const ValueId result =
      out.add("portwright.attention.default",
              {ValueRef{query}, ValueRef{key}, ValueRef{value}, attention->mask,
               Expr(int64_t{causal}), attention->scale, attention->heads, attention->key_heads},
              merged_type(out, *attention));
  give_split(out, node, *attention, result, causal);
  return true;
}

}  // namespace portwright
