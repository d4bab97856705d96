// Identities.
// Needs: nothing. Ensures: operators that give back their operand are gone: copies (a functional
// program has no aliasing to protect), views to the same shape, whole slices, x + 0, x * 1, a cat
// of one; chains of reshapes, transposes and permutes are merged.
//   %1 : f32[2, s0] = aten.slice.Tensor(%x, 0, 0, 9223372036854775807, 1)   =>   %x
#include <string_view>
#include <unordered_map>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace portwright {
namespace {

using Match = std::optional<ValueId> (*)(const Program&, const Graph&, const Node&);

std::optional<ValueId> first_operand(const Node& node) {
  if (node.arguments.empty()) return std::nullopt;
  const auto* ref = std::get_if<ValueRef>(&node.arguments[0]);
  return ref == nullptr ? std::nullopt : std::optional(ref->id);
}

bool same_type(const Graph& graph, ValueId a, ValueId b) {
  return graph.type(a).dtype == graph.type(b).dtype && graph.type(a).shape == graph.type(b).shape;
}

// The operand, when it has the result's dtype and shape: the rule of operators that only move or
// copy elements in row-major order.
std::optional<ValueId> unchanged(const Program&, const Graph& graph, const Node& node) {
  const auto operand = first_operand(node);
  if (!operand || !same_type(graph, *operand, node.result())) return std::nullopt;
  return operand;
}

bool is_number(const Argument& argument, int64_t wanted) {
  if (const auto* expr = std::get_if<Expr>(&argument)) return expr->is_constant(wanted);
  const auto* number = std::get_if<double>(&argument);
  return number != nullptr && *number == static_cast<double>(wanted);
}

template <int64_t kNeutral>
std::optional<ValueId> neutral(const Program& program, const Graph& graph, const Node& node) {
  if (node.arguments.size() < 2 || !is_number(node.arguments[1], kNeutral)) return std::nullopt;
  return unchanged(program, graph, node);
}

std::optional<ValueId> untrained_dropout(const Program& program, const Graph& graph,
                                         const Node& node) {
  const auto* train = std::get_if<bool>(&node.arguments.at(2));
  const bool off = (train != nullptr && !*train) || is_number(node.arguments.at(1), 0);
  return off ? unchanged(program, graph, node) : std::nullopt;
}

std::optional<ValueId> whole_slice(const Program& program, const Graph& graph, const Node& node) {
  // Equal sizes do not do: x[1:] of a size that a guard fixed would be caught by its start.
  if (node.arguments.size() < 5 || !is_number(node.arguments[4], 1)) return std::nullopt;
  const bool from_start =
      std::holds_alternative<None>(node.arguments[2]) || is_number(node.arguments[2], 0);
  return from_start ? unchanged(program, graph, node) : std::nullopt;
}

std::optional<ValueId> same_dims(const Program& program, const Graph& graph, const Node& node) {
  const auto rank = static_cast<int64_t>(graph.type(node.result()).rank());
  auto wrapped = [&](const Argument& argument) {
    const int64_t dim = std::get<Expr>(argument).constant();
    return dim < 0 ? dim + rank : dim;
  };
  if (wrapped(node.arguments.at(1)) != wrapped(node.arguments.at(2))) return std::nullopt;
  return unchanged(program, graph, node);
}

std::optional<ValueId> identity_permute(const Program& program, const Graph& graph,
                                        const Node& node) {
  const auto& dims = std::get<IntList>(node.arguments.at(1));
  const auto rank = static_cast<int64_t>(dims.size());
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t dim = dims[i].constant();
    if ((dim < 0 ? dim + rank : dim) != i) return std::nullopt;
  }
  return unchanged(program, graph, node);
}

// One operand that is not empty.
std::optional<ValueId> cat_of_one(const Program&, const Graph& graph, const Node& node) {
  const auto* list = std::get_if<ValueList>(&node.arguments.at(0));
  if (list == nullptr) return std::nullopt;
  std::optional<ValueId> only;
  for (ValueId id : *list) {
    const auto& shape = graph.type(id).shape;
    if (shape.size() == 1 && shape[0].is_constant(0)) continue;  // torch skips these
    if (only) return std::nullopt;
    only = id;
  }
  if (!only || !same_type(graph, *only, node.result())) return std::nullopt;
  return only;
}

std::optional<ValueId> repeat_once(const Program& program, const Graph& graph, const Node& node) {
  const auto* repeats = std::get_if<IntList>(&node.arguments.at(1));
  if (repeats == nullptr) return std::nullopt;
  for (const Expr& count : *repeats) {
    if (!count.is_constant(1)) return std::nullopt;
  }
  return unchanged(program, graph, node);
}

const std::unordered_map<std::string_view, Match>& identities() {
  static const std::unordered_map<std::string_view, Match> kTable = {
      {"aten.alias.default", unchanged},
      {"aten.detach.default", unchanged},
      {"aten.lift_fresh.default", unchanged},
      {"aten.lift_fresh_copy.default", unchanged},
      {"aten.clone.default", unchanged},
      {"aten.contiguous.default", unchanged},
      {"aten.view.default", unchanged},
      {"aten.reshape.default", unchanged},
      {"aten._unsafe_view.default", unchanged},
      {"aten.flatten.using_ints", unchanged},
      {"aten.expand.default", unchanged},
      {"aten.squeeze.dim", unchanged},
      {"aten.squeeze.dims", unchanged},
      {"aten.squeeze.default", unchanged},
      {"aten.slice.Tensor", whole_slice},
      {"aten.transpose.int", same_dims},
      {"aten.permute.default", identity_permute},
      {"aten.add.Tensor", neutral<0>},
      {"aten.sub.Tensor", neutral<0>},
      {"aten.mul.Tensor", neutral<1>},
      {"aten.div.Tensor", neutral<1>},
      {"aten.add.Scalar", neutral<0>},
      {"aten.mul.Scalar", neutral<1>},
      {"aten.dropout.default", untrained_dropout},
      {"aten.cat.default", cat_of_one},
      {"aten.repeat.default", repeat_once},
  };
  return kTable;
}

bool is_reshape(const Node& node) {
  return node.op == "aten.view.default" || node.op == "aten.reshape.default" ||
         node.op == "aten._unsafe_view.default";
}

// The order that a transpose or permute brings dims into; empty for other operators.
std::vector<int64_t> order_of(const Graph& graph, const Node& node) {
  if (node.op != "aten.permute.default" && node.op != "aten.transpose.int") return {};
  const auto rank = static_cast<int64_t>(graph.type(node.result()).rank());
  auto wrap = [rank](const Expr& dim) {
    return dim.constant() < 0 ? dim.constant() + rank : dim.constant();
  };
  std::vector<int64_t> order;
  if (node.op == "aten.permute.default") {
    for (const Expr& dim : std::get<IntList>(node.arguments.at(1))) order.push_back(wrap(dim));
  } else if (node.op == "aten.transpose.int" && rank > 0) {
    for (int64_t i = 0; i < rank; ++i) order.push_back(i);
    std::swap(order.at(wrap(std::get<Expr>(node.arguments.at(1)))),
              order.at(wrap(std::get<Expr>(node.arguments.at(2)))));
  }
  return order;
}

// Points a reshape of a reshape, or a permute of a permute, at the first operand.
bool merge_chains(Graph& graph) {
  std::unordered_map<ValueId, const Node*> producer;
  bool changed = false;
  for (Node& node : graph.nodes) {
    const auto operand = first_operand(node);
    const auto found = operand ? producer.find(*operand) : producer.end();
    if (found != producer.end()) {
      const Node& inner = *found->second;
      if (is_reshape(node) && is_reshape(inner)) {
        node.arguments = {inner.arguments[0], IntList(graph.type(node.result()).shape)};
        node.op = "aten.reshape.default";
        changed = true;
      } else if (const auto outer = order_of(graph, node); !outer.empty()) {
        const auto before = order_of(graph, inner);
        if (!before.empty()) {
          IntList dims;
          for (int64_t dim : outer) dims.emplace_back(before[dim]);
          node.arguments = {inner.arguments[0], std::move(dims)};
          node.op = "aten.permute.default";
          changed = true;
        }
      }
    }
    if (is_reshape(node) || node.op == "aten.permute.default" || node.op == "aten.transpose.int") {
      producer.emplace(node.result(), &node);
    }
  }
  return changed;
}

}  // namespace

bool simplify_identities(Program& program) {
  bool changed = merge_chains(program.graph);
  changed |= replace_results(
      program, program.graph, [&](const Graph& graph, const Node& node) -> std::optional<ValueId> {
        auto found = identities().find(node.op);
        return found == identities().end() ? std::nullopt : found->second(program, graph, node);
      });
  if (changed) eliminate_dead_code(program);
  return changed;
}

}  // namespace portwright
