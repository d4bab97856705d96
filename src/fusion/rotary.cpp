// Rotary embeddings in the form of Transformers' apply_rotary_pos_emb.
#include <array>

#include "fusion/fusions.h"

namespace portwright {
namespace {

enum : size_t { kX, kCos, kSin, kWhole };
enum : size_t { kFirstEnd, kSecondStart, kRestStart };

// x * cos + rotate_half(x) * sin, rotate_half(x) = cat(-x[w / 2:], x[:w / 2]).
Pattern rotation() {
  const Pattern first =
      op("aten.slice.Tensor", {value(kX), last_dim(), equal(0), number(kFirstEnd)});
  const Pattern second = op("aten.slice.Tensor", {value(kX), last_dim(), number(kSecondStart)});
  const Pattern half =
      op("aten.cat.default", {list({op("aten.neg.default", {second}), first}), last_dim()});
  return sum(either_order("aten.mul.Tensor", value(kX), value(kCos)),
             either_order("aten.mul.Tensor", half, value(kSin)));
}

// The same on the first elements of each head; the others pass.
Pattern partial_rotation() {
  const Pattern rest = op("aten.slice.Tensor", {value(kWhole), last_dim(), number(kRestStart)});
  return op("aten.cat.default", {list({rotation(), rest}), last_dim()});
}

// Whether the two halves of the last dim hold the same: what is made elementwise of cat(f, f).
bool has_equal_halves(const Definitions& definitions, const Argument& argument) {
  static constexpr std::array<std::string_view, 6> kElementwise = {
      "aten.cos.default",       "aten.sin.default",   "aten._to_copy.default",
      "aten.unsqueeze.default", "aten.alias.default", "aten.mul.Tensor"};
  const Node* node = definitions.of(argument);
  if (node == nullptr) return false;
  if (node->op == "aten.cat.default") {
    const auto& items = std::get<ValueList>(node->arguments[0]);
    const auto& dim = std::get<Expr>(node->arguments[1]);
    const auto rank = static_cast<int64_t>(definitions.type(node->result()).rank());
    return items.size() == 2 && items[0] == items[1] &&
           (dim.is_constant(-1) || dim.is_constant(rank - 1));
  }
  const bool known =
      std::find(kElementwise.begin(), kElementwise.end(), node->op) != kElementwise.end();
  // A new last dim would not be the halves'; two tensors are not followed.
  if (!known ||
      (node->op == "aten.mul.Tensor" && std::holds_alternative<ValueRef>(node->arguments[1]))) {
    return false;
  }
  const auto& before = definitions.type(node->arguments[0]).shape;
  return !before.empty() && before.back() == definitions.type(node->result()).shape.back() &&
         has_equal_halves(definitions, node->arguments[0]);
}

// How x [batch, ., ., width] lies: heads before the sequence, or after it.
struct Heads {
  size_t dim;
  size_t sequence() const { return 3 - dim; }
};

// cos and sin stand at 1 where the heads are: [batch, 1, seq, width] or [batch, seq, 1, width].
std::optional<Heads> heads_of(const TensorType& x, const TensorType& table) {
  if (x.rank() != 4 || table.rank() != 4) return std::nullopt;
  for (const size_t dim : {size_t{1}, size_t{2}}) {
    const Heads heads{dim};
    const bool fits = table.shape[dim].is_constant(1) &&
                      table.shape[heads.sequence()] == x.shape[heads.sequence()];
    if (fits && x.shape[dim].is_constant()) return heads;
  }
  return std::nullopt;
}

// The first half of cos or sin as [batch, seq, width / 2].
ValueId half_table(Rewriter& out, ValueId table, const TensorType& x, Heads heads) {
  TensorType type = out.type(table);
  const Expr half = floor_div(type.shape.back(), 2);
  const Expr sequence = x.shape[heads.sequence()];
  ValueId id = out.reshaped(table, {type.shape[0], sequence, type.shape.back()});
  id = out.add("aten.slice.Tensor", {ValueRef{id}, Expr(2), Expr(0), half, Expr(1)},
               {type.dtype, {type.shape[0], sequence, half}, {}});
  if (type.shape[0] == x.shape[0]) return id;
  const std::vector<Expr> sizes = {x.shape[0], sequence, half};
  return out.add("aten.expand.default", {ValueRef{id}, IntList(sizes), false},
                 {type.dtype, sizes, {}});
}

// Whether the pattern's constants say: halves of `rotated`, and the rest from there on.
bool is_rotation(const Rewriter& out, const Bindings& bound, bool partial) {
  const TensorType& x = out.type(bound.values[kX]);
  const TensorType& cos = out.type(bound.values[kCos]);
  const auto width = x.shape.empty() ? std::nullopt : x.shape.back().maybe_constant();
  if (!width || *width % 2 != 0 || cos.shape != out.type(bound.values[kSin]).shape) return false;
  const auto half = static_cast<double>(*width) / 2;
  if (cos.rank() != x.rank() || !cos.shape.back().is_constant(*width)) return false;
  if (bound.numbers[kFirstEnd] != half || bound.numbers[kSecondStart] != half) return false;
  if (partial && bound.numbers[kRestStart] != static_cast<double>(*width)) return false;
  return has_equal_halves(out.definitions(), ValueRef{bound.values[kCos]}) &&
         has_equal_halves(out.definitions(), ValueRef{bound.values[kSin]});
}

// Whether x is the first elements of `whole`.
bool is_start_of(const Rewriter& out, ValueId x, ValueId whole) {
  const Node* slice = out.definitions().of(ValueRef{x}, "aten.slice.Tensor");
  return slice != nullptr && slice->arguments[0] == Argument(ValueRef{whole}) &&
         slice->arguments[2] == Argument(Expr(0));
}

}  // namespace

bool fuse_rotary_embedding(Rewriter& out, const Node& node) {
  static const Pattern kWholeHeads = rotation();
  static const Pattern kPartOfHeads = partial_rotation();
  Bindings bound;
  const bool partial = node.op == "aten.cat.default";
  if (!matches(partial ? kPartOfHeads : kWholeHeads, out.definitions(), node, bound) ||
      !is_rotation(out, bound, partial) ||
      (partial && !is_start_of(out, bound.values[kX], bound.values[kWhole]))) {
    return false;
  }
  const ValueId input = bound.values[partial ? kWhole : kX];
  const TensorType x = out.type(input);
  const auto heads = heads_of(x, out.type(bound.values[kCos]));
  const bool floats = x.dtype == DType::kFloat32 || x.dtype == DType::kFloat16;
  if (!heads || !floats || out.type(bound.values[kCos]).dtype != x.dtype) return false;
  if (!x.shape.back().is_constant()) return false;
  const ValueId cos = half_table(out, bound.values[kCos], x, *heads);
  const ValueId sin = half_table(out, bound.values[kSin], x, *heads);
  const Expr& count = x.shape[heads->dim];
  const std::vector<Expr> merged = {x.shape[0], x.shape[heads->sequence()], count * x.shape.back()};
  const std::vector<Expr> split = {merged[0], merged[1], count, x.shape.back()};
  ValueId id = heads->dim == 1 ? out.transposed(input, 1, 2) : input;
  id = out.reshaped(id, merged);
  id = out.add("portwright.rotary_embedding.default",
               {ValueRef{id}, ValueRef{cos}, ValueRef{sin}, count, false}, {x.dtype, merged, {}});
  if (heads->dim == 2) {
    out.give("aten.reshape.default", {ValueRef{id}, IntList(split)}, {node.result()});
  } else {
    id = out.reshaped(id, split);
    out.give("aten.transpose.int", {ValueRef{id}, Expr(1), Expr(2)}, {node.result()});
  }
  return true;
}

}  // namespace portwright
