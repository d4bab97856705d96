#include "executorch/branches.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "executorch/elementwise.h"
#include "executorch/kernels.h"
#include "ir/data_symbols.h"

namespace portwright {
namespace {

constexpr size_t kNone = SIZE_MAX;
constexpr std::string_view kChoice = "aten.where.self";

const std::set<std::string_view> kMoves = {
    "aten.view.default",  "aten.expand.default",       "aten.permute.default",
    "aten.alias.default", "aten.transpose.int",        "aten.unsqueeze.default",
    "aten.squeeze.dim",   "aten.squeeze.dims",         "aten.select.int",
    "aten.slice.Tensor",  "aten.clone.default",        "aten._to_copy.default",
    "aten.full.default",  "aten.scalar_tensor.default"};

template <typename Visitor>
void for_each_input(const Node& node, Visitor&& visit) {
  for (const Argument& argument : node.arguments) {
    for_each_value(argument, [&](ValueId id) {
      if (id != kNoValue) visit(id);
    });
  }
}

bool is_cheap(const Node& node) {
  if (kMoves.contains(node.op)) return true;
  const Kernel* kernel = find_kernel(node.op);
  return kernel != nullptr && computes_by_element(kernel->op);
}

// One choice, or several with the same condition that do not need each other's results.
struct Group {
  std::vector<size_t> choices;
  std::vector<size_t> sides[2];  // for true, for false
};

class BranchFinder {
 public:
  explicit BranchFinder(const Graph& graph)
      : graph_(graph), users_(graph.values.size()), unit_(graph.nodes.size(), kNone) {
    for (size_t i = 0; i < graph.nodes.size(); ++i) {
      for_each_input(graph.nodes[i], [&](ValueId id) { users_[id].push_back(i); });
    }
    for (ValueId id : graph.outputs) users_.at(id).push_back(kNone);
  }

  BranchPlan find() {
    std::vector<size_t> all(graph_.nodes.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    arrange(all);
    return std::move(plan_);
  }

 private:
  ValueId operand(size_t node, size_t i) const {
    return std::get<ValueRef>(graph_.nodes[node].arguments.at(i)).id;
  }

  bool is_choice(size_t i) const {
    const Node& node = graph_.nodes[i];
    if (node.op != kChoice) return false;
    for (const Argument& argument : node.arguments) {
      if (!std::holds_alternative<ValueRef>(argument)) return false;
    }
    const TensorType& condition = graph_.type(operand(i, 0));
    const auto is_one = [](const Expr& size) { return size.is_constant(1); };
    const auto as_result = [&](ValueId id) {
      const TensorType& result = graph_.type(node.result());
      return graph_.type(id).dtype == result.dtype && graph_.type(id).shape == result.shape;
    };
    return condition.dtype == DType::kBool && std::ranges::all_of(condition.shape, is_one) &&
           as_result(operand(i, 1)) && as_result(operand(i, 2));
  }

  // Whether a choice that needs these groups can be made together with group `one`: what is made
  // together must not need its own results, by way of another group neither.
  static bool need(const std::vector<std::set<size_t>>& needs, const std::set<size_t>& groups,
                   size_t one) {
    std::set<size_t> seen = groups;
    std::vector<size_t> open(groups.begin(), groups.end());
    while (!open.empty()) {
      const size_t group = open.back();
      open.pop_back();
      if (group == one) return true;
      for (const size_t next : needs.at(group)) {
        if (seen.insert(next).second) open.push_back(next);
      }
    }
    return false;
  }

  // In the order of their first nodes.
  std::vector<Group> groups(const std::vector<size_t>& list) const {
    std::vector<Group> found;
    std::vector<std::set<size_t>> needs;               // by group: those that it needs
    std::unordered_map<ValueId, size_t> last;          // by condition
    std::unordered_map<ValueId, std::set<size_t>> on;  // by value: the groups that it needs
    std::set<size_t> by_symbols;                       // what all later nodes may need
    for (const size_t i : list) {
      std::set<size_t> needed = by_symbols;
      for_each_input(graph_.nodes[i], [&](ValueId id) {
        if (const auto of = on.find(id); of != on.end())
          needed.insert(of->second.begin(), of->second.end());
      });
      if (binds_symbol(graph_.nodes[i])) by_symbols = needed;
      if (is_choice(i)) {
        const auto [group, added] = last.try_emplace(operand(i, 0), found.size());
        if (!added && need(needs, needed, group->second)) group->second = found.size();
        if (group->second == found.size()) {
          found.emplace_back();
          needs.emplace_back();
        }
        found[group->second].choices.push_back(i);
        needs[group->second].insert(needed.begin(), needed.end());
        needed.insert(group->second);
      }
      if (needed.empty()) continue;
      for_each_output(graph_.nodes[i], [&](ValueId id) { on[id] = needed; });
    }
    return found;
  }

  // The nodes of which only this side of the group's choices needs the results.
  std::vector<size_t> side(const std::vector<size_t>& list, const Group& group,
                           size_t which) const {
    std::unordered_set<size_t> members;
    const std::unordered_set<size_t> choices(group.choices.begin(), group.choices.end());
    const auto serves = [&](size_t user, ValueId id) {
      if (user == kNone) return false;
      if (!choices.contains(user)) return members.contains(user);
      return operand(user, 1 + which) == id && operand(user, 2 - which) != id &&
             operand(user, 0) != id;
    };
    std::vector<size_t> found;
    for (size_t k = list.size(); k-- > 0;) {
      const size_t i = list[k];
      const Node& node = graph_.nodes[i];
      if (unit_[i] != kNone || choices.contains(i) || binds_symbol(node)) continue;
      bool is_used = false, is_other = false;
      for_each_output(node, [&](ValueId id) {
        for (const size_t user : users_[id]) {
          is_used = true;
          is_other = is_other || !serves(user, id);
        }
      });
      if (!is_used || is_other) continue;
      members.insert(i);
      found.push_back(i);
    }
    std::ranges::reverse(found);
    return found;
  }

  bool is_worth_it(const Group& group) const {
    return std::ranges::any_of(group.sides, [&](const std::vector<size_t>& side) {
      return std::ranges::any_of(side, [&](size_t i) { return !is_cheap(graph_.nodes[i]); });
    });
  }

  // From the last group on, so that what is chosen inside of a side is the side's.
  std::vector<Group> branches(const std::vector<size_t>& list) {
    std::vector<Group> found;
    std::vector<Group> all = groups(list);
    for (size_t k = all.size(); k-- > 0;) {
      Group& group = all[k];
      const auto is_taken = [&](size_t i) { return unit_[i] != kNone; };
      if (std::ranges::any_of(group.choices, is_taken)) continue;
      for (size_t which : {0, 1}) group.sides[which] = side(list, group, which);
      if (!is_worth_it(group)) continue;
      for (const std::vector<size_t>* part : {&group.sides[0], &group.sides[1], &group.choices}) {
        for (const size_t i : *part) unit_[i] = found.size();
      }
      found.push_back(std::move(group));
    }
    return found;
  }

  // Appends the nodes to the plan: each after what it reads, as early in the list as possible, and
  // those of a branch together.
  void arrange(const std::vector<size_t>& list) {
    for (const size_t i : list) unit_[i] = kNone;
    const std::vector<Group> found = branches(list);
    if (found.empty()) {
      plan_.order.insert(plan_.order.end(), list.begin(), list.end());
      return;
    }
    // Units: a branch at its first node, or a node.
    std::vector<size_t> first(found.size(), kNone);
    std::unordered_map<size_t, size_t> head;  // by node
    for (const size_t i : list) {
      if (unit_[i] != kNone) first[unit_[i]] = std::min(first[unit_[i]], i);
      head[i] = unit_[i] == kNone ? i : first[unit_[i]];
    }
    std::unordered_map<size_t, size_t> branch_at;
    for (size_t k = 0; k < found.size(); ++k) branch_at[first[k]] = k;
    for (const size_t unit : sorted_units(list, head)) {
      const auto branch = branch_at.find(unit);
      if (branch == branch_at.end()) {
        plan_.order.push_back(unit);
      } else {
        append(found[branch->second]);
      }
    }
  }

  void append(const Group& group) {
    const size_t index = plan_.branches.size();
    plan_.branches.emplace_back();
    Branch branch;
    branch.begin = plan_.order.size();
    arrange(group.sides[0]);
    branch.otherwise = plan_.order.size();
    arrange(group.sides[1]);
    branch.choices = plan_.order.size();
    plan_.order.insert(plan_.order.end(), group.choices.begin(), group.choices.end());
    branch.end = plan_.order.size();
    plan_.branches[index] = branch;
  }

  std::vector<size_t> sorted_units(const std::vector<size_t>& list,
                                   const std::unordered_map<size_t, size_t>& head) const {
    std::unordered_map<size_t, std::set<size_t>> readers;
    std::unordered_map<size_t, size_t> waits;
    const auto comes_after = [&](size_t node, size_t before) {
      const auto unit = head.find(node);
      if (unit == head.end() || unit->second == head.at(before)) return;
      if (readers[head.at(before)].insert(unit->second).second) ++waits[unit->second];
    };
    size_t binding = kNone;  // whose symbol all later nodes may need
    for (const size_t i : list) {
      for_each_output(graph_.nodes[i], [&](ValueId id) {
        for (const size_t user : users_[id]) comes_after(user, i);
      });
      if (binding != kNone) comes_after(i, binding);
      if (binds_symbol(graph_.nodes[i])) binding = i;
    }
    std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
    for (const size_t i : list) {
      if (head.at(i) == i && waits[i] == 0) ready.push(i);
    }
    std::vector<size_t> sorted;
    while (!ready.empty()) {
      sorted.push_back(ready.top());
      ready.pop();
      for (const size_t reader : readers[sorted.back()]) {
        if (--waits[reader] == 0) ready.push(reader);
      }
    }
    const auto is_unit = [&](size_t i) { return head.at(i) == i; };
    if (sorted.size() != static_cast<size_t>(std::ranges::count_if(list, is_unit)))
      throw Error(ErrorCode::kInternal, "branches wait for each other");
    return sorted;
  }

  const Graph& graph_;
  std::vector<std::vector<size_t>> users_;  // by value; kNone for the graph's outputs
  std::vector<size_t> unit_;                // by node: its branch among those of the list at hand
  BranchPlan plan_;
};

}  // namespace

BranchPlan find_branches(const Graph& graph) { return BranchFinder(graph).find(); }

}  // namespace portwright
