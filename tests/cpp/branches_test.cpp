// Branches: programs at random give what they gave when only the chosen sides run.
#include "executorch/branches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "ir/text.h"

namespace portwright {
namespace {

constexpr const char* kInputs =
    "  input user %c \"c\" : bool[]\n"
    "  input user %d \"d\" : bool[]\n"
    "  input user %x \"x\" : f32[4, 4]\n";

Graph graph_of(const std::string& body) {
  return parse("program {\n" + std::string(kInputs) + body + "}\n").graph;
}

// Stands for what a node computes; the choice is made.
using Values = std::map<ValueId, size_t>;

// False where it reads what has not been computed.
bool run_node(const Node& node, Values& values, const std::map<ValueId, bool>& conditions) {
  std::vector<size_t> read;
  bool known = true;
  if (node.op == "aten.where.self") {
    const auto id = [&](size_t i) { return std::get<ValueRef>(node.arguments[i]).id; };
    const ValueId chosen = conditions.at(id(0)) ? id(1) : id(2);
    if (!values.contains(chosen)) return false;
    values[node.result()] = values[chosen];
    return true;
  }
  size_t hash = std::hash<std::string>()(node.op);
  for (const Argument& argument : node.arguments) {
    for_each_value(argument, [&](ValueId id) {
      known = known && values.contains(id);
      hash = hash * 31 + (known ? values[id] : 0);
    });
  }
  values[node.result()] = hash;
  return known;
}

// Runs a plan as the runtime does: of each branch one side.
class Run {
 public:
  Run(const Graph& graph, const BranchPlan& plan, const std::map<ValueId, bool>& conditions)
      : graph_(graph), plan_(plan), conditions_(conditions) {
    values[graph.inputs[2]] = 7;
    nodes(0, plan.order.size());
  }

  Values values;
  size_t skipped = 0;  // nodes

 private:
  const Node& node(size_t at) const { return graph_.nodes[plan_.order[at]]; }

  void nodes(size_t begin, size_t end) {
    for (size_t at = begin; at < end; ++at) {
      if (next_ < plan_.branches.size() && plan_.branches[next_].begin == at) {
        const Branch& taken = plan_.branches[next_++];
        branch(taken);
        at = taken.end - 1;
      } else {
        ASSERT_TRUE(run_node(node(at), values, conditions_)) << "at " << at;
      }
    }
  }

  void branch(const Branch& branch) {
    const ValueId condition = std::get<ValueRef>(node(branch.choices).arguments[0]).id;
    const bool holds = conditions_.at(condition);
    side(branch.begin, branch.otherwise, holds);
    side(branch.otherwise, branch.choices, !holds);
    for (size_t at = branch.choices; at < branch.end; ++at) {
      ASSERT_EQ(std::get<ValueRef>(node(at).arguments[0]).id, condition);
      ASSERT_TRUE(run_node(node(at), values, conditions_));
    }
  }

  void side(size_t begin, size_t end, bool runs) {
    if (runs) return nodes(begin, end);
    skipped += end - begin;
    while (next_ < plan_.branches.size() && plan_.branches[next_].begin < end) ++next_;
  }

  const Graph& graph_;
  const BranchPlan& plan_;
  const std::map<ValueId, bool>& conditions_;
  size_t next_ = 0;  // branch
};

void expect_same(const Graph& graph, const BranchPlan& plan, size_t& skipped) {
  std::vector<size_t> sorted = plan.order;
  std::ranges::sort(sorted);
  std::vector<size_t> all(graph.nodes.size());
  std::iota(all.begin(), all.end(), size_t{0});
  ASSERT_EQ(sorted, all);
  for (const bool c : {false, true}) {
    for (const bool d : {false, true}) {
      const std::map<ValueId, bool> conditions = {{graph.inputs[0], c}, {graph.inputs[1], d}};
      Values expected = {{graph.inputs[2], 7}};
      for (const Node& node : graph.nodes) ASSERT_TRUE(run_node(node, expected, conditions));
      Run run(graph, plan, conditions);
      for (ValueId id : graph.outputs) EXPECT_EQ(run.values[id], expected[id]);
      skipped += run.skipped;
    }
  }
}

TEST(Branches, WhatOneSideNeedsAloneIsItsOwn) {
  const Graph graph = graph_of(
      "  %0 : f32[4, 4] = aten.mm.default(%x, %x)\n"
      "  %1 : f32[4, 4] = aten.mm.default(%0, %x)\n"
      "  %2 : f32[4, 4] = aten.relu.default(%0)\n"
      "  %3 : f32[4, 4] = aten.where.self(%c, %1, %2)\n"
      "  output user \"y\" %3\n");
  const BranchPlan plan = find_branches(graph);
  ASSERT_EQ(plan.branches.size(), 1u);
  EXPECT_EQ(plan.order, (std::vector<size_t>{0, 1, 2, 3}));
  const Branch& branch = plan.branches[0];
  EXPECT_EQ((std::vector{branch.begin, branch.otherwise, branch.choices, branch.end}),
            (std::vector<size_t>{1, 2, 3, 4}));
}

TEST(Branches, ElementwiseSidesAreNotWorthAJump) {
  const Graph graph = graph_of(
      "  %0 : f32[4, 4] = aten.relu.default(%x)\n"
      "  %1 : f32[4, 4] = aten.where.self(%c, %0, %x)\n"
      "  output user \"y\" %1\n");
  EXPECT_TRUE(find_branches(graph).branches.empty());
}

TEST(Branches, AnOutputIsNeededWhateverIsChosen) {
  const Graph graph = graph_of(
      "  %0 : f32[4, 4] = aten.mm.default(%x, %x)\n"
      "  %1 : f32[4, 4] = aten.where.self(%c, %0, %x)\n"
      "  output user \"y\" %1\n"
      "  output user \"z\" %0\n");
  EXPECT_TRUE(find_branches(graph).branches.empty());
}

Graph random_graph(std::mt19937& random) {
  const auto below = [&](size_t end) { return random() % end; };
  std::string text;
  std::vector<std::string> values = {"%x"};
  const size_t count = 4 + below(24);
  const auto any = [&] {  // recent ones rather, so that there are chains
    const size_t back =
        below(2) == 0 ? below(std::min<size_t>(values.size(), 4)) : below(values.size());
    return values[values.size() - 1 - back];
  };
  for (size_t i = 0; i < count; ++i) {
    const std::string made = "%" + std::to_string(i);
    text += "  " + made + " : f32[4, 4] = ";
    switch (below(4)) {
      case 0: text += "aten.relu.default(" + any() + ")"; break;
      case 1: text += "aten.mm.default(" + any() + ", " + any() + ")"; break;
      default:
        text += "aten.where.self(" + std::string(below(2) == 0 ? "%c" : "%d") + ", " + any() +
                ", " + any() + ")";
    }
    text += "\n";
    values.push_back(made);
  }
  text += "  output user \"y\" " + values.back() + "\n";
  if (below(2) == 0) text += "  output user \"z\" " + any() + "\n";
  return graph_of(text);
}

TEST(Branches, OfRandomProgramsComputeTheSame) {
  size_t branches = 0, nested = 0, skipped = 0;
  for (uint32_t seed = 0; seed < 2000 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const Graph graph = random_graph(random);
    const BranchPlan plan = find_branches(graph);
    expect_same(graph, plan, skipped);
    branches += plan.branches.size();
    for (size_t i = 1; i < plan.branches.size(); ++i)
      nested += plan.branches[i].begin < plan.branches[i - 1].choices ? 1 : 0;
  }
  EXPECT_GT(branches, 1000u);
  EXPECT_GT(nested, 100u);
  EXPECT_GT(skipped, 1000u);
}

}  // namespace
}  // namespace portwright
