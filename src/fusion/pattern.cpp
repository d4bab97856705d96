#include "fusion/pattern.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace portwright {
namespace {

std::optional<double> constant_of(const Argument& argument) {
  if (const auto* number = std::get_if<double>(&argument)) return *number;
  if (const auto* flag = std::get_if<bool>(&argument)) return *flag ? 1 : 0;
  const auto* expr = std::get_if<Expr>(&argument);
  if (expr == nullptr || !expr->is_constant()) return std::nullopt;
  return static_cast<double>(expr->constant());
}

// The rank of the first tensor that the node takes.
std::optional<int64_t> rank_of_first(const Definitions& definitions, const Node& node) {
  std::optional<int64_t> rank;
  for_each_value(node.arguments.at(0), [&](ValueId id) {
    if (!rank) rank = static_cast<int64_t>(definitions.type(id).rank());
  });
  return rank;
}

}  // namespace

Definitions::Definitions(const Program& program, const Graph& graph, const std::vector<Node>& nodes)
    : program_(program),
      graph_(graph),
      makers_(graph.values.size(), nullptr),
      uses_(graph.values.size()) {
  for (const ValueId id : graph.outputs) ++uses_.at(id);
  for (const Node& node : nodes) {
    for (const Argument& argument : node.arguments) {
      for_each_value(argument, [&](ValueId id) { ++uses_.at(id); });
    }
    if (node.outputs.size() != 1) continue;
    if (const auto* id = std::get_if<ValueId>(node.outputs.data())) makers_.at(*id) = &node;
  }
}

const Node* Definitions::of(ValueId id) const {
  return id < makers_.size() ? makers_[id] : nullptr;
}

const Node* Definitions::of(const Argument& argument) const {
  const auto* ref = std::get_if<ValueRef>(&argument);
  return ref == nullptr ? nullptr : of(ref->id);
}

const Node* Definitions::of(const Argument& argument, std::string_view op) const {
  const Node* node = of(argument);
  return node != nullptr && node->op == op ? node : nullptr;
}

const TensorType& Definitions::type(const Argument& argument) const {
  return graph_.type(std::get<ValueRef>(argument).id);
}

const Weight* Definitions::weight(const Argument& argument) const {
  const auto* ref = std::get_if<ValueRef>(&argument);
  const bool outer = &graph_ == &program_.graph;
  return ref == nullptr || !outer ? nullptr : program_.weight(ref->id);
}

bool matches(const Pattern& pattern, const Definitions& definitions, const Node& root,
             Bindings& bound) {
  return pattern(definitions, nullptr, ValueRef{root.result()}, bound);
}

Pattern value(size_t slot) {
  return [slot](const Definitions&, const Node*, const Argument& argument, Bindings& bound) {
    const auto* ref = std::get_if<ValueRef>(&argument);
    if (ref == nullptr) return false;
    ValueId& own = bound.values.at(slot);
    if (own == kNoValue) own = ref->id;
    return own == ref->id;
  };
}

Pattern number(size_t slot) {
  return [slot](const Definitions&, const Node*, const Argument& argument, Bindings& bound) {
    const auto constant = constant_of(argument);
    if (constant) bound.numbers.at(slot) = *constant;
    return constant.has_value();
  };
}

Pattern equal(double wanted) {
  return [wanted](const Definitions&, const Node*, const Argument& argument, Bindings&) {
    const auto constant = constant_of(argument);
    return constant && std::abs(*constant - wanted) <= 1e-6 * std::abs(wanted);
  };
}

Pattern last_dim() {
  return
      [](const Definitions& definitions, const Node* parent, const Argument& argument, Bindings&) {
        const auto rank = rank_of_first(definitions, *parent);
        const Argument* dim = &argument;
        Argument only;
        if (const auto* list = std::get_if<IntList>(&argument); list && list->size() == 1) {
          only = list->front();
          dim = &only;
        }
        const auto found = constant_of(*dim);
        return rank && found && (*found == -1 || *found == static_cast<double>(*rank - 1));
      };
}

Pattern op(std::string name, std::vector<Pattern> operands) {
  return
      [name = std::move(name), operands = std::move(operands)](
          const Definitions& definitions, const Node*, const Argument& argument, Bindings& bound) {
        const Node* node = definitions.of(argument, name);
        if (node == nullptr || node->arguments.size() < operands.size()) return false;
        for (size_t i = 0; i < operands.size(); ++i) {
          if (!operands[i](definitions, node, node->arguments[i], bound)) return false;
        }
        return true;
      };
}

Pattern either_order(const std::string& name, const Pattern& a, const Pattern& b) {
  return one_of({op(name, {a, b}), op(name, {b, a})});
}

Pattern sum(const Pattern& a, const Pattern& b) {
  return one_of({op("aten.add.Tensor", {a, b, equal(1)}), op("aten.add.Tensor", {b, a, equal(1)})});
}

Pattern list(std::vector<Pattern> items) {
  return [items = std::move(items)](const Definitions& definitions, const Node* parent,
                                    const Argument& argument, Bindings& bound) {
    const auto* ids = std::get_if<ValueList>(&argument);
    if (ids == nullptr || ids->size() != items.size()) return false;
    for (size_t i = 0; i < items.size(); ++i) {
      if (!items[i](definitions, parent, ValueRef{(*ids)[i]}, bound)) return false;
    }
    return true;
  };
}

Pattern one_of(std::vector<Pattern> choices) {
  return [choices = std::move(choices)](const Definitions& definitions, const Node* parent,
                                        const Argument& argument, Bindings& bound) {
    const Bindings before = bound;
    return std::any_of(choices.begin(), choices.end(), [&](const Pattern& choice) {
      bound = before;
      return choice(definitions, parent, argument, bound);
    });
  };
}

}  // namespace portwright
