// The text form, the verifier and the builder.
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace portwright {
namespace {

Program linear_program() {
  ProgramBuilder b;
  const Expr batch = b.symbol("batch", {1, 64}, 2);
  const ValueId x = b.input("x", DType::kFloat32, {batch, 8});
  const ValueId w = b.parameter("linear.weight", DType::kFloat32, {4, 8});
  b.at("linear", {"model.py", 12});
  const ValueId y =
      b.op("aten.linear.default", {ValueRef{x}, ValueRef{w}, None{}}, DType::kFloat32, {batch, 4});
  return b.output("y", y).build();
}

TEST(Text, RoundTrips) {
  const Program program = linear_program();
  const std::string text = print(program);
  const Program again = parse(text);
  verify(again);
  EXPECT_EQ(print(again), text);
}

TEST(Text, KeepsWhereANodeCameFrom) {
  const Program again = parse(print(linear_program()));
  EXPECT_EQ(again.module_path(again.graph.nodes.at(0)), "linear");
  EXPECT_EQ(again.source(again.graph.nodes.at(0)).line, 12);
}

TEST(Text, RefusesWhatIsNoProgram) {
  try {
    parse("program {{{");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kParse);
  }
}

TEST(Verifier, FindsAUseBeforeItsDefinition) {
  Program program = linear_program();
  Node& node = program.graph.nodes.at(0);
  node.arguments[0] = ValueRef{node.result()};
  EXPECT_THROW(verify(program), Error);
}

TEST(Verifier, FindsASignatureOfAnotherLength) {
  Program program = linear_program();
  program.inputs.pop_back();
  EXPECT_THROW(verify(program), Error);
}

}  // namespace
}  // namespace portwright
