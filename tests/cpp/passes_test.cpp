// Each pass on small programs, seen through the text form.
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/text.h"
#include "passes/pass.h"

namespace portwright {
namespace {

class Passes : public testing::Test {
 protected:
  ValueId unary(const std::string& op, ValueId operand) {
    return b.op(op, {ValueRef{operand}}, DType::kFloat32, {batch, 8});
  }
  static std::vector<std::string> ops(const Program& program) {
    std::vector<std::string> found;
    for (const Node& node : program.graph.nodes) found.push_back(node.op);
    return found;
  }
  using Ops = std::vector<std::string>;

  ProgramBuilder b;
  Expr batch = b.symbol("batch", {1, 64}, 2);
  ValueId x = b.input("x", DType::kFloat32, {batch, 8});
};

TEST_F(Passes, DeadCodeGoes) {
  unary("aten.neg.default", x);
  Program program = b.output("y", unary("aten.exp.default", x)).build();
  EXPECT_TRUE(eliminate_dead_code(program));
  EXPECT_EQ(ops(program), Ops{"aten.exp.default"});
  EXPECT_FALSE(eliminate_dead_code(program));
}

TEST_F(Passes, EqualNodesBecomeOne) {
  const ValueId a = unary("aten.exp.default", x);
  const ValueId c = unary("aten.exp.default", x);
  const ValueId sum =
      b.op("aten.mul.Tensor", {ValueRef{a}, ValueRef{c}}, DType::kFloat32, {batch, 8});
  Program program = b.output("y", sum).build();
  EXPECT_TRUE(eliminate_common_subexpressions(program));
  EXPECT_EQ(ops(program), (Ops{"aten.exp.default", "aten.mul.Tensor"}));
}

TEST_F(Passes, RandomNodesAreNeverShared) {
  const ValueId a = unary("aten.rand_like.default", x);
  const ValueId c = unary("aten.rand_like.default", x);
  const ValueId sum =
      b.op("aten.mul.Tensor", {ValueRef{a}, ValueRef{c}}, DType::kFloat32, {batch, 8});
  Program program = b.output("y", sum).build();
  EXPECT_FALSE(eliminate_common_subexpressions(program));
}

TEST_F(Passes, AViewToTheSameShapeGoes) {
  const ValueId same = b.op("aten.view.default", {ValueRef{x}, IntList{batch, Expr(8)}},
                            DType::kFloat32, {batch, 8});
  Program program = b.output("y", unary("aten.exp.default", same)).build();
  EXPECT_TRUE(simplify_identities(program));
  EXPECT_EQ(ops(program), Ops{"aten.exp.default"});
}

TEST_F(Passes, TheStandardPassesEndAndRoundTrip) {
  const ValueId same = b.op("aten.view.default", {ValueRef{x}, IntList{batch, Expr(8)}},
                            DType::kFloat32, {batch, 8});
  Program program = b.output("y", unary("aten.exp.default", same)).build();
  run_passes(program);
  EXPECT_EQ(print(parse(print(program))), print(program));
}

}  // namespace
}  // namespace portwright
