// The .pte format: what is written, what is read again, and what is refused.
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "executorch/inspect.h"
#include "executorch/reader.h"
#include "executorch/validator.h"
#include "executorch/writer.h"
#include "pte_models.h"

namespace portwright {
namespace {

uint64_t number_at(const std::string& file, size_t offset) {
  uint64_t value = 0;
  std::memcpy(&value, file.data() + offset, sizeof(value));
  return value;
}

TEST(Pte, HeaderSaysWhereTheSegmentsAre) {
  const std::string file = serialize_pte(addition());
  EXPECT_EQ(file.substr(4, 8), "ET12eh00");
  const uint64_t segments = number_at(file, 24);
  EXPECT_EQ(segments % 128, 0U);
  EXPECT_LE(number_at(file, 16), segments);
  EXPECT_EQ(number_at(file, 32), 16U);
  EXPECT_EQ(file.size(), segments + 16);
  float first = 0;
  std::memcpy(&first, file.data() + segments, sizeof(first));
  EXPECT_EQ(first, 1.0F);
}

TEST(Pte, SameBytesAreStoredOnce) {
  PteModel model = addition();
  const uint64_t one = serialize_pte(model).size();
  Weight renamed = model.constants[0];
  renamed.shape = {2, 2};
  renamed.strides = {2, 1};
  model.constants.push_back(renamed);
  model.named_data = {{"a", renamed}, {"b", model.constants[0]}};
  EXPECT_LT(serialize_pte(model).size(), one + 300);  // tables, no segments
  model.named_data.push_back({"c", weight_of({4}, 1)});
  model.named_data.push_back({"d", model.named_data.back().weight});
  const std::string file = serialize_pte(model);
  EXPECT_EQ(file.size(), number_at(file, 24) + 128 + 16);  // equal bytes elsewhere are others
}

TEST(Pte, StridedWeightsAreGathered) {
  PteModel model = addition();
  Weight matrix = weight_of({2, 2}, 1);
  matrix.strides = {1, 2};
  model.constants[0] = matrix;
  const std::string file = serialize_pte(model);
  float values[4];
  std::memcpy(values, file.data() + number_at(file, 24), sizeof(values));
  EXPECT_EQ((std::vector<float>(values, values + 4)), (std::vector<float>{1, 3, 2, 4}));
}

TEST(Pte, ComplexNumbersAreRefused) {
  PteModel model = addition();
  std::get<PteTensor>(model.methods[0].values[0]).dtype = DType::kComplex64;
  EXPECT_THROW(serialize_pte(model), Error);
}

std::string temporary(const std::string& name) {
  return (std::filesystem::path(::testing::TempDir()) / (std::to_string(::getpid()) + name))
      .string();
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::byte> bytes_of(const Weight& weight) { return weight.copy_bytes(); }

TEST(Pte, ReadsWhatItWrites) {
  const PteModel model = everything();
  const std::string path = temporary("everything.pte");
  const PteFacts facts = write_pte(model, path);
  EXPECT_EQ(contents(path), serialize_pte(model));
  EXPECT_EQ(facts.file_bytes, contents(path).size());
  EXPECT_EQ(facts.weight_bytes, 4U * (12 + 6 + 3 + 3));  // the tied one once
  const PteFile file = read_pte(path);
  std::filesystem::remove(path);  // mapped
  EXPECT_EQ(file.program_bytes, facts.program_bytes);
  EXPECT_EQ(serialize_pte(file.model), serialize_pte(model));
  ASSERT_EQ(file.model.constants.size(), 2U);
  EXPECT_EQ(file.model.constants[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(bytes_of(file.model.constants[1]), bytes_of(model.constants[1]));
  EXPECT_EQ(bytes_of(file.model.initial_states[0]), bytes_of(model.initial_states[0]));
  EXPECT_EQ(bytes_of(file.model.named_data[0].weight), bytes_of(model.constants[0]));
  const PteMethod& method = file.model.methods[0];
  EXPECT_EQ(std::get<int64_t>(method.values[7]), -5);
  EXPECT_EQ(std::get<PteOptionalTensorList>(method.values[14]).items,
            (std::vector<PteId>{1, kNoPteValue, 5}));
  EXPECT_TRUE(std::get<PteTensor>(method.values[1]).dynamic);
  EXPECT_EQ(std::get<PteTensor>(method.values[1]).allocation, (PteAllocation{1, 16}));
  EXPECT_EQ(method.delegates[0].compile_specs[0].second, "value");
}

TEST(Pte, OffsetsHave64Bits) {
  PteModel model = addition();
  model.methods[0].arena_sizes[1] = uint64_t{5} << 32;
  std::get<PteTensor>(model.methods[0].values[3]).allocation->offset = (uint64_t{4} << 32) + 16;
  const std::string path = temporary("large.pte");
  write_pte(model, path);
  const PteFile file = read_pte(path);
  std::filesystem::remove(path);
  EXPECT_EQ(std::get<PteTensor>(file.model.methods[0].values[3]).allocation,
            (PteAllocation{1, (uint64_t{4} << 32) + 16}));
}

TEST(Pte, ConstantsOfNoElementsHaveASegment) {
  PteModel model = addition();
  model.constants = {weight_of({0}, 0)};
  for (size_t i : {0, 1, 3}) std::get<PteTensor>(model.methods[0].values[i]).sizes = {0};
  const std::string file = serialize_pte(model);
  EXPECT_EQ(number_at(file, 32), 16U);
  EXPECT_EQ(file.size(), number_at(file, 24) + 16);
}

TEST(Pte, InspectTellsPartsAndOperators) {
  const std::string path = temporary("inspected.pte");
  write_pte(everything(), path);
  const auto facts = nlohmann::json::parse(inspect_pte(path));
  std::filesystem::remove(path);
  const auto& method = facts.at("methods").at("forward");
  EXPECT_EQ(
      method.at("delegated").at("XnnpackBackend"),
      (nlohmann::json{{"delegates", 1}, {"operators", {{"XNNAdd", 1}, {"XNNFullyConnected", 1}}}}));
  EXPECT_EQ(method.at("kernels"), (nlohmann::json{{"aten::add_.Tensor", 1}, {"aten::copy_", 1}}));
  EXPECT_EQ(method.at("arenas"), (nlohmann::json{64, 12}));
  EXPECT_EQ(method.at("outputs").at(0).at("shape"), "dynamic");
  EXPECT_EQ(facts.at("sizes").at("constants"), 72);
  EXPECT_EQ(facts.at("sizes").at("named_data"), 12);
}

// Each row breaks one thing, and what the validator says of it.
struct Breakage {
  const char* said;
  void (*change)(PteModel& model);
};

PteMethod& method(PteModel& model) { return model.methods[0]; }
PteTensor& tensor(PteModel& model, size_t value) {
  return std::get<PteTensor>(method(model).values[value]);
}
void set_payload(PteModel& model, const PayloadChanges& changes) {
  method(model).delegates[0].payload = payload_of(changes);
}

const Breakage kBreakages[] = {
    {"an item, value 8, is no int",
     [](PteModel& m) { std::get<PteIntList>(method(m).values[10]).items = {8}; }},
    {"comes after it", [](PteModel& m) { method(m).values[5] = PteTensorList{{0, 5}}; }},
    {"is no tensor", [](PteModel& m) { method(m).values[13] = PteTensorList{{7}}; }},
    {"an argument is value 99",
     [](PteModel& m) { method(m).instructions[2] = PteKernelCall{0, {99}}; }},
    {"an argument is value -1",
     [](PteModel& m) { method(m).instructions[2] = PteKernelCall{0, {-1}}; }},
    {"operator 7 of 2", [](PteModel& m) { method(m).instructions[2] = PteKernelCall{7, {}}; }},
    {"delegate 2 of 2",
     [](PteModel& m) { method(m).instructions[0] = PteDelegateCall{2, {0, 1}}; }},
    {"argument 1 of 1", [](PteModel& m) { method(m).instructions[0] = PteDelegateCall{0, {0}}; }},
    {"instruction 6 of 5", [](PteModel& m) { method(m).instructions[1] = PteJumpFalse{6, 6}; }},
    {"is no bool", [](PteModel& m) { method(m).instructions[1] = PteJumpFalse{7, 5}; }},
    {"leave arena 1", [](PteModel& m) { tensor(m, 1).allocation->offset = 44; }},
    {"arena 3 of 3", [](PteModel& m) { tensor(m, 1).allocation->arena = 3; }},
    {"no multiple of an element", [](PteModel& m) { tensor(m, 1).allocation->offset = 2; }},
    {"no permutation", [](PteModel& m) { tensor(m, 1).dim_order = {1, 1}; }},
    {"is negative", [](PteModel& m) { tensor(m, 0).sizes = {-2, 4}; }},
    {"data 9 of 2", [](PteModel& m) { tensor(m, 2).data = 9; }},
    {"44 bytes, its data 48", [](PteModel& m) { tensor(m, 2).sizes = {11, 1}; }},
    {"has no memory",
     [](PteModel& m) { tensor(m, 4).allocation.reset(), tensor(m, 4).data.reset(); }},
    {"input 2 is a constant", [](PteModel& m) { method(m).inputs = {2}; }},
    {"no namespace", [](PteModel& m) { method(m).operators[0].name = "add"; }},
    {"name longer than the runtime",
     [](PteModel& m) { method(m).operators[0].overload.assign(99, 'x'); }},
    {"two methods are called 'forward'", [](PteModel& m) { m.methods[1].name = "forward"; }},
    {"two data are called 'w'", [](PteModel& m) { m.named_data[1].key = "w"; }},
    {"outside of its source", [](PteModel& m) { m.constants[1].strides = {300, 1}; }},
    {"has no header", [](PteModel& m) { method(m).delegates[0].payload = "XH00"; }},
    {"truncated or damaged", [](PteModel& m) { method(m).delegates[0].payload[33] = 0x55; }},
    {"value 9, which is not there", [](PteModel& m) { set_payload(m, {.filter_id = 9}); }},
    {"before the node that writes it", [](PteModel& m) { set_payload(m, {.read = 4}); }},
    {"which is written already", [](PteModel& m) { set_payload(m, {.written = 3}); }},
    {"never writes its output", [](PteModel& m) { set_payload(m, {.written = 3}); }},
    {"as argument 5 of 2", [](PteModel& m) { set_payload(m, {.external = 5}); }},
    {"two values as argument 0", [](PteModel& m) { set_payload(m, {.external = 0}); }},
    {"has flags 6", [](PteModel& m) { set_payload(m, {.flags = 6}); }},
    {"where and does not pass", [](PteModel& m) { set_payload(m, {.flags = 0}); }},
    {"'v', which the file has not", [](PteModel& m) { set_payload(m, {.key = "v"}); }},
    {"44 bytes of 'w'", [](PteModel& m) { set_payload(m, {.bytes = 44}); }},
    {"7 dims, at most 6", [](PteModel& m) { set_payload(m, {.dims = {1, 1, 1, 1, 1, 2, 4}}); }},
    {"with 3 dims, the method with 2", [](PteModel& m) { set_payload(m, {.dims = {1, 2, 4}}); }},
    {"the method as f64", [](PteModel& m) { tensor(m, 0).dtype = DType::kFloat64; }},
};

TEST(Pte, UnsoundModelsAreNotWritten) {
  EXPECT_EQ(problems_of(everything()), std::vector<std::string>());
  for (const auto& [said, change] : kBreakages) {
    PteModel model = everything();
    change(model);
    try {
      serialize_pte(model);
      ADD_FAILURE() << "nothing was said: " << said;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(said), std::string::npos) << said << "\n"
                                                                         << error.what();
    }
  }
}

// x -> a -> b -> c, each by a kernel, at these offsets of an arena.
PteModel chain(uint64_t a, uint64_t b, uint64_t c) {
  PteModel model;
  PteMethod method;
  method.values = {tensor_of({4})};
  for (uint64_t offset : {a, b, c}) {
    PteTensor tensor = tensor_of({4});
    tensor.allocation = PteAllocation{1, offset};
    method.values.emplace_back(tensor);
  }
  method.inputs = {0};
  method.outputs = {3};
  method.operators = {{"aten::abs", "out"}};
  for (PteId id : {0, 1, 2}) {
    method.instructions.emplace_back(PteKernelCall{0, {id, id + 1, id + 1}});
  }
  method.arena_sizes = {0, 64};
  model.methods = {method};
  return model;
}

TEST(Pte, TensorsThatAreNeededTogetherLieApart) {
  EXPECT_EQ(problems_of(chain(0, 16, 0)), std::vector<std::string>());
  EXPECT_EQ(problems_of(chain(0, 0, 0)), std::vector<std::string>());  // in place
  PteModel model = chain(0, 16, 8);
  EXPECT_EQ(problems_of(model), std::vector<std::string>());
  std::get<PteKernelCall>(model.methods[0].instructions[2]).args = {1, 3, 3};
  EXPECT_EQ(problems_of(model), std::vector<std::string>());  // a is read last where c is written
  model = chain(0, 8, 32);
  std::get<PteKernelCall>(model.methods[0].instructions[2]).args = {1, 3, 3};
  ASSERT_EQ(problems_of(model).size(), 1U);
  EXPECT_NE(problems_of(model)[0].find("values 1 and 2 share bytes"), std::string::npos);
  // After the last instruction the first is done again, for which x and the first are needed.
  model = chain(0, 0, 32);
  model.methods[0].values.emplace_back(false);
  model.methods[0].instructions.emplace_back(PteKernelCall{0, {2, 3, 3}});
  model.methods[0].instructions.emplace_back(PteJumpFalse{4, 1});
  EXPECT_EQ(problems_of(model).size(), 1U);
}

TEST(Pte, OneErrorHasAllProblems) {
  PteModel model = everything();
  tensor(model, 2).data = 9;
  set_payload(model, {.filter_id = 9});
  EXPECT_EQ(problems_of(model).size(), 2U);
}

}  // namespace
}  // namespace portwright
