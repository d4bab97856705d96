// Places of tensors in an arena, and results that lie where operands lay.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "executorch/elementwise.h"
#include "executorch/kernels.h"
#include "executorch/lifetimes.h"
#include "executorch/memory_plan.h"
#include "executorch/validator.h"
#include "pte_models.h"

namespace portwright {
namespace {

constexpr uint64_t kBytes = 64;  // of a tensor here

// A method of tensors of the same size, their kernels without places yet.
struct MethodBuilder {
  PteModel model;

  MethodBuilder() {
    PteMethod method;
    method.operators = {
        {"aten::relu", "out"}, {"aten::add", "out"}, {"executorch_prim::et_view", "default"}};
    model.methods = {method};
  }

  PteMethod& method() { return model.methods[0]; }

  PteId add(PteValue value) {
    method().values.push_back(std::move(value));
    return static_cast<PteId>(method().values.size() - 1);
  }
  PteId tensor() { return add(tensor_of({4, 4})); }
  PteId input() {
    const PteId id = tensor();
    method().inputs.push_back(id);
    return id;
  }
  PteId relu(PteId from, bool replaces = true) {
    const PteId made = tensor();
    std::vector<PteId> replaceable;
    if (replaces) replaceable.push_back(from);
    method().instructions.emplace_back(PteKernelCall{0, {from, made, made}, replaceable});
    return made;
  }
  PteId sum(PteId a, PteId b) {
    const PteId one = add(int64_t{1}), made = tensor();
    method().instructions.emplace_back(PteKernelCall{1, {a, b, one, made, made}, {a, b}});
    return made;
  }
  PteId view(PteId from) {
    const PteId size = add(int64_t{16});
    const PteId sizes = add(PteIntList{{size}}), made = add(tensor_of({16}));
    method().instructions.emplace_back(PteKernelCall{2, {from, sizes, made}});
    return made;
  }
  uint64_t offset(PteId id) { return std::get<PteTensor>(method().values[id]).allocation->offset; }
  bool has_place(PteId id) {
    return std::get<PteTensor>(method().values[id]).allocation.has_value();
  }
  // The arena's bytes.
  uint64_t plan(std::vector<PteId> outputs, const AllocationOptions& options = {}) {
    method().outputs = std::move(outputs);
    allocate_memory(method(), options);
    // What the caller brings has no place, which the check says of inputs and outputs only.
    EXPECT_EQ(problems_of(model), std::vector<std::string>());
    return method().arena_sizes.at(1);
  }
};

TEST(InPlace, AChainIsOneTensor) {
  MethodBuilder m;
  const PteId a = m.relu(m.input(), false), b = m.relu(a), c = m.relu(b);
  EXPECT_EQ(m.plan({c}, {.graph_input = false}), kBytes);
  EXPECT_EQ(m.offset(a), m.offset(c));
}

TEST(InPlace, OnlyKernelsThatSaySo) {
  MethodBuilder m;
  const PteId a = m.relu(m.input(), false), b = m.relu(a, false);
  EXPECT_EQ(m.plan({b}, {.graph_input = false}), 2 * kBytes);
}

TEST(InPlace, AnOperandThatIsReadLaterStays) {
  MethodBuilder m;
  const PteId a = m.relu(m.input(), false), b = m.relu(a), c = m.sum(b, a);
  EXPECT_EQ(m.plan({c}, {.graph_input = false}), 2 * kBytes);
  EXPECT_NE(m.offset(a), m.offset(b));
}

TEST(InPlace, AnOperandThatIsAnOutputStays) {
  MethodBuilder m;
  const PteId a = m.relu(m.input(), false), b = m.relu(a);
  EXPECT_EQ(m.plan({a, b}, {.graph_input = false}), 2 * kBytes);
}

TEST(InPlace, AViewKeepsItsMemory) {
  MethodBuilder m;
  const PteId a = m.relu(m.input(), false), seen = m.view(a), b = m.relu(a), c = m.relu(seen);
  EXPECT_EQ(m.plan({b, c}, {.graph_input = false}), 2 * kBytes);
  EXPECT_NE(m.offset(a), m.offset(b)) << "the view is read afterwards";
  EXPECT_EQ(m.offset(a), m.offset(c)) << "the last that reads a view may write where it lay";
}

TEST(InPlace, AViewOfTheResultLiesThereToo) {
  MethodBuilder m;
  const PteId a = m.relu(m.input(), false), b = m.relu(a), seen = m.view(b);
  const PteId c = m.relu(m.input(), false), d = m.sum(c, c), e = m.relu(seen);
  EXPECT_EQ(m.plan({d, e}, {.graph_input = false}), 2 * kBytes);
}

TEST(InPlace, TheCallersMemoryIsNotTaken) {
  MethodBuilder m;
  const PteId x = m.input(), a = m.relu(x), b = m.relu(a);
  EXPECT_EQ(m.plan({b}, {.graph_input = false, .graph_output = false}), kBytes);
  EXPECT_FALSE(m.has_place(x));
  EXPECT_FALSE(m.has_place(b));
}

// x = relu(x) over and over would need x of before in the second round.
TEST(InPlace, WhatALoopReadsInEveryRoundStays) {
  MethodBuilder m;
  const PteId a = m.relu(m.input(), false);
  const PteId goes_on = m.add(false);
  const PteId b = m.relu(a), c = m.relu(b);
  m.method().instructions.emplace_back(PteJumpFalse{goes_on, 1});
  EXPECT_EQ(m.plan({c}, {.graph_input = false}), 2 * kBytes);
  EXPECT_NE(m.offset(a), m.offset(b));
  EXPECT_EQ(m.offset(b), m.offset(c));
}

TEST(InPlace, NeverLargerThanWithout) {
  std::mt19937 random(7);
  const auto below = [&](uint32_t end) { return static_cast<uint32_t>(random() % end); };
  size_t smaller = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<MemoryRequest> requests;
    std::vector<std::optional<size_t>> replaced;
    std::vector<bool> taken;
    for (uint32_t at = 0; at < 24; ++at) {
      MemoryRequest request{16 * (1 + uint64_t{below(5)}), at, at + 1 + below(6)};
      std::optional<size_t> base;
      for (size_t i = 0; i < requests.size(); ++i) {
        if (requests[i].last == at && requests[i].first < at && !taken[i] && below(2) == 0) {
          base = i;
        }
      }
      if (base) taken[*base] = true, request.bytes = requests[*base].bytes;
      requests.push_back(request);
      replaced.push_back(base);
      taken.push_back(false);
    }
    const MemoryPlan apart = plan_memory(requests), plan = plan_memory(requests, replaced);
    ASSERT_LE(plan.bytes, apart.bytes);
    smaller += plan.bytes < apart.bytes ? 1 : 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_LE(plan.offsets[i] + requests[i].bytes, plan.bytes);
      for (size_t j = 0; j < i; ++j) {
        const MemoryRequest &a = requests[j], &b = requests[i];
        const bool together = a.first <= b.last && b.first <= a.last && replaced[i] != j;
        const bool share = plan.offsets[i] < plan.offsets[j] + a.bytes &&
                           plan.offsets[j] < plan.offsets[i] + b.bytes;
        ASSERT_FALSE(together && share) << i << " and " << j;
      }
    }
  }
  EXPECT_GT(smaller, 100U);
}

TEST(InPlace, TheTablesKernelsAreTheRuntimes) {
  std::set<std::string> there;
  for (const std::string& op : kernel_operators()) there.insert(find_kernel(op)->name());
  for (const std::string& name : elementwise_kernels()) EXPECT_TRUE(there.contains(name)) << name;
  EXPECT_FALSE(computes_by_element({"aten::mm", "out"}));
  EXPECT_FALSE(computes_by_element({"aten::cumsum", "out"}));
}

}  // namespace
}  // namespace portwright
