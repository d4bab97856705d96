#include "fusion/causal.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace portwright {
namespace {

// The first element of a constant, when the others count up from it along `axis` and repeat that
// along the other dims.
std::optional<Offset> counted_constant(const Weight& weight, int64_t axis) {
  const auto rank = static_cast<int64_t>(weight.shape.size());
  if (weight.dtype != DType::kInt64 || rank + axis < 0 || weight.numel() == 0) return std::nullopt;
  const std::vector<std::byte> bytes = weight.copy_bytes();
  int64_t inner = 1;
  for (int64_t d = rank + axis + 1; d < rank; ++d) inner *= weight.shape[d];
  int64_t first = 0;
  for (int64_t i = 0; i < weight.numel(); ++i) {
    int64_t element;
    std::memcpy(&element, bytes.data() + i * sizeof(element), sizeof(element));
    if (i == 0) first = element;
    if (element != first + i / inner % weight.shape[rank + axis]) return std::nullopt;
  }
  return Expr(first);
}

// The offset of a 1-D arange, with an int or a scalar tensor added.
std::optional<Offset> counted_from(const Definitions& definitions, const Argument& tensor) {
  if (const Weight* weight = definitions.weight(tensor)) {
    return weight->shape.size() == 1 ? counted_constant(*weight, -1) : std::nullopt;
  }
  const Node* node = definitions.of(tensor);
  if (node == nullptr || definitions.type(node->result()).rank() != 1) return std::nullopt;
  if (node->op == "aten.arange.default") return Expr(0);
  if (node->op == "aten.arange.start") return std::get<Expr>(node->arguments[0]);
  if (node->op != "aten.add.Tensor" || node->arguments[2] != Argument(Expr(1))) return std::nullopt;
  for (const size_t i : {size_t{0}, size_t{1}}) {
    const auto start = counted_from(definitions, node->arguments[i]);
    if (!start || !std::holds_alternative<Expr>(*start)) continue;
    const auto& from = std::get<Expr>(*start);
    const Argument& more = node->arguments[1 - i];
    if (const auto* expr = std::get_if<Expr>(&more)) return from + *expr;
    const auto* ref = std::get_if<ValueRef>(&more);
    if (ref != nullptr && definitions.type(ref->id).rank() == 0 && from.is_constant(0)) {
      return ref->id;
    }
  }
  return std::nullopt;
}

bool same(const Offset& a, const Offset& b) { return a == b; }

// Views that repeat or place a mask, without changing its last two dims' meaning.
const Argument* behind_views(const Definitions& definitions, const Argument& mask) {
  static constexpr std::array<std::string_view, 4> kViews = {
      "aten.expand.default", "aten.alias.default", "aten._to_copy.default",
      "aten.unsqueeze.default"};
  const Node* node = definitions.of(mask);
  if (node == nullptr) return nullptr;
  if (std::find(kViews.begin(), kViews.end(), node->op) == kViews.end()) return nullptr;
  const auto& before = definitions.type(node->arguments[0]);
  const auto& after = definitions.type(node->result());
  if (before.dtype != after.dtype || before.rank() < 2 ||
      before.shape.back() != after.shape.back() ||
      before.shape[before.rank() - 2] != after.shape[after.rank() - 2]) {
    return nullptr;
  }
  return &node->arguments[0];
}

// key <= query, as any of the four comparisons; `shift` is what strictness adds to the offset.
struct Comparison {
  std::string_view op;
  size_t key;
  int64_t shift;
};
constexpr std::array<Comparison, 4> kComparisons = {{{"aten.le.Tensor", 0, 0},
                                                     {"aten.ge.Tensor", 1, 0},
                                                     {"aten.lt.Tensor", 0, -1},
                                                     {"aten.gt.Tensor", 1, -1}}};

std::optional<Offset> compared(const Definitions& definitions, const Node& node) {
  for (const Comparison& row : kComparisons) {
    if (node.op != row.op) continue;
    const auto keys = counts_along(definitions, node.arguments[row.key], -1);
    const auto queries = counts_along(definitions, node.arguments[1 - row.key], -2);
    if (!keys || !queries || !std::holds_alternative<Expr>(*keys)) return std::nullopt;
    const Expr shift = Expr(row.shift) - std::get<Expr>(*keys);
    if (shift.is_constant(0)) return queries;
    if (const auto* from = std::get_if<Expr>(&*queries)) return *from + shift;
  }
  return std::nullopt;
}

bool is_and(const Node& node) {
  return node.op == "aten.bitwise_and.Tensor" || node.op == "aten.logical_and.default" ||
         node.op == "aten.__and__.Tensor";
}

bool is_filled_with_true(const Node& node) {
  if (node.op == "aten.ones.default" || node.op == "aten.ones_like.default" ||
      node.op == "aten.new_ones.default") {
    return true;
  }
  return node.op == "aten.full.default" &&
         (node.arguments[1] == Argument(true) || node.arguments[1] == Argument(Expr(1)));
}

// Positions are never negative: Transformers' mask of a model that looks both ways.
bool is_position_from_zero(const Definitions& definitions, const Node& node) {
  const bool at_least = node.op == "aten.ge.Scalar" || node.op == "aten.ge.Tensor";
  if (!at_least || node.arguments[1] != Argument(Expr(0))) return false;
  for (const int64_t axis : {-1, -2}) {
    const auto from = counts_along(definitions, node.arguments[0], axis);
    if (from == Offset(Expr(0))) return true;
  }
  return false;
}

}  // namespace

std::optional<Offset> counts_along(const Definitions& definitions, const Argument& tensor,
                                   int64_t axis) {
  if (const Weight* weight = definitions.weight(tensor)) return counted_constant(*weight, axis);
  const Node* node = definitions.of(tensor);
  if (node == nullptr) return std::nullopt;
  const auto rank = static_cast<int64_t>(definitions.type(node->result()).rank());
  if (rank + axis < 0) return std::nullopt;
  if (node->op == "aten.expand.default" || node->op == "aten.alias.default") {
    const auto& before = definitions.type(node->arguments[0]).shape;
    const auto& after = definitions.type(node->result()).shape;
    const auto inner = static_cast<int64_t>(before.size()) + axis;
    if (inner < 0 || before[inner] != after[rank + axis]) return std::nullopt;
    return counts_along(definitions, node->arguments[0], axis);
  }
  if (node->op == "aten.unsqueeze.default") {
    int64_t dim = std::get<Expr>(node->arguments[1]).constant();
    dim = dim < 0 ? dim : dim - rank;  // from the end
    if (dim == axis) return std::nullopt;
    return counts_along(definitions, node->arguments[0], dim > axis ? axis + 1 : axis);
  }
  return axis == -1 && rank == 1 ? counted_from(definitions, tensor) : std::nullopt;
}

bool hides_nothing(const Definitions& definitions, const Argument& mask) {
  if (const Weight* weight = definitions.weight(mask)) {
    if (weight->dtype != DType::kBool) return false;
    const std::vector<std::byte> bytes = weight->copy_bytes();
    return std::none_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
  }
  const Node* node = definitions.of(mask);
  if (node == nullptr || definitions.type(node->result()).dtype != DType::kBool) return false;
  if (node->op == "aten.expand.default" || node->op == "aten.unsqueeze.default") {
    return hides_nothing(definitions, node->arguments[0]);
  }
  if (is_and(*node)) {
    return hides_nothing(definitions, node->arguments[0]) &&
           hides_nothing(definitions, node->arguments[1]);
  }
  return is_filled_with_true(*node) || is_position_from_zero(definitions, *node);
}

MaskFacts facts_of(const Definitions& definitions, const Argument& mask) {
  const Node* node = definitions.of(mask);
  if (node == nullptr) return {};
  if (const Argument* inner = behind_views(definitions, mask)) return facts_of(definitions, *inner);
  if (is_and(*node)) {
    const MaskFacts a = facts_of(definitions, node->arguments[0]);
    const MaskFacts b = facts_of(definitions, node->arguments[1]);
    if (hides_nothing(definitions, node->arguments[0])) return b;
    if (hides_nothing(definitions, node->arguments[1])) return a;
    if (a.causal && b.causal && same(*a.causal, *b.causal)) {
      return {a.causal, a.only_causal && b.only_causal};
    }
    return {a.causal ? a.causal : b.causal, false};
  }
  if (auto offset = compared(definitions, *node)) return {offset, true};
  return {};
}

}  // namespace portwright
