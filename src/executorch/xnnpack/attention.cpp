#include "executorch/xnnpack/attention.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "executorch/xnnpack/value_range.h"
#include "fusion/attention_operands.h"
#include "fusion/causal.h"

namespace portwright {
namespace {

// Operands of aten.scaled_dot_product_attention.default.
enum : size_t { kQuery, kKey, kValue, kMask, kDropout, kIsCausal, kScale, kGrouped };

// Added to a score it hides the key, and no row of such scores is infinite throughout.
constexpr double kHidden = -static_cast<double>(std::numeric_limits<float>::max());

ValueId id_of(const Argument& argument) { return std::get<ValueRef>(argument).id; }

TensorType float_type(std::vector<Expr> shape) { return {DType::kFloat32, std::move(shape), {}}; }

// Whether each row of a constant bool mask has a key that is seen.
bool rows_see_keys(const Weight& mask) {
  const std::vector<std::byte> bytes = mask.copy_bytes();
  const auto keys = static_cast<ptrdiff_t>(mask.shape.back());
  for (auto row = bytes.begin(); row != bytes.end(); row += keys) {
    if (std::count(row, row + keys, std::byte{0}) == keys) return false;
  }
  return true;
}

struct Attention {
  ValueId query = kNoValue, key = kNoValue, value = kNoValue;
  AdditiveMask mask;
  double scale = 1;
};

class AttentionWriter {
 public:
  AttentionWriter(Rewriter& out, const Attention& attention) : out_(out), a_(attention) {}

  // [.., queries, value width]; scores and weights are float32. The dims before the last two of
  // keys and values may be fewer than the query's.
  ValueId write(ValueId query) {
    const std::vector<Expr> keys = out_.type(a_.key).shape, values = out_.type(a_.value).shape;
    const DType dtype = out_.type(query).dtype;
    const ValueId scaled = binary("aten.mul.Tensor", query, a_.scale);
    const auto rank = static_cast<int64_t>(keys.size());
    const ValueId turned = out_.transposed(a_.key, rank - 2, rank - 1);
    ValueId scores = out_.cast(product(scaled, turned, keys[keys.size() - 2]), DType::kFloat32);
    if (a_.mask.bias) scores = binary("aten.add.Tensor", scores, ValueRef{*a_.mask.bias}, Expr(1));
    ValueId weights =
        out_.add("aten.softmax.int", {ValueRef{scores}, Expr(-1), None{}}, out_.type(scores));
    weights = out_.cast(weights, dtype);
    ValueId result = product(weights, a_.value, values.back());
    if (!a_.mask.alive) return result;
    return binary("aten.mul.Tensor", result, ValueRef{out_.cast(*a_.mask.alive, dtype)});
  }

 private:
  template <typename... More>
  ValueId binary(const std::string& op, ValueId a, Argument b, More... more) {
    return out_.add(op, {ValueRef{a}, std::move(b), more...}, like(a, out_.type(a).shape));
  }

  ValueId product(ValueId a, ValueId b, const Expr& width) {
    std::vector<Expr> shape = out_.type(a).shape;
    shape.back() = width;
    return out_.add("aten.matmul.default", {ValueRef{a}, ValueRef{b}}, like(a, std::move(shape)));
  }

  TensorType like(ValueId a, std::vector<Expr> shape) const {
    return {out_.type(a).dtype, std::move(shape), {}};
  }

  Rewriter& out_;
  const Attention& a_;
};

ValueId permuted(Rewriter& out, ValueId id, const std::vector<int64_t>& order) {
  std::vector<Expr> shape;
  shape.reserve(order.size());
  for (const int64_t dim : order) shape.push_back(out.type(id).shape[static_cast<size_t>(dim)]);
  return out.add("aten.permute.default", {ValueRef{id}, IntList(order.begin(), order.end())},
                 {out.type(id).dtype, std::move(shape), {}});
}

// The mask says the same to all heads.
bool spares_heads(const Rewriter& out, const std::optional<ValueId>& mask) {
  if (!mask) return true;
  const auto& shape = out.type(*mask).shape;
  return shape.size() < 3 || shape[shape.size() - 3].is_constant(1);
}

// Heads that share keys and values: of one query they are the rows of one product; of several they
// stand before the other dims, where keys, values and masks broadcast.
ValueId write_grouped(Rewriter& out, const Attention& attention,
                      std::map<ValueId, ValueId>& apart) {
  const std::vector<Expr> shape = out.type(attention.query).shape;
  const Expr heads = out.type(attention.key).shape[1];
  const Expr group = floor_div(shape[1], heads), width = out.type(attention.value).shape[3];
  AttentionWriter writer(out, attention);
  if (shape[2].is_constant(1)) {
    const ValueId rows = out.reshaped(attention.query, {shape[0], heads, group, shape[3]});
    return out.reshaped(writer.write(rows), {shape[0], shape[1], shape[2], width});
  }
  const ValueId split = out.reshaped(attention.query, {shape[0], heads, group, shape[2], shape[3]});
  const ValueId result = writer.write(permuted(out, split, {2, 0, 1, 3, 4}));
  const ValueId merged =
      out.reshaped(permuted(out, result, {1, 2, 0, 3, 4}), {shape[0], shape[1], shape[2], width});
  apart[merged] = result;
  return merged;
}

// Operands that XNNPACK takes: of one dtype and rank, of constant width.
bool fits(const Rewriter& out, const Attention& attention) {
  const TensorType& query = out.type(attention.query);
  if (query.dtype != DType::kFloat32 && query.dtype != DType::kFloat16) return false;
  for (const ValueId id : {attention.query, attention.key, attention.value}) {
    const TensorType& type = out.type(id);
    const bool same = type.dtype == query.dtype && type.rank() == query.rank() &&
                      type.shape.back().is_constant() && type.shape[0] == query.shape[0];
    if (!same || type.rank() < 3 || type.rank() > 4) return false;
  }
  return true;
}

bool has_groups(const Rewriter& out, const Attention& attention) {
  return out.type(attention.query).shape[1] != out.type(attention.key).shape[1];
}

// Heads that divide into groups.
bool fits_groups(const Rewriter& out, const Attention& attention) {
  const TensorType &query = out.type(attention.query), &key = out.type(attention.key),
                   &value = out.type(attention.value);
  const bool constant = query.rank() == 4 && query.shape[1].is_constant() &&
                        key.shape[1].is_constant() && key.shape[1] == value.shape[1];
  return constant && mod(query.shape[1], key.shape[1]).is_constant(0) &&
         spares_heads(out, attention.mask.bias);
}

std::optional<double> scale_of(const Node& node, const TensorType& query) {
  const Argument& scale = node.arguments.at(kScale);
  if (const auto* number = std::get_if<double>(&scale)) return *number;
  if (!std::holds_alternative<None>(scale) || !query.shape.back().is_constant()) return {};
  return 1 / std::sqrt(static_cast<double>(query.shape.back().constant()));
}

}  // namespace

// (mask - 1) * max: 0 where a key is seen.
AdditiveMask AttentionMasks::of_bool(ValueId mask, bool rows_see_keys) {
  const TensorType type = float_type(out_.type(mask).shape);
  const ValueId less = out_.add(
      "aten.sub.Tensor", {ValueRef{out_.cast(mask, DType::kFloat32)}, Expr(1), Expr(1)}, type);
  AdditiveMask made;
  made.bias = out_.add("aten.mul.Tensor", {ValueRef{less}, -kHidden}, type);
  if (rows_see_keys) return made;
  TensorType rows{DType::kBool, type.shape, {}};
  rows.shape.back() = 1;
  made.alive =
      out_.cast(out_.add("aten.any.dim", {ValueRef{mask}, Expr(-1), true}, rows), DType::kFloat32);
  return made;
}

// A row that is infinite throughout hides all keys: it becomes zeros, whose softmax is finite.
AdditiveMask AttentionMasks::of_float(ValueId narrow) {
  const ValueId mask = out_.cast(narrow, DType::kFloat32);
  if (value_range(out_.definitions(), ValueRef{narrow})) return {mask, std::nullopt};
  const TensorType type = float_type(out_.type(mask).shape);
  const double infinite = -std::numeric_limits<double>::infinity();
  TensorType rows{DType::kBool, type.shape, {}};
  const ValueId seen = out_.add("aten.ne.Scalar", {ValueRef{mask}, infinite}, rows);
  rows.shape.back() = 1;
  const ValueId some = out_.add("aten.any.dim", {ValueRef{seen}, Expr(-1), true}, rows);
  const ValueId none = out_.add("aten.logical_not.default", {ValueRef{some}}, rows);
  AdditiveMask made;
  made.bias = out_.add("aten.masked_fill.Scalar", {ValueRef{mask}, ValueRef{none}, Expr(0)}, type);
  made.alive = out_.cast(some, DType::kFloat32);
  return made;
}

std::optional<AdditiveMask> AttentionMasks::of(const Argument& mask) {
  if (std::holds_alternative<None>(mask)) return AdditiveMask{};
  const ValueId id = id_of(mask);
  const DType dtype = out_.type(id).dtype;
  const bool is_float = dtype == DType::kFloat32 || dtype == DType::kFloat16;
  if ((!is_float && dtype != DType::kBool) || out_.type(id).rank() == 0) return std::nullopt;
  const auto found = made_.find(id);
  if (found != made_.end()) return found->second;
  if (is_float) return made_[id] = of_float(id);
  return made_[id] = of_bool(id, has_key_in_each_row(mask));
}

bool AttentionMasks::has_key_in_each_row(const Argument& mask) const {
  if (const Weight* weight = out_.definitions().weight(mask)) return rows_see_keys(*weight);
  const MaskFacts facts = facts_of(out_.definitions(), mask);
  if (!facts.causal || !facts.only_causal) return false;
  // The first key is seen by all when no query stands before it.
  const auto* offset = std::get_if<Expr>(&*facts.causal);
  return offset == nullptr || symbols_.range(*offset).lo >= 0;
}

AdditiveMask AttentionMasks::causal(const Expr& queries, const Expr& keys) {
  const std::string key = to_string(queries) + "|" + to_string(keys);
  const auto found = causal_.find(key);
  if (found != causal_.end()) return found->second;
  const auto counted = [&](const Expr& count, int64_t dim, std::vector<Expr> shape) {
    const ValueId places =
        out_.add("aten.arange.default", {count, None{}, None{}, Device{"cpu"}, false},
                 {DType::kInt64, {count}, {}});
    return out_.add("aten.unsqueeze.default", {ValueRef{places}, Expr(dim)},
                    {DType::kInt64, std::move(shape), {}});
  };
  const ValueId rows = counted(queries, 1, {queries, 1}), columns = counted(keys, 0, {1, keys});
  const ValueId seen = out_.add("aten.le.Tensor", {ValueRef{columns}, ValueRef{rows}},
                                {DType::kBool, {queries, keys}, {}});
  return causal_[key] = of_bool(seen, true);
}

// Queries before heads, as models want the result next: from groups of heads that is one step.
bool AttentionRewriter::turn_heads(const Node& node) {
  const bool turns = node.op == "aten.transpose.int" && node.arguments[1] == Argument(Expr(1)) &&
                     node.arguments[2] == Argument(Expr(2));
  if (!turns) return false;
  const auto found = apart_.find(out_.current(id_of(node.arguments[0])));
  if (found == apart_.end()) return false;
  const std::vector<Expr> shape = out_.type(node.result()).shape;
  out_.replace(node.result(), out_.reshaped(permuted(out_, found->second, {1, 3, 2, 0, 4}), shape));
  return true;
}

bool AttentionRewriter::decompose(const Node& node) {
  if (node.op != "aten.scaled_dot_product_attention.default") return false;
  if (node.arguments.at(kDropout) != Argument(0.0)) return false;
  Rewriter& out = out_;
  const Definitions& definitions = out.definitions();
  Attention attention;
  attention.query = id_of(node.arguments[kQuery]);
  attention.key = id_of(node.arguments[kKey]);
  attention.value = id_of(node.arguments[kValue]);
  const auto scale = scale_of(node, out.type(attention.query));
  if (!scale || !fits(out, attention)) return false;
  attention.scale = *scale;

  const std::vector<Expr> query = out.type(attention.query).shape;
  const std::vector<Expr> key = out.type(attention.key).shape;
  const size_t rank = query.size();
  if (std::get<bool>(node.arguments[kIsCausal])) {
    attention.mask = masks_.causal(query[rank - 2], key[rank - 2]);
  } else if (!hides_nothing(definitions, node.arguments[kMask])) {
    const auto mask = masks_.of(before_expanding(definitions, node.arguments[kMask]));
    if (!mask) return false;
    attention.mask = *mask;
  }
  Attention grouped = attention;
  grouped.key = before_repeating(definitions, attention.key);
  grouped.value = before_repeating(definitions, attention.value);
  ValueId result = kNoValue;
  if (fits(out, grouped) && has_groups(out, grouped) && fits_groups(out, grouped)) {
    result = write_grouped(out, grouped, apart_);
  } else if (rank == 3 || !has_groups(out, attention)) {
    result = AttentionWriter(out, attention).write(attention.query);
  } else {
    return false;
  }
  out.replace(node.result(), result);
  return true;
}

}  // namespace portwright
