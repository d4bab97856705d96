// The text form, the verifier and the builder.
#include <gtest/gtest.h>

#include "ir/builder.h"
#include "ir/loop_node.h"
#include "ir/text.h"
#include "ir/verifier.h"
#include "passes/pass.h"

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

TEST(Text, MayHoldComments) {
  const std::string text = print(linear_program());
  std::string commented = "# what it is: program {\n#\n" + text + "# and its end";
  commented.replace(commented.find("  input"), 2, " # \"the inputs\"\n  ");
  EXPECT_EQ(print(parse(commented)), text);
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

TEST(Arrange, GivesUserInputsAndOutputsOtherPlacesAndNames) {
  Program program = parse(R"(program {
  input parameter %w "w" : f32[2] = [1.0, 2.0]
  input user %a "a" : f32[2]
  input user %b "b" : i64[2]
  %0 : f32[2] = aten.add.Tensor(%a, %w, 1)
  %1 : f32[2] = aten.mul.Tensor(%a, %w)
  output user_input_mutation "a" %0
  output user "x" %0
  output user "y" %1
}
)");
  arrange(program, {{1, "second"}, {0, "first"}}, {{1, "product"}, {0, "sum"}});
  verify(program);
  EXPECT_EQ(print(program), R"(program {
  input parameter %w "w" : f32[2] = [1.0, 2.0]
  input user %second "second" : i64[2]
  input user %first "first" : f32[2]
  %0 : f32[2] = aten.add.Tensor(%first, %w, 1)
  %1 : f32[2] = aten.mul.Tensor(%first, %w)
  output user_input_mutation "first" %0
  output user "product" %1
  output user "sum" %0
}
)");
  EXPECT_THROW(arrange(program, {{0, "a"}, {0, "b"}}, {{0, "x"}, {1, "y"}}), Error);
  EXPECT_THROW(arrange(program, {{0, "a"}}, {{0, "x"}, {1, "y"}}), Error);
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

// A row of each round up to a width that it reads, joined.
constexpr const char* kRagged = R"ir(program {
  symbol s0 in [0, inf] hint 2 from "x.size(0)" size
  symbol u1 in [0, inf] hint 0 from "the counter of a loop" unbacked
  symbol u2 in [0, inf] hint 1 from "a value of a tensor" unbacked
  symbol u3 in [0, inf] hint 3 from "a size that data decides" size unbacked
  guard decision 4 >= u2
  input user %x "x" : f32[s0, 4]
  input user %n "n" : i64[s0]
  [], [%2], [%3] : [], [i64[s0]], [f32[u3]] = portwright.loop.default(s0, u1, values [], values [%n, %x], ints [0]) graph(%0 : i64[s0], %1 : f32[s0, 4]) {
    %2 : i64[] = aten.select.int(%0, 0, u1)
    portwright.bind_item.default(%2, u2)
    %3 : f32[4] = aten.select.int(%1, 0, u1)
    %4 : f32[u2] = aten.slice.Tensor(%3, 0, 0, u2, 1)
    return [%2, %4]
  }
  portwright.bind_size.default(%3, 0, u3)
  %4 : f32[u3] = aten.full.default(ints [u3], 1.0, dtype f32, None, None, None)
  output user "y" %4
}
)ir";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(Loops, RoundTrip) {
  const Program program = parse(kRagged);
  verify(program);
  const std::string text = print(program);
  EXPECT_EQ(print(parse(text)), text);
  const LoopNode loop = as_loop(program.graph.nodes.at(0));
  EXPECT_EQ(loop.joined.size(), 1U);
  EXPECT_EQ(round_symbols(loop), (std::vector<SymbolId>{1, 2}));
}

TEST(Loops, KeepWhatGuardsAreAbout) {
  const std::string unused = replaced(kRagged, "ints [u3], 1.0", "ints [s0], 1.0");
  Program program = parse(unused);
  run_passes(program, standard_passes());
  ASSERT_EQ(program.graph.nodes.size(), 2U);
  EXPECT_TRUE(is_loop(program.graph.nodes.at(0)));
  Program without_guard = parse(replaced(unused, "  guard decision 4 >= u2\n", ""));
  run_passes(without_guard, standard_passes());
  EXPECT_EQ(without_guard.graph.nodes.size(), 1U);
}

TEST(Loops, TheReadingPartLeavesOutTheRest) {
  const Program program = parse(kRagged);
  const Node reads = reading_part(program.graph.nodes.at(0), 0);
  EXPECT_EQ(as_loop(reads).body.nodes.size(), 2U);
  EXPECT_EQ(as_loop(reads).captures.size(), 1U);
}

TEST(Verifier, FindsASymbolOfARoundOutsideIt) {
  EXPECT_THROW(parse(replaced(kRagged, "ints [u3], 1.0", "ints [u2], 1.0")), Error);
}

TEST(Verifier, FindsALoopThatJoinsAlongNoDim) {
  EXPECT_THROW(parse(replaced(kRagged, "ints [0])", "ints [1])")), Error);
}

}  // namespace
}  // namespace portwright
