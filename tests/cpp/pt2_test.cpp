// The .pt2 format without torch: schemas, names, zip, and the document of a program.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "ir/builder.h"
#include "ir/text.h"
#include "pt2/format.h"
#include "pt2/fx_names.h"
#include "pt2/model_writer.h"
#include "pt2/reader.h"
#include "pt2/writer.h"
#include "pt2/zip_reader.h"
#include "pt2/zip_writer.h"

namespace portwright {
namespace {

using Json = nlohmann::json;

// A folder of this process, gone when it ends: other runs of the tests may go on beside it.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(std::filesystem::path(::testing::TempDir()) /
              ("portwright-tests-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string temporary(const std::string& name) {
  static const TemporaryFolder kFolder;
  return (kFolder.path() / name).string();
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Pt2Schema, KnowsArgumentsAndDefaults) {
  const Schema schema = parse_schema(
      "f.x(Tensor(a) self, int[2] p=1, *, Scalar? s=None, str m=\"mean\") -> (Tensor v, Tensor[] "
      "w)");
  ASSERT_EQ(schema.arguments.size(), 4U);
  EXPECT_EQ(schema.arguments[0].type, "Tensor");
  EXPECT_FALSE(schema.arguments[0].fallback.has_value());
  EXPECT_EQ(schema.arguments[1].fallback, Argument(IntList{1, 1}));
  EXPECT_FALSE(schema.arguments[1].keyword_only);
  EXPECT_TRUE(schema.arguments[2].keyword_only);
  EXPECT_EQ(schema.arguments[2].fallback, Argument(None{}));
  EXPECT_EQ(schema.arguments[3].fallback, Argument(std::string("mean")));
  EXPECT_EQ(schema.returns, (std::vector<std::string>{"Tensor", "Tensor[]"}));
  EXPECT_THROW(parse_schema("no schema"), Error);
}

TEST(Pt2Schema, TableHoldsAtenAndTakesOthers) {
  SchemaTable table;
  ASSERT_NE(table.find("aten.linear.default"), nullptr);
  EXPECT_EQ(table.find("aten.linear.default")->arguments[2].name, "bias");
  EXPECT_EQ(table.find("library.f.default"), nullptr);
  table.add("library::f(Tensor x) -> Tensor");
  EXPECT_NE(table.find("library.f.default"), nullptr);
  table.set_source([](const std::string& op) -> std::optional<std::string> {
    if (op != "other.g.default") return std::nullopt;
    return "other::g(Tensor x, int n=2) -> Tensor";
  });
  EXPECT_EQ(table.find("other.h.default"), nullptr);
  ASSERT_NE(table.find("other.g.default"), nullptr);
  EXPECT_EQ(table.find("other.g.default")->arguments.size(), 2U);
}

TEST(Pt2Names, AreUniqueIdentifiers) {
  FxNames names;
  EXPECT_EQ(names.fresh("linear"), "linear");
  EXPECT_EQ(names.fresh("linear"), "linear_1");
  EXPECT_EQ(names.fresh("sum"), "sum_1");
  EXPECT_EQ(names.fresh("past_key_values.0.key"), "past_key_values_0_key");
  EXPECT_EQ(names.fresh("0"), "_0");
}

TEST(Zip, ReadsBackWhatItWrote) {
  const std::string path = temporary("archive.zip");
  ZipWriter writer;
  writer.add("a/first", "text");
  writer.add("a/empty", "");
  const std::string large(20 << 20, 'x');  // several chunks
  writer.add("a/large", large);
  const uint64_t size = writer.write(path);
  EXPECT_EQ(size, std::filesystem::file_size(path));
  const ZipReader reader = ZipReader::open(path);
  EXPECT_EQ(reader.text("first"), "text");
  EXPECT_EQ(reader.text("empty"), "");
  EXPECT_EQ(reader.text("large"), large);
  for (const auto& [name, entry] : reader.entries()) EXPECT_EQ(entry.offset % 64, 0U) << name;
  EXPECT_THROW(reader.text("missing"), Error);
}

TEST(Zip, RefusesEveryTruncationAndNeverCrashesOnFlippedBytes) {
  const std::string path = temporary("whole.zip");
  ZipWriter writer;
  writer.add("a/first", "text");
  writer.add("a/second", "more text");
  writer.write(path);
  const std::string whole = contents(path);
  const std::string damaged_path = temporary("damaged.zip");
  auto open_damaged = [&](const std::string& bytes) {
    std::ofstream(damaged_path, std::ios::binary) << bytes;
    return ZipReader::open(damaged_path);
  };
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(open_damaged(whole.substr(0, size)), Error) << size;
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(~bytes[at]);
    try {
      const ZipReader reader = open_damaged(bytes);
      for (const auto& [name, entry] : reader.entries()) reader.text(name);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
    }
  }
}

Program sample() {
  ProgramBuilder b;
  const Expr batch = b.symbol("batch", {1, 64}, 2);
  const ValueId x = b.input("x", DType::kFloat32, {batch, 8});
  const ValueId w = b.parameter("linear.weight", DType::kFloat32, {4, 8});
  const ValueId y =
      b.op("aten.linear.default", {ValueRef{x}, ValueRef{w}, None{}}, DType::kFloat32, {batch, 4});
  const ValueId z = b.op("aten.view.default", {ValueRef{y}, IntList{batch * Expr(4)}},
                         DType::kFloat32, {batch * Expr(4)});
  return b.output("z", z).build();
}

TEST(Pt2Model, HoldsTheProgram) {
  const Program program = sample();
  SchemaTable schemas;
  const Json model = Json::parse(write_model(program, plain_interface(program), schemas));
  const Json& graph = model["graph_module"]["graph"];
  std::vector<std::string> targets;
  for (const Json& node : graph["nodes"]) targets.push_back(node["target"]);
  EXPECT_EQ(targets, (std::vector<std::string>{"torch.ops.aten.sym_size.int", "_operator.ge",
                                               "torch.ops.aten._assert_scalar.default",
                                               "torch.ops.aten.linear.default", "_operator.mul",
                                               "torch.ops.aten.reshape.default"}));
  EXPECT_EQ(graph["nodes"][3]["inputs"].size(), 2U) << "a bias that is None is the default";
  EXPECT_EQ(model["range_constraints"]["s0"], (Json{{"min_val", 2}, {"max_val", 64}}));
  EXPECT_EQ(graph["sym_int_values"]["mul"]["as_expr"]["hint"]["as_int"], 8);
}

TEST(Pt2Model, NamesAnOperatorWithoutSchema) {
  ProgramBuilder b;
  const ValueId x = b.input("x", DType::kFloat32, {2});
  const Program program =
      b.output("y", b.op("library.f.default", {ValueRef{x}}, DType::kFloat32, {2})).build();
  SchemaTable schemas;
  try {
    write_model(program, plain_interface(program), schemas);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("library.f.default"), std::string::npos);
  }
}

TEST(Pt2Writer, StoresSharedBytesOnceAndNothingPickled) {
  ProgramBuilder b;
  const Weight whole = Weight::from_host(DType::kFloat32, {4, 2}, std::vector<std::byte>(32));
  Weight row = whole;
  row.shape = {2};
  row.strides = {1};
  row.storage_offset = 6;
  const ValueId first = b.constant("whole", whole);
  const ValueId second = b.constant("row", row);
  const Program program =
      b.output("y", b.op("aten.add.Tensor", {ValueRef{first}, ValueRef{second}, Expr(1)},
                         DType::kFloat32, {4, 2}))
          .build();
  SchemaTable schemas;
  const std::string path = temporary("shared.pt2");
  write_pt2(program, plain_interface(program), schemas, path);
  const ZipReader archive = ZipReader::open(path);
  EXPECT_EQ(archive.text(pt2::kSampleInputs), "");
  EXPECT_EQ(archive.entries().at("data/constants/tensor_0").size, 32U);
  EXPECT_FALSE(archive.contains("data/constants/tensor_1"));
  const Json config = Json::parse(archive.text(pt2::kConstantsConfig))["config"];
  EXPECT_EQ(config["row"]["tensor_meta"]["storage_offset"]["as_int"], 6);
  EXPECT_EQ(config["row"]["use_pickle"], false);
}

TEST(Pt2Reader, ReadsBackWhatTheWriterWrote) {
  const Program program = sample();
  SchemaTable schemas;
  const std::string path = temporary("sample.pt2");
  write_pt2(program, plain_interface(program), schemas, path);
  const Pt2File file = read_pt2(path, schemas);
  EXPECT_EQ(print(file.program), R"(program {
  symbol s0 in [0, 64] hint 2 from "the size 's0' of the .pt2 file" size
  guard assert s0 >= 1
  input parameter %p_linear_weight "linear.weight" : f32[4, 8] = external
  input user %x "x" : f32[s0, 8]
  %0 : f32[s0, 4] = aten.linear.default(%x, %p_linear_weight, None)
  %1 : f32[4*s0] = aten.reshape.default(%0, ints [4*s0])
  output user "reshape" %1
}
)");
  const Weight* written = program.weight(program.graph.inputs[1]);
  const Weight* read = file.program.weight(file.program.graph.inputs[0]);
  ASSERT_TRUE(written != nullptr && read != nullptr);
  EXPECT_EQ(read->copy_bytes(), written->copy_bytes());
  EXPECT_EQ(file.interface.argument_names, std::vector<std::string>{"x"});
}

TEST(Pt2Reader, ReadsADocumentOnWeightsFromElsewhere) {
  const Program program = sample();
  SchemaTable schemas;
  const std::string document = write_model(program, plain_interface(program), schemas);
  const Weight weight = *program.weight(program.graph.inputs[1]);
  const Pt2File file = read_model(document, {{{"linear.weight", weight}}, {}}, schemas);
  const Weight* read = file.program.weight(file.program.graph.inputs[0]);
  ASSERT_NE(read, nullptr);
  EXPECT_TRUE(same_storage(*read, weight));
  EXPECT_THROW(read_model(document, {}, schemas), Error);
  EXPECT_THROW(read_model("{", {}, schemas), Error);
}

// The document of `sample()` with one edit, as an archive.
Pt2File read_edited(const std::function<void(Json& model, Json& weights)>& edit) {
  const Program program = sample();
  SchemaTable schemas;
  const std::string path = temporary("edited.pt2");
  write_pt2(program, plain_interface(program), schemas, path);
  ZipWriter writer;
  {
    const ZipReader archive = ZipReader::open(path);
    Json model = Json::parse(archive.text(pt2::kModel));
    Json weights = Json::parse(archive.text(pt2::kWeightsConfig));
    edit(model, weights);
    for (const auto& [name, entry] : archive.entries()) {
      std::string text(archive.text(name));
      if (name == pt2::kModel) text = model.dump();
      if (name == pt2::kWeightsConfig) text = weights.dump();
      writer.add("a/" + name, text);
    }
  }
  writer.write(path);
  return read_pt2(path, schemas);
}

ErrorCode code_of(const std::function<void(Json& model, Json& weights)>& edit) {
  try {
    read_edited(edit);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(Pt2Reader, RefusesPickles) {
  EXPECT_EQ(code_of([](Json&, Json& weights) {
              weights["config"]["linear.weight"]["use_pickle"] = true;
            }),
            ErrorCode::kUnsupported);
}

TEST(Pt2Reader, RefusesTensorsOutsideTheirEntries) {
  for (const int64_t size : {int64_t{5}, int64_t{-1}, INT64_MAX}) {
    EXPECT_EQ(code_of([&](Json&, Json& weights) {
                Json& meta = weights["config"]["linear.weight"]["tensor_meta"];
                meta["sizes"][0]["as_int"] = size;
              }),
              ErrorCode::kCorrupt)
        << size;
  }
}

TEST(Pt2Reader, RefusesGraphsThatContradictThemselves) {
  const auto node = [](Json& model, size_t i) -> Json& {
    return model["graph_module"]["graph"]["nodes"][i];
  };
  EXPECT_EQ(code_of([&](Json& model, Json&) {
              node(model, 3)["inputs"][0]["arg"]["as_tensor"]["name"] = "nothing";
            }),
            ErrorCode::kCorrupt);
  EXPECT_EQ(
      code_of([&](Json& model, Json&) { node(model, 3)["target"] = "torch.ops.aten.no.such"; }),
      ErrorCode::kUnsupported);
  EXPECT_EQ(code_of([&](Json& model, Json&) { node(model, 0)["inputs"][1]["arg"]["as_int"] = 7; }),
            ErrorCode::kCorrupt);
  EXPECT_EQ(code_of([&](Json& model, Json&) { node(model, 3)["outputs"] = 3; }),
            ErrorCode::kCorrupt);
  EXPECT_EQ(code_of([&](Json& model, Json&) {
              Json& sizes = model["graph_module"]["graph"]["tensor_values"]["x"]["sizes"];
              sizes[0]["as_expr"]["expr_str"] = std::string(10000, '(');
            }),
            ErrorCode::kCorrupt);
}

TEST(Pt2Reader, EveryDamagedDocumentGivesAnError) {
  const Program program = sample();
  SchemaTable schemas;
  const std::string text = write_model(program, plain_interface(program), schemas);
  const std::string path = temporary("whole.pt2");
  write_pt2(program, plain_interface(program), schemas, path);
  const std::string whole = contents(path);
  const size_t start = whole.find(text);
  ASSERT_NE(start, std::string::npos);
  const std::string damaged_path = temporary("damaged.pt2");
  for (size_t at = start; at < start + text.size(); at += 7) {
    std::string bytes = whole;
    bytes[at] = bytes[at] == '9' ? '{' : '9';
    std::ofstream(damaged_path, std::ios::binary) << bytes;
    try {
      read_pt2(damaged_path, schemas);
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << at << ": " << error.what();
    }
  }
}

TEST(Pt2Reader, MakesInPlaceOperatorsFunctional) {
  const Pt2File file = read_edited([](Json& model, Json&) {
    Json& nodes = model["graph_module"]["graph"]["nodes"];
    nodes[3]["target"] = "torch.ops.aten.relu_.default";
    nodes[3]["inputs"] = Json::array({nodes[3]["inputs"][0]});
    nodes[3]["inputs"][0]["name"] = "self";
  });
  const std::string text = print(file.program);
  EXPECT_NE(text.find("= aten.relu.default(%x)"), std::string::npos) << text;
  EXPECT_NE(text.find("output user_input_mutation \"x\" %0"), std::string::npos) << text;
}

}  // namespace
}  // namespace portwright
