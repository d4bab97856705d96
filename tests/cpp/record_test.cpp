// The record of an export, written and read back.
#include "ir/record.h"

#include <gtest/gtest.h>

#include "ir/input_check.h"
#include "ir/text.h"
#include "onnx/export.h"

namespace portwright {
namespace {

constexpr const char* kProgram = R"ir(program {
  symbol rows in [0, inf] hint 4 from "x.size(0)" size
  symbol columns in [1, 8] hint 3 from "x.size(1)" size
  symbol u0 in [0, inf] hint 2 unbacked
  guard decision mod(rows, 2) == 0 at "model.py":7 in "head"
  guard decision columns <= 8 at "model.py":9
  guard decision u0 >= 1
  input user %x "x" : f32[rows, columns]
  input user %y "y" : i64[2*rows + 1]
  %0 : f32[rows, columns] = aten.relu.default(%x)
  output user "result" %0
})ir";

Program read_back(const Program& program) {
  return read_record(lower(program, {}).metadata.at(kRecordKey)).program;
}

std::string refusal(const Program& program, std::vector<int64_t> x, std::vector<int64_t> y) {
  const std::vector<GivenInput> inputs = {{DType::kFloat32, x}, {DType::kInt64, y}};
  try {
    check_inputs(program, inputs);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kGuardViolated);
    return error.what();
  }
}

TEST(Record, KeepsInputsRangesAndConditions) {
  const Program program = parse(kProgram);
  const Program again = read_back(program);
  EXPECT_EQ(refusal(again, {4, 3}, {9}), "");
  EXPECT_EQ(refusal(again, {2, 8}, {5}), "");
  for (const auto& [x, y] : std::vector<std::pair<std::vector<int64_t>, std::vector<int64_t>>>{
           {{3, 3}, {7}}, {{4, 9}, {9}}, {{4, 3}, {8}}, {{4, 3}, {11}}}) {
    const std::string message = refusal(again, x, y);
    EXPECT_NE(message, "");
    EXPECT_EQ(message, refusal(program, x, y));
  }
  EXPECT_NE(refusal(again, {4, 9}, {9}).find("model.py:9"), std::string::npos);
}

TEST(Record, KeepsLearntEqualities) {
  Program program = parse(R"ir(program {
  symbol a in [0, inf] hint 4 from "x.size(0)" size
  symbol b in [0, inf] hint 4 from "y.size(0)" size
  symbol c in [0, inf] hint 3 from "x.size(1)" size
  input user %x "x" : f32[a, c]
  input user %y "y" : i64[b]
  output user "result" %x
})ir");
  SymbolTable& symbols = *program.symbols;
  const auto predicate = [&](const char* text) { return parse_predicate(text, symbols); };
  symbols.require(predicate("a == b"), GuardKind::kEquality, {"model.py", 3}, "");
  symbols.require(predicate("c == 3"), GuardKind::kDecision, {"model.py", 4}, "");
  for (Value& value : program.graph.values) {
    for (Expr& size : value.type.shape) size = symbols.resolve(size);
  }
  const Program again = read_back(program);
  EXPECT_EQ(refusal(again, {5, 3}, {5}), "");
  for (const auto& [x, y, line] : {std::tuple{std::vector<int64_t>{5, 3}, 6, "model.py:3"},
                                   {std::vector<int64_t>{5, 4}, 5, "model.py:4"}}) {
    const std::string message = refusal(again, x, {y});
    EXPECT_NE(message.find(line), std::string::npos) << message;
    EXPECT_EQ(message, refusal(program, x, {y}));
  }
}

TEST(Record, DamagedOnesAreRefused) {
  const std::string record = lower(parse(kProgram), {}).metadata.at(kRecordKey);
  for (size_t length = 0; length < record.size(); ++length) {
    EXPECT_THROW(read_record(record.substr(0, length)), Error);
  }
  for (size_t at = 0; at < record.size(); ++at) {
    for (const char byte : {'\0', '9', '"', '{', '\xff', '-'}) {
      std::string changed = record;
      changed[at] = byte;
      try {
        read_record(changed);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      }
    }
  }
}

ExportFacts facts_of(const Program& program) {
  ExportFacts facts;
  facts.format = "executorch";
  for (size_t i : program.user_inputs()) {
    facts.inputs.push_back(
        record_tensor(program.inputs[i].target, program.graph.type(program.graph.inputs[i])));
  }
  facts.outputs = {{"result", DType::kFloat32, {"rows", 3}, {}},
                   {"cache_mutated", DType::kFloat32, {}, "cache"}};
  facts.bounds = {{0, 10}};
  return facts;
}

TEST(Record, KeepsBoundsAndOutputs) {
  const Program program = parse(kProgram);
  const ExportRecord record = read_record(export_record(*program.symbols, facts_of(program)));
  EXPECT_EQ(record.outputs, (std::vector<std::string>{"result", "cache_mutated"}));
  EXPECT_EQ(record.new_values, (std::map<std::string, std::string>{{"cache", "cache_mutated"}}));
  EXPECT_EQ(record.bounds, (std::map<SymbolId, int64_t>{{0, 10}}));
  const auto message_of = [&](int64_t rows) -> std::string {
    const std::vector<int64_t> x = {rows, 3}, y = {2 * rows + 1};
    try {
      check_inputs(record, std::vector<GivenInput>{{DType::kFloat32, x}, {DType::kInt64, y}});
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kGuardViolated);
      return error.what();
    }
  };
  EXPECT_EQ(message_of(10), "");
  EXPECT_NE(
      message_of(12).find("dim 'rows' (x.size(0)) is 12, and memory is planned for at most 10"),
      std::string::npos);
  EXPECT_NE(message_of(11).find("mod(rows, 2) == 0"), std::string::npos);
}

TEST(Record, OfBoundsDamagedOnesAreRefused) {
  const Program program = parse(kProgram);
  const std::string record = export_record(*program.symbols, facts_of(program));
  for (const auto& [from, to] : {std::pair{"\"bound\": 10", "\"bound\": 1e1"},
                                 {"\"bound\": 10", "\"bound\": null"},
                                 {"\"name\": \"result\"", "\"name\": 3"},
                                 {"\"new_value_of\": \"cache\"", "\"new_value_of\": []"},
                                 {"\"outputs\"", "\"others\""}}) {
    std::string changed = record;
    const size_t at = changed.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    changed.replace(at, std::string(from).size(), to);
    EXPECT_THROW(read_record(changed), Error) << to;
  }
}

}  // namespace
}  // namespace portwright
