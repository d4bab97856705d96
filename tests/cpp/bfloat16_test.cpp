// bfloat16 computed in float32, in the text form.
#include "passes/bfloat16.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ir/verifier.h"

namespace portwright {
namespace {

TEST(Bfloat16, OperatorsComputeInFloat32AndRound) {
  Program program = parse(R"ir(program {
  input user %x "x" : bf16[3]
  %1 : bf16[3] = aten.exp.default(%x)
  %2 : bf16[3, 1] = aten.unsqueeze.default(%1, 1)
  %3 : bf16[3, 1] = aten.neg.default(%2)
  output user "y" %3
}
)ir");
  EXPECT_TRUE(has_bfloat16_values(program));
  EXPECT_TRUE(compute_bfloat16_in_float32(program));
  verify(program);
  std::vector<std::string> ops;
  for (const Node& node : program.graph.nodes) {
    ops.push_back(node.op);
    if (node.op == "aten._to_copy.default") continue;
    EXPECT_EQ(program.graph.type(node.result()).dtype, DType::kFloat32) << node.op;
  }
  // x is widened, exp rounded, and its rounded value widened; unsqueeze rounds nothing for neg.
  const std::string cast = "aten._to_copy.default";
  EXPECT_EQ(
      ops, (std::vector<std::string>{cast, "aten.exp.default", cast, cast, "aten.unsqueeze.default",
                                     cast, "aten.neg.default", cast}));
  EXPECT_EQ(program.graph.type(program.graph.outputs[0]).dtype, DType::kBFloat16);
  EXPECT_FALSE(compute_bfloat16_in_float32(program));
}

}  // namespace
}  // namespace portwright
