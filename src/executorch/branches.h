// What a program computes for one side of a choice alone: torch.cond is captured as both functions
// and a selection of their results. Here the nodes that only one side needs are found, so that the
// other side's need not run.
#pragma once

#include <cstddef>
#include <vector>

#include "ir/program.h"

namespace portwright {

// A run of nodes in BranchPlan::order: first those of which only the results are chosen when the
// condition holds, then those of when it does not, then the aten.where.self nodes that choose. All
// have the same condition, a bool tensor of one element. Either side may have branches of its own.
struct Branch {
  size_t begin = 0, otherwise = 0, choices = 0, end = 0;
};

struct BranchPlan {
  std::vector<size_t> order;     // positions in Graph::nodes; each comes after what it reads
  std::vector<Branch> branches;  // by begin, outer ones first
};

// Choices between values that cost no more than the choice, views and elementwise operators, are
// no branches.
BranchPlan find_branches(const Graph& graph);

}  // namespace portwright
