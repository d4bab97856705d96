// Lowering without torch, and the writer's files.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "ir/builder.h"
#include "ir/text.h"
#include "onnx/export.h"
#include "onnx/inspect.h"
#include "onnx/lowering.h"
#include "onnx/placeholder.h"
#include "onnx/writer.h"

namespace portwright {
namespace {

namespace fs = std::filesystem;

Program program_of(const std::string& op) {
  ProgramBuilder b;
  const Expr batch = b.symbol("batch", {1, 64}, 2);
  const ValueId x = b.input("x", DType::kFloat32, {batch, 512});
  const ValueId w = b.parameter("w", DType::kFloat32, {512});
  b.at("layer.0", {"model.py", 7});
  const ValueId y = b.op(op, {ValueRef{x}, ValueRef{w}, Expr(1)}, DType::kFloat32, {batch, 512});
  return b.output("y", y).build();
}

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    path = fs::temp_directory_path() /
           ("portwright_" +
            std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::create_directories(path);
  }
  void TearDown() override { fs::remove_all(path); }
  fs::path path;
};

TEST(Lowering, NodeNamesFollowTheModulePath) {
  const OnnxModel model = lower(program_of("aten.add.Tensor"), {});
  ASSERT_EQ(model.nodes.size(), 1u);
  EXPECT_EQ(model.nodes[0].name, "/layer.0/Add");
}

TEST(Lowering, LoopsBecomeLoopsWithABody) {
  const Program program = parse(R"ir(program {
  symbol s0 in [0, inf] hint 2 from "x.size(0)" size
  symbol u0 in [0, inf] hint 0 from "round" unbacked
  input user %x "x" : f32[s0, 4]
  %1 : f32[4] = aten.select.int(%x, 0, 0)
  [%2], [%3], [] : [f32[4]], [f32[s0, 4]], [] = portwright.loop.default(s0, u0, values [%1], values [%x], ints []) graph(%0 : f32[4], %1 : f32[s0, 4]) {
    %2 : f32[4] = aten.select.int(%1, 0, u0)
    %3 : f32[4] = aten.add.Tensor(%0, %2, 1)
    return [%3, %2]
  }
  output user "last" %2
  output user "rows" %3
}
)ir");
  const OnnxModel model = lower(program, {});
  const auto loop = std::find_if(model.nodes.begin(), model.nodes.end(),
                                 [](const OnnxNode& node) { return node.op_type == "Loop"; });
  ASSERT_NE(loop, model.nodes.end());
  EXPECT_EQ(loop->outputs, (std::vector<std::string>{"last", "rows"}));
  std::vector<std::string> read;
  for_each_body(*loop, [&](const OnnxBody& body) {
    EXPECT_EQ(body.inputs.size(), 3u);   // counter, condition, carried
    EXPECT_EQ(body.outputs.size(), 3u);  // condition, carried, stacked
    for (const OnnxNode& node : body.nodes) {
      read.insert(read.end(), node.inputs.begin(), node.inputs.end());
    }
  });
  EXPECT_NE(std::find(read.begin(), read.end(), "x"), read.end());
  EXPECT_FALSE(serialize_onnx(model).empty());
}

TEST(Lowering, ListsEveryMissingOperatorWithItsLine) {
  try {
    lower(program_of("aten.no_such_op.default"), {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kMissingLowering);
    EXPECT_NE(std::string(error.what()).find("aten.no_such_op.default"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("model.py:7"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("layer.0"), std::string::npos);
  }
}

TEST(Lowering, TakesACallersOwnBeforeTheTable) {
  OnnxOptions options;
  options.lowerings["aten.add.Tensor"] = [](const LoweringCall& call) {
    call.give(call.emit.op("example::Add", {call.emit.tensor(call.arg(0))}));
  };
  const OnnxModel model = lower(program_of("aten.add.Tensor"), options);
  ASSERT_EQ(model.nodes.size(), 1u);
  EXPECT_EQ(model.nodes[0].domain, "example");
  EXPECT_EQ(model.nodes[0].op_type, "Add");
  EXPECT_EQ(model.nodes[0].inputs, std::vector<std::string>{"x"});
}

TEST(Lowering, PlaceholdersHoldTheArguments) {
  OnnxOptions options;
  options.lowerings["aten.no_such_op.default"] = &lower_as_placeholder;
  const OnnxModel model = lower(program_of("aten.no_such_op.default"), options);
  ASSERT_EQ(model.nodes.size(), 1u);
  const OnnxNode& node = model.nodes[0];
  EXPECT_EQ(node.domain, kPlaceholderDomain);
  EXPECT_EQ(node.op_type, "aten.no_such_op.default");
  EXPECT_EQ(node.inputs, (std::vector<std::string>{"x", "w"}));
  EXPECT_EQ(std::get<std::string>(node.attributes.at(0).second),
            R"([{"dtype":1,"input":0,"shape":["batch",512]},)"
            R"({"dtype":1,"input":1,"shape":[512]},1])");
}

TEST(Lowering, RefusesOpsetsOutsideItsRange) {
  OnnxOptions options;
  options.opset = 17;
  EXPECT_THROW(lower(program_of("aten.add.Tensor"), options), Error);
}

TEST_F(Folder, WeightsGoBesideTheModel) {
  const OnnxModel model = lower(program_of("aten.add.Tensor"), {});
  const OnnxFiles files = write_onnx(model, path / "model.onnx", true);
  EXPECT_TRUE(fs::exists(path / "model.onnx_data"));
  EXPECT_EQ(fs::file_size(files.data_path), files.data_bytes);
  EXPECT_GE(files.data_bytes, 512u * 4u);
}

TEST_F(Folder, InspectReadsWhatWasWritten) {
  write_onnx(lower(program_of("aten.add.Tensor"), {}), path / "model.onnx", false);
  EXPECT_NE(inspect_onnx(path / "model.onnx").find("batch"), std::string::npos);
}

TEST_F(Folder, InspectRefusesATruncatedFile) {
  write_onnx(lower(program_of("aten.add.Tensor"), {}), path / "model.onnx", false);
  fs::resize_file(path / "model.onnx", fs::file_size(path / "model.onnx") / 2);
  EXPECT_THROW(inspect_onnx(path / "model.onnx"), Error);
}

TEST_F(Folder, AFailedWriteLeavesNothing) {
  const fs::path target = path / "taken.onnx";
  fs::create_directories(target / "inside");  // nothing can be renamed onto it
  const OnnxModel model = lower(program_of("aten.add.Tensor"), {});
  EXPECT_THROW(write_onnx(model, target, true), Error);
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(path)) files += entry.is_regular_file();
  EXPECT_EQ(files, 0u);
}

}  // namespace
}  // namespace portwright
