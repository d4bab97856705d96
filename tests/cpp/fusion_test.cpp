// Fusions, on small programs in the text form.
#include "fusion/fusion.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ir/text.h"
#include "ir/verifier.h"

namespace portwright {
namespace {

constexpr FusionTarget kEverything = {.rotary = true,
                                      .skip_norms = true,
                                      .attention = true,
                                      .grouped_attention = true,
                                      .cached_attention = true,
                                      .fixed_cache = true,
                                      .float32_cache = true};

Program fused(const std::string& body, FusionTarget target = kEverything) {
  Program program = parse("program {\n" + body + "}\n");
  fuse(program, target);
  verify(program);
  return program;
}

std::vector<std::string> ops(const Program& program) {
  std::vector<std::string> found;
  found.reserve(program.graph.nodes.size());
  for (const Node& node : program.graph.nodes) found.push_back(node.op);
  return found;
}

const Node* find(const Program& program, const std::string& op) {
  for (const Node& node : program.graph.nodes) {
    if (node.op == op) return &node;
  }
  return nullptr;
}

using Ops = std::vector<std::string>;

TEST(Fusion, RmsNormInAnyOrder) {
  const Program program = fused(R"ir(
  input user %x "x" : f32[2, 8]
  input user %w "w" : f32[8]
  %1 : f32[2, 8] = aten.mul.Tensor(%x, %x)
  %2 : f32[2, 1] = aten.mean.dim(%1, ints [1], True, None)
  %3 : f32[2, 1] = aten.add.Tensor(%2, 1e-06, 1)
  %4 : f32[2, 1] = aten.rsqrt.default(%3)
  %5 : f32[2, 8] = aten.mul.Tensor(%4, %x)
  %6 : f32[2, 8] = aten.mul.Tensor(%5, %w)
  output user "y" %6
)ir");
  EXPECT_EQ(ops(program), Ops{"aten.rms_norm.default"});
  EXPECT_EQ(program.graph.nodes[0].arguments[3], Argument(1e-06));
}

TEST(Fusion, NormsOverOtherDimsStay) {
  const Program program = fused(R"ir(
  input user %x "x" : f32[8, 8]
  %1 : f32[8, 8] = aten.mul.Tensor(%x, %x)
  %2 : f32[1, 8] = aten.mean.dim(%1, ints [0], True, None)
  %3 : f32[1, 8] = aten.add.Tensor(%2, 1e-06, 1)
  %4 : f32[1, 8] = aten.rsqrt.default(%3)
  %5 : f32[8, 8] = aten.mul.Tensor(%4, %x)
  output user "y" %5
)ir");
  EXPECT_EQ(find(program, "aten.rms_norm.default"), nullptr);
}

TEST(Fusion, ASumAndItsNormAreOneNode) {
  const Program program = fused(R"ir(
  input user %x "x" : f32[1, 2, 8]
  input user %r "r" : f32[1, 2, 8]
  input user %w "w" : f32[8]
  %1 : f32[1, 2, 8] = aten.add.Tensor(%x, %r, 1)
  %2 : f32[1, 2, 8] = aten.rms_norm.default(%1, ints [8], %w, 1e-06)
  %3 : f32[1, 2, 8] = aten.add.Tensor(%1, %2, 1)
  output user "y" %3
)ir");
  EXPECT_EQ(ops(program), (Ops{"portwright.skip_rms_norm.default", "aten.add.Tensor"}));
}

// Causal attention over `past` + 3 keys; the queries' first position is `start`.
std::string step(const std::string& start) {
  return R"ir(
  symbol past in [0, 64] hint 5 from "k.size(2)" size
  input user %q "q" : f32[1, 2, 3, 8]
  input user %k "k" : f32[1, 2, past, 8]
  input user %v "v" : f32[1, 2, past, 8]
  input user %n "n" : f32[1, 2, 3, 8]
  %1 : i64[3] = aten.arange.default(3, None, None, device "cpu", False)
  %2 : i64[3] = aten.add.Tensor(%1, )ir" +
         start + R"ir(, 1)
  %3 : i64[3, 1] = aten.unsqueeze.default(%2, 1)
  %4 : i64[past + 3] = aten.arange.default(past + 3, None, None, device "cpu", False)
  %5 : i64[1, past + 3] = aten.unsqueeze.default(%4, 0)
  %6 : bool[3, past + 3] = aten.le.Tensor(%5, %3)
  %7 : f32[1, 2, past + 3, 8] = aten.cat.default(values [%k, %n], -2)
  %8 : f32[1, 2, past + 3, 8] = aten.cat.default(values [%v, %n], -2)
  %9 : f32[1, 2, 3, 8] = aten.scaled_dot_product_attention.default(%q, %7, %8, %6, 0.0, False, None, False)
  output user "y" %9
  output user "present" %7
)ir";
}

TEST(Fusion, TheMaskOfAStepBehindItsPastIsCausal) {
  const Program program = fused(step("past"));
  const Node* node = find(program, "portwright.cached_attention.default");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->arguments[6], Argument(Expr(2)));   // all that the mask says
  EXPECT_EQ(find(program, "aten.any.dim"), nullptr);  // every query sees a key
  // The cache after the step is what the operator gives.
  EXPECT_EQ(node->outputs[1], Output(program.graph.outputs[1]));
}

TEST(Fusion, AMaskFromElsewhereIsNotTakenForCausal) {
  const Program program = fused(step("past + 1"));
  EXPECT_EQ(find(program, "portwright.cached_attention.default"), nullptr);
  const Node* node = find(program, "portwright.attention.default");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(node->arguments[4], Argument(Expr(0)));
  // A query that sees no key gives zeros.
  EXPECT_NE(find(program, "aten.any.dim"), nullptr);
}

TEST(Fusion, ABufferWithoutAMaskIsSeenWhole) {
  const Program program = fused(R"ir(
  input user %q "q" : f32[1, 2, 1, 8]
  input user %k "k" : f32[1, 2, 16, 8]
  input user %v "v" : f32[1, 2, 16, 8]
  input user %n "n" : f32[1, 2, 1, 8]
  input user %c "c" : i64[]
  %1 : i64[1] = aten.arange.default(1, None, None, device "cpu", False)
  %2 : i64[1] = aten.add.Tensor(%1, %c, 1)
  %3 : f32[1, 2, 16, 8] = aten.index_copy.default(%k, 2, %2, %n)
  %4 : f32[1, 2, 16, 8] = aten.index_copy.default(%v, 2, %2, %n)
  %5 : f32[1, 2, 1, 8] = aten.scaled_dot_product_attention.default(%q, %3, %4, None, 0.0, False, None, False)
  output user "y" %5
)ir");
  EXPECT_EQ(find(program, "portwright.cached_attention.default"), nullptr);
  EXPECT_NE(find(program, "portwright.attention.default"), nullptr);
}

TEST(Fusion, NormsByAMeanThatDropsItsDimStay) {
  const Program program = fused(R"ir(
  input user %x "x" : f32[8, 8]
  %1 : f32[8, 8] = aten.mul.Tensor(%x, %x)
  %2 : f32[8] = aten.mean.dim(%1, ints [-1], False, None)
  %3 : f32[8] = aten.add.Tensor(%2, 1e-06, 1)
  %4 : f32[8] = aten.rsqrt.default(%3)
  %5 : f32[8, 8] = aten.mul.Tensor(%x, %4)
  output user "y" %5
)ir");
  EXPECT_EQ(find(program, "aten.rms_norm.default"), nullptr);
}

TEST(Fusion, WhatTheTargetLacksStays) {
  const Program program = fused(step("past"), {});
  EXPECT_NE(find(program, "aten.scaled_dot_product_attention.default"), nullptr);
}

}  // namespace
}  // namespace portwright
