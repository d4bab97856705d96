// The partitioner and the payloads of XNNPACK's delegate, on small programs in the text form.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "executorch/edge/edge.h"
#include "executorch/xnnpack/delegate.h"
#include "executorch/xnnpack/lowering.h"
#include "executorch/xnnpack/partition.h"
#include "executorch/xnnpack_check.h"
#include "executorch/xnnpack_payload.h"
#include "ir/text.h"
#include "ir/verifier.h"

namespace portwright {
namespace {

namespace fb = fb_xnnpack;
using Ops = std::vector<std::string>;

constexpr int64_t kBound = 64;

Bounds bounds_of(const Program& program) {
  return {*program.symbols, std::vector<int64_t>(program.symbols->size(), kBound)};
}

Program partitioned(const std::string& body, const PartitionOptions& options = {}) {
  Program program = parse("program {\n" + body + "}\n");
  partition_for_xnnpack(program, bounds_of(program), options);
  verify(program);
  return program;
}

Ops ops(const Graph& graph) {
  Ops found;
  for (const Node& node : graph.nodes) found.push_back(node.op);
  return found;
}

std::vector<const Node*> delegates(const Program& program) {
  std::vector<const Node*> found;
  for (const Node& node : program.graph.nodes) {
    if (is_delegate(node)) found.push_back(&node);
  }
  return found;
}

// The delegate's nodes in the runtime's names, after all checks of the payload.
Ops lowered(const Program& program, const Node& delegate) {
  const XnnDelegate made = lower_to_xnnpack(program, delegate, bounds_of(program));
  std::map<std::string_view, uint64_t> sizes;
  for (const PteNamedData& data : made.named_data) sizes[data.key] = data.weight.byte_size();
  Problems problems;
  const auto externals = check_xnnpack(made.payload, sizes, problems);
  EXPECT_EQ(problems.lines(), Ops{});
  EXPECT_EQ(externals.size(),
            made.inputs.size() + std::get<ValueList>(delegate.outputs.at(0)).size());
  Ops found;
  for (const fb::XNode* node : *XnnpackPayload::read(made.payload).graph->xnodes()) {
    found.push_back(fb::EnumNameXNodeUnion(node->xnode_union_type()));
  }
  return found;
}

// Of a program that is one delegate.
Ops lowered(const std::string& body) {
  const Program program = partitioned(body);
  EXPECT_EQ(ops(program.graph), Ops{kDelegate});
  return lowered(program, program.graph.nodes.at(0));
}

TEST(XnnpackPartition, NeighboursAreOneDelegate) {
  const Program program = partitioned(R"ir(
  symbol n in [1, 64] hint 4 from "x.size(0)" size user
  input parameter %w "w" : f32[3, 4] = zeros
  input user %x "x" : f32[n, 4]
  %0 : f32[n, 3] = aten.linear.default(%x, %w, None)
  %1 : f32[n, 3] = aten.relu.default(%0)
  output user "y" %1
)ir");
  ASSERT_EQ(ops(program.graph), Ops{kDelegate});
  const Node& node = program.graph.nodes[0];
  EXPECT_EQ(ops(node.graphs.at(0)), (Ops{"aten.linear.default", "aten.relu.default"}));
  const XnnDelegate made = lower_to_xnnpack(program, node, bounds_of(program));
  EXPECT_EQ(made.inputs, (ValueList{program.graph.inputs[1]}));
  ASSERT_EQ(made.named_data.size(), 1u);
  EXPECT_EQ(made.named_data[0].key, "w");
}

// The way over the operator that XNNPACK has not leaves a delegate: what follows is another one.
TEST(XnnpackPartition, NoWayLeadsOutAndBackIn) {
  const Program program = partitioned(R"ir(
  input user %x "x" : f32[4, 4]
  %0 : f32[4, 4] = aten.matmul.default(%x, %x)
  %1 : f32[4, 4] = aten.erf.default(%0)
  %2 : f32[4, 4] = aten.softmax.int(%0, -1, None)
  %3 : f32[4, 4] = aten.add.Tensor(%1, %2, 1)
  %4 : f32[4, 4] = aten.matmul.default(%3, %2)
  output user "y" %4
)ir");
  EXPECT_EQ(ops(program.graph), (Ops{kDelegate, "aten.erf.default", kDelegate}));
  const auto found = delegates(program);
  EXPECT_EQ(ops(found[0]->graphs[0]), (Ops{"aten.matmul.default", "aten.softmax.int"}));
  EXPECT_EQ(ops(found[1]->graphs[0]), (Ops{"aten.add.Tensor", "aten.matmul.default"}));
}

constexpr const char* kTwoLayers = R"ir(
  input parameter %a "a" : f32[4, 4] = zeros
  input parameter %b "b" : f32[4, 4] = zeros
  input parameter %c "c" : f32[4, 4] = zeros
  input user %x "x" : f32[4, 4]
  %0 : f32[4, 4] = aten.linear.default(%x, %a, None) in "layers.0.up"
  %1 : f32[4, 4] = aten.linear.default(%0, %b, None) in "layers.0.down"
  %2 : f32[4, 4] = aten.linear.default(%1, %c, None) in "layers.1.up"
  output user "y" %2
)ir";

TEST(XnnpackPartition, DelegatesAreCutWhereLayersEnd) {
  const Program program = partitioned(kTwoLayers, {.cut_bytes = 128});
  const auto found = delegates(program);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0]->graphs[0].nodes.size(), 2u);
}

TEST(XnnpackPartition, SmallLayersShareADelegate) {
  EXPECT_EQ(delegates(partitioned(kTwoLayers, {.cut_bytes = 129})).size(), 1u);
}

TEST(XnnpackPartition, WithoutLayersNothingIsCut) {
  const Program program = partitioned(R"ir(
  input parameter %a "a" : f32[4, 4] = zeros
  input user %x "x" : f32[4, 4]
  %0 : f32[4, 4] = aten.linear.default(%x, %a, None) in "encoder.up"
  %1 : f32[4, 4] = aten.linear.default(%0, %a, None) in "encoder.down"
  output user "y" %1
)ir",
                                      {.cut_bytes = 1});
  EXPECT_EQ(delegates(program).size(), 1u);
}

TEST(XnnpackPartition, LittleIsNoDelegate) {
  const Program program = partitioned(R"ir(
  input user %x "x" : f32[4, 4]
  %0 : f32[4, 4] = aten.permute.default(%x, ints [1, 0])
  %1 : f32[4, 4] = aten.neg.default(%0)
  %2 : f32[4, 2] = aten.slice.Tensor(%1, 1, 0, 2, 1)
  output user "y" %2
)ir");
  EXPECT_TRUE(delegates(program).empty());
}

// What a delegate ends or begins with as a view costs nothing outside of it.
TEST(XnnpackPartition, ViewsAtBordersStayOutside) {
  const Program program = partitioned(R"ir(
  input user %x "x" : f32[16]
  %0 : f32[4, 4] = aten.view.default(%x, ints [4, 4])
  %1 : f32[4, 4] = aten.matmul.default(%0, %0)
  %2 : f32[2, 8] = aten.view.default(%1, ints [2, 8])
  %3 : f32[2, 8] = aten.softmax.int(%2, -1, None)
  %4 : f32[16] = aten.view.default(%3, ints [16])
  output user "y" %4
)ir");
  EXPECT_EQ(ops(program.graph), (Ops{"aten.view.default", kDelegate, "aten.view.default"}));
}

// A cluster that nothing needs before a later one joins that.
TEST(XnnpackPartition, ClustersMoveToTheirReaders) {
  const Program program = partitioned(R"ir(
  input user %x "x" : f32[4, 4]
  input user %y "y" : f32[4, 4]
  %0 : f32[4, 4] = aten.transpose.int(%y, 0, 1)
  %1 : f32[4, 4] = aten.erf.default(%x)
  %2 : f32[4, 4] = aten.matmul.default(%1, %0)
  output user "y" %2
)ir");
  EXPECT_EQ(ops(program.graph), (Ops{"aten.erf.default", kDelegate}));
}

// A buffer that the program writes to is no constant.
TEST(XnnpackPartition, StateIsAnInput) {
  const Program program = partitioned(R"ir(
  input buffer %s "state" : f32[4, 4] = zeros
  input user %x "x" : f32[4, 4]
  %0 : f32[4, 4] = aten.matmul.default(%x, %s)
  %1 : f32[4, 4] = aten.add.Tensor(%0, %s, 1)
  output buffer_mutation "state" %1
  output user "y" %0
)ir");
  const auto found = delegates(program);
  ASSERT_EQ(found.size(), 1u);
  const XnnDelegate made = lower_to_xnnpack(program, *found[0], bounds_of(program));
  EXPECT_EQ(made.inputs.size(), 2u);
  EXPECT_TRUE(made.named_data.empty());
}

struct Refused {
  std::string line, reason;
};

TEST(XnnpackPartition, LimitsAreNamed) {
  const std::vector<Refused> cases = {
      {"%0 : f32[2, 4] = aten.erf.default(%x)", "no kernel of XNNPACK"},
      {"%0 : i64[2, 4] = aten.add.Tensor(%i, %i, 1)", "a tensor is neither float32 nor float16"},
      {"%0 : f32[] = aten.neg.default(%scalar)", "a tensor of rank 0"},
      {"%0 : f32[1, 1, 1, 1, 1, 2, 4] = aten.neg.default(%deep)", "a tensor has more than 6 dims"},
      {"%0 : f32[0, 4] = aten.neg.default(%empty)", "a tensor is empty"},
      {"%0 : f32[a, b, 2, 2] = aten.view.default(%d, ints [a, b, 2, 2])",
       "a reshape has more than one dynamic dim"},
      {"%0 : f32[a, b, 4] = aten.add.Tensor(%d, a, 1)", "an operand is symbolic"},
      {"%0 : f32[a, 1, 4] = aten.mean.dim(%d, ints [1], True, None)",
       "the size that is summed over is dynamic"},
      {"%0 : f32[a, 1, 4] = aten.slice.Tensor(%d, 1, -1, 9223372036854775807, 1)",
       "a slice with steps, of dynamic places or from the end"},
      {"%0 : f32[2, 4] = aten.pow.Tensor_Scalar(%x, 1.5)", "an exponent without a kernel"},
      {"%0 : f32[2] = aten.matmul.default(%x, %v)", "a product with a vector"},
      {"%0 : f32[2, 4] = aten.clamp.default(%x, 1.0, 1.0)", "a clamp to an empty range"},
      {"%0 : f32[3, 2, 4] = aten.expand.default(%x, ints [3, 2, 4], False)",
       "elements are repeated"},
  };
  for (const Refused& refused : cases) {
    const Program program = parse(R"ir(program {
  symbol a in [1, 64] hint 2 from "d.size(0)" size user
  symbol b in [1, 64] hint 3 from "d.size(1)" size user
  input user %x "x" : f32[2, 4]
  input user %v "v" : f32[4]
  input user %i "i" : i64[2, 4]
  input user %scalar "scalar" : f32[]
  input user %deep "deep" : f32[1, 1, 1, 1, 1, 2, 4]
  input user %empty "empty" : f32[0, 4]
  input user %d "d" : f32[a, b, 4]
  )ir" + refused.line + "\n  output user \"y\" %0\n}\n");
    EXPECT_EQ(xnn_refusal({XnnScope(program), program.graph.nodes.at(0)}), refused.reason)
        << refused.line;
  }
}

TEST(XnnpackPayload, ProductsWithTransposedOperandsTakeThemAsTheyAre) {
  EXPECT_EQ(lowered(R"ir(
  input user %q "q" : f32[2, 5, 8]
  input user %k "k" : f32[2, 6, 8]
  %0 : f32[2, 8, 6] = aten.transpose.int(%k, 1, 2)
  %1 : f32[2, 5, 6] = aten.matmul.default(%q, %0)
  output user "y" %1
)ir"),
            Ops{"XNNBatchMatrixMultiply"});
}

// One transpose to NHWC at the beginning and none until NCHW is asked for.
TEST(XnnpackPayload, ChannelsStayLast) {
  EXPECT_EQ(lowered(R"ir(
  input parameter %w "w" : f32[8, 8, 3, 3] = zeros
  input user %x "x" : f32[1, 8, 6, 6]
  %0 : f32[1, 8, 6, 6] = aten.conv2d.default(%x, %w, None, ints [1, 1], ints [1, 1], ints [1, 1], 1)
  %1 : f32[1, 8, 6, 6] = aten.relu.default(%0)
  %2 : f32[1, 8, 6, 6] = aten.conv2d.default(%1, %w, None, ints [1, 1], ints [1, 1], ints [1, 1], 1)
  %3 : f32[1, 8, 6, 6] = aten.add.Tensor(%2, %1, 1)
  %4 : f32[1, 8] = aten.mean.dim(%3, ints [2, 3], False, None)
  output user "y" %4
)ir"),
            (Ops{"XNNStaticTranspose", "XNNConv2d", "XNNClamp", "XNNConv2d", "XNNAdd",
                 "XNNGlobalAvgPooling2d", "XNNStaticReshape"}));
}

// Means of channels that gate them (squeeze and excite) need no NCHW either.
TEST(XnnpackPayload, GatesOfChannelsStayLast) {
  EXPECT_EQ(
      lowered(R"ir(
  symbol n in [1, 64] hint 2 from "x.size(0)" size user
  input parameter %w "w" : f32[8, 8, 1, 1] = zeros
  input user %x "x" : f32[n, 8, 6, 6]
  %0 : f32[n, 8, 6, 6] = aten.conv2d.default(%x, %w, None, ints [1, 1], ints [0, 0], ints [1, 1], 1)
  %1 : f32[n, 8, 1, 1] = aten.adaptive_avg_pool2d.default(%0, ints [1, 1])
  %2 : f32[n, 8, 1, 1] = aten.conv2d.default(%1, %w, None, ints [1, 1], ints [0, 0], ints [1, 1], 1)
  %3 : f32[n, 8, 1, 1] = aten.sigmoid.default(%2)
  %4 : f32[n, 8, 6, 6] = aten.mul.Tensor(%0, %3)
  %5 : f32[n, 8, 6, 6] = aten.conv2d.default(%4, %w, None, ints [1, 1], ints [0, 0], ints [1, 1], 1)
  %6 : f32[n, 8] = aten.mean.dim(%5, ints [2, 3], False, None)
  output user "y" %6
)ir"),
      (Ops{"XNNStaticTranspose", "XNNConv2d", "XNNGlobalAvgPooling2d", "XNNConv2d", "XNNSigmoid",
           "XNNMultiply", "XNNConv2d", "XNNGlobalAvgPooling2d", "XNNStaticReshape"}));
}

// The rows of patches are what the convolution makes.
TEST(XnnpackPayload, PatchesAreNotTransposed) {
  EXPECT_EQ(lowered(R"ir(
  input parameter %w "w" : f32[8, 3, 4, 4] = zeros
  input user %x "x" : f32[2, 3, 8, 8]
  %0 : f32[2, 8, 2, 2] = aten.conv2d.default(%x, %w, None, ints [4, 4], ints [0, 0], ints [1, 1], 1)
  %1 : f32[2, 8, 4] = aten.flatten.using_ints(%0, 2, -1)
  %2 : f32[2, 4, 8] = aten.transpose.int(%1, 1, 2)
  %3 : f32[2, 4, 8] = aten.tanh.default(%2)
  output user "y" %3
)ir"),
            (Ops{"XNNStaticTranspose", "XNNConv2d", "XNNStaticReshape", "XNNTanh"}));
}

TEST(XnnpackPayload, BatchNormsAreFoldedIntoFilters) {
  EXPECT_EQ(lowered(R"ir(
  input parameter %w "w" : f32[2, 1, 1, 1] = zeros
  input parameter %p "p" : f32[2] = [1.0, 2.0]
  input user %x "x" : f32[1, 1, 6, 6]
  %0 : f32[1, 2, 6, 6] = aten.conv2d.default(%x, %w, None, ints [1, 1], ints [0, 0], ints [1, 1], 1)
  %1 : f32[1, 2, 6, 6] = aten.batch_norm.default(%0, %p, %p, %p, %p, False, 0.1, 1e-05, True)
  output user "y" %1
)ir"),
            (Ops{"XNNStaticReshape", "XNNDepthwiseConv2d", "XNNStaticTranspose"}));
}

// One key for weights of one storage, and one constant for equal numbers.
TEST(XnnpackPayload, ConstantsAreStoredOnce) {
  const Program program = partitioned(R"ir(
  input parameter %w "w" : f32[4, 4] = zeros
  input user %x "x" : f32[4, 4]
  %0 : f32[4, 4] = aten.linear.default(%x, %w, None)
  %1 : f32[4, 4] = aten.mul.Tensor(%0, 0.5)
  %2 : f32[4, 4] = aten.linear.default(%1, %w, None)
  %3 : f32[4, 4] = aten.mul.Tensor(%2, 0.5)
  output user "y" %3
)ir");
  const XnnDelegate made = lower_to_xnnpack(program, program.graph.nodes.at(0), bounds_of(program));
  EXPECT_EQ(made.named_data.size(), 2u);
}

// A result that is an input or another result, too, is a copy.
TEST(XnnpackPayload, EachResultHasItsOwnNode) {
  const Program program = partitioned(R"ir(
  input user %x "x" : f32[4, 4]
  %0 : f32[4, 4] = aten.matmul.default(%x, %x)
  %1 : f32[4, 4] = aten.clone.default(%0, None)
  %2 : f32[4, 4] = aten.softmax.int(%1, -1, None)
  output user "a" %0
  output user "b" %1
  output user "c" %2
)ir");
  EXPECT_EQ(lowered(program, *delegates(program).at(0)),
            (Ops{"XNNBatchMatrixMultiply", "XNNSoftmax", "XNNCopy"}));
}

// Keys and values are joined where they are read, whatever else reads them.
TEST(XnnpackPayload, NodesStandBeforeThoseThatReadThem) {
  const Program program = partitioned(R"ir(
  input user %q "q" : f32[4, 8]
  input user %k "k" : f32[8, 6]
  input user %v "v" : f32[6, 8]
  %0 : f32[8, 12] = aten.cat.default(values [%k, %k], 1)
  %1 : f32[12, 8] = aten.cat.default(values [%v, %v], 0)
  %2 : f32[4, 12] = aten.matmul.default(%q, %0)
  %3 : f32[4, 12] = aten.softmax.int(%2, -1, None)
  %4 : f32[4, 8] = aten.matmul.default(%3, %1)
  output user "keys" %0
  output user "values" %1
  output user "y" %4
)ir");
  EXPECT_EQ(lowered(program, *delegates(program).at(0)),
            (Ops{"XNNConcatenate2", "XNNBatchMatrixMultiply", "XNNSoftmax", "XNNConcatenate2",
                 "XNNBatchMatrixMultiply"}));
}

TEST(XnnpackPreparation, BoolMasksAreMadeOnceOutside) {
  const Program program = partitioned(R"ir(
  symbol t in [1, 64] hint 5 from "q.size(2)" size user
  input user %q "q" : f32[1, 2, t, 8]
  input user %m "m" : bool[1, 1, t, t]
  %0 : f32[1, 2, t, 8] = aten.scaled_dot_product_attention.default(%q, %q, %q, %m, 0.0, False, None, False)
  %1 : f32[1, 2, t, 8] = aten.scaled_dot_product_attention.default(%0, %q, %q, %m, 0.0, False, None, False)
  output user "y" %1
)ir");
  EXPECT_EQ(ops(program.graph),
            (Ops{"aten._to_copy.default", "aten.any.dim", "aten._to_copy.default", kDelegate}));
}

// A row of a causal mask always has its first key: no result is zeros.
TEST(XnnpackPreparation, CausalMasksOfDynamicSize) {
  const Program program = partitioned(R"ir(
  symbol t in [1, 64] hint 5 from "q.size(2)" size user
  input user %q "q" : f32[1, 2, t, 8]
  %0 : f32[1, 2, t, 8] = aten.scaled_dot_product_attention.default(%q, %q, %q, None, 0.0, True, None, False)
  output user "y" %0
)ir");
  const Ops found = ops(program.graph);
  EXPECT_EQ(std::count(found.begin(), found.end(), "aten.any.dim"), 0);
  EXPECT_EQ(std::count(found.begin(), found.end(), "aten.le.Tensor"), 1);
  EXPECT_EQ(std::count(found.begin(), found.end(), kDelegate), 1);
}

// What is known of a mask before is computed before.
TEST(XnnpackPreparation, ConstantMasksAreConstants) {
  const Program program = partitioned(R"ir(
  input constant %m "m" : bool[1, 1, 2, 2] = [1, 0, 1, 1]
  input user %q "q" : f32[1, 2, 2, 8]
  %0 : f32[1, 2, 2, 8] = aten.scaled_dot_product_attention.default(%q, %q, %q, %m, 0.0, False, None, False)
  %1 : f32[1, 2, 2, 8] = aten.scaled_dot_product_attention.default(%0, %q, %q, None, 0.0, True, None, False)
  output user "y" %1
)ir");
  EXPECT_EQ(ops(program.graph), Ops{kDelegate});
}

// Keys of grouped heads are used as they are.
TEST(XnnpackPreparation, GroupedHeadsAreNotRepeated) {
  const Program program = partitioned(R"ir(
  input user %q "q" : f32[1, 4, 1, 8]
  input user %k "k" : f32[1, 2, 6, 8]
  %0 : f32[1, 2, 1, 6, 8] = aten.unsqueeze.default(%k, 2)
  %1 : f32[1, 2, 2, 6, 8] = aten.expand.default(%0, ints [1, 2, 2, 6, 8], False)
  %2 : f32[1, 4, 6, 8] = aten.reshape.default(%1, ints [1, 4, 6, 8])
  %3 : f32[1, 4, 1, 8] = aten.scaled_dot_product_attention.default(%q, %2, %2, None, 0.0, False, None, False)
  output user "y" %3
)ir");
  EXPECT_EQ(ops(program.graph), (Ops{"aten.reshape.default", kDelegate, "aten.reshape.default"}));
  EXPECT_EQ(lowered(program, *delegates(program).at(0)),
            (Ops{"XNNMultiply", "XNNBatchMatrixMultiply", "XNNSoftmax", "XNNBatchMatrixMultiply"}));
}

// Scores and masks are float32; what is beside them stays float16.
TEST(XnnpackFloat16, AttentionWeighsInFloat32) {
  EXPECT_EQ(lowered(R"ir(
  input user %q "q" : f16[1, 2, 3, 8]
  input user %m "m" : f32[1, 1, 3, 3]
  %0 : f16[1, 2, 3, 8] = aten.scaled_dot_product_attention.default(%q, %q, %q, None, 0.0, False, 1.0, False)
  output user "y" %0
)ir"),
            (Ops{"XNNMultiply", "XNNBatchMatrixMultiply", "XNNConvert", "XNNSoftmax", "XNNConvert",
                 "XNNBatchMatrixMultiply"}));
}

// Norms of models that cast by themselves: one conversion there and one back.
TEST(XnnpackFloat16, NormsAreFloat32) {
  const Ops norm = {"XNNConvert",  "XNNSquare",  "XNNFullyConnected", "XNNReciprocalSquareRoot",
                    "XNNMultiply", "XNNConvert", "XNNMultiply"};
  EXPECT_EQ(lowered(R"ir(
  input parameter %w "w" : f16[8] = zeros
  input user %x "x" : f16[4, 8]
  %0 : f16[4, 8] = aten.rms_norm.default(%x, ints [8], %w, 1e-06)
  output user "y" %0
)ir"),
            norm);
}

// 1e-9 is zero in float16.
TEST(XnnpackFloat16, NumbersThatAreNotHeldStayOutside) {
  const Program program = partitioned(R"ir(
  input user %x "x" : f16[4, 8]
  %0 : f16[4, 8] = aten.softmax.int(%x, -1, None)
  %1 : f16[4, 8] = aten.div.Tensor(%0, 1e-09)
  %2 : f16[4, 8] = aten.softmax.int(%1, -1, None)
  output user "y" %2
)ir");
  EXPECT_EQ(ops(program.graph), (Ops{kDelegate, "aten.div.Tensor", kDelegate}));
}

TEST(XnnpackFloat16, FactorsThatAreNotHeldAndRangesThatAreEmptyStayOutside) {
  const Program program = partitioned(R"ir(
  input user %x "x" : f16[4, 4]
  %0 : f16[4, 4] = aten.softmax.int(%x, -1, None)
  %1 : f16[4, 4] = aten.clamp.default(%0, 1.0, 1.0001)
  %2 : f16[4, 4] = aten.baddbmm.default(%x, %x, %x, 1.0, 1e-09)
  output user "y" %1
  output user "z" %2
)ir");
  EXPECT_EQ(ops(program.graph), (Ops{kDelegate, "aten.clamp.default", "aten.baddbmm.default"}));
}

// Constants of equal bytes and different dtypes are two.
TEST(XnnpackFloat16, ZerosOfTwoDtypes) {
  EXPECT_EQ(
      lowered(R"ir(
  input parameter %f "f" : f16[4, 8, 1, 1] = zeros
  input parameter %s "s" : f16[4] = zeros
  input parameter %v "v" : f16[4] = zeros
  input parameter %t "t" : f16[8] = zeros
  input user %x "x" : f16[1, 8, 3, 3]
  %0 : f16[1, 8, 3, 3] = aten.batch_norm.default(%x, %t, %t, %t, %t, False, 0.1, 1e-05, True)
  %1 : f16[1, 4, 3, 3] = aten.conv2d.default(%0, %f, None, ints [1, 1], ints [0, 0], ints [1, 1], 1)
  %2 : f16[1, 4, 3, 3] = aten.batch_norm.default(%1, %s, %s, %s, %v, False, 0.1, 1e-05, True)
  output user "y" %2
)ir"),
      (Ops{"XNNMultiply", "XNNAdd", "XNNStaticTranspose", "XNNConv2d", "XNNStaticTranspose"}));
}

TEST(XnnpackPreparation, IsIdempotent) {
  Program program = partitioned(kTwoLayers);
  const std::string once = print(program);
  partition_for_xnnpack(program, bounds_of(program));
  EXPECT_EQ(print(program), once);
}

}  // namespace
}  // namespace portwright
