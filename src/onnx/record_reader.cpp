// Reads the record of an export back. The file may be hostile: every error is kCorrupt.
#include <nlohmann/json.hpp>

#include "ir/mapped_file.h"
#include "ir/text_tables.h"
#include "onnx/proto_fields.h"
#include "onnx/proto_reader.h"
#include "onnx/record.h"

namespace portwright {
namespace {

using namespace onnx_fields;
using Json = nlohmann::json;

constexpr size_t kMostRank = 64;  // of an input

// A float would be cast, outside of what an integer holds too.
int64_t integer(const Json& value) {
  if (!value.is_number_integer()) throw Error(ErrorCode::kCorrupt, "a number that is no integer");
  return value.get<int64_t>();
}

int64_t bound(const Json& value, int64_t infinity) {
  return value.is_null() ? infinity : integer(value);
}

class RecordReader {
 public:
  explicit RecordReader(const Json& record) : record_(record) {}

  Program run() {
    for (const Json& item : record_.at("dims")) add_symbol(item);
    for (const Json& item : record_.at("dims")) learn(item);
    std::vector<Guard> guards;
    for (const Json& item : record_.at("conditions")) guards.push_back(guard(item));
    symbols().set_guards(std::move(guards));
    for (const Json& item : record_.at("inputs")) add_input(item);
    return std::move(program_);
  }

 private:
  SymbolTable& symbols() { return *program_.symbols; }

  void add_symbol(const Json& item) {
    SymbolInfo info;
    info.name = item.at("name").get<std::string>();
    if (!item.contains("is")) {
      info.range = {bound(item.at("min"), -Interval::kInfinity),
                    bound(item.at("max"), Interval::kInfinity)};
    }
    info.hint = integer(item.at("sample"));
    info.origin = item.value("of", std::string());
    info.unbacked = item.value("from_data", false);
    symbols().add_symbol(std::move(info));
  }

  // Sizes that were found to equal others: dims that share a name.
  void learn(const Json& item) {
    if (!item.contains("is")) return;
    const Expr symbol = parse_expr(item.at("name").get<std::string>(), symbols());
    const Expr value = parse_expr(item.at("is").get<std::string>(), symbols());
    symbols().require(Predicate::compare(symbol, Relation::kEq, value), GuardKind::kEquality, {},
                      {});
  }

  Guard guard(const Json& item) {
    Guard guard;
    const auto kind = item.at("kind").get<std::string>();
    for (const auto& [value, word] : kGuardWords) {
      if (word == kind) guard.kind = value;
    }
    guard.predicate = parse_predicate(item.at("condition").get<std::string>(), symbols());
    if (item.contains("file")) {
      const int64_t line = integer(item.at("line"));
      guard.source = {item.at("file").get<std::string>(), static_cast<int>(line)};
    }
    guard.module_path = item.value("module", std::string());
    return guard;
  }

  void add_input(const Json& item) {
    TensorType type;
    const auto dtype = dtype_of_onnx_name(item.at("dtype").get<std::string>());
    const Json& dims = item.at("dims");
    if (!dtype || dims.size() > kMostRank) {
      throw Error(ErrorCode::kCorrupt, "an input of an unknown type");
    }
    type.dtype = *dtype;
    for (const Json& dim : dims) {
      type.shape.push_back(dim.is_string() ? parse_expr(dim.get<std::string>(), symbols())
                                           : Expr(integer(dim)));
    }
    for (Expr& size : type.shape) size = symbols().resolve(size);
    const auto name = item.at("name").get<std::string>();
    program_.graph.inputs.push_back(program_.graph.add_value(std::move(type), name));
    program_.inputs.push_back({InputKind::kUserInput, name, true, std::nullopt});
  }

  const Json& record_;
  Program program_;
};

[[noreturn]] void corrupt(const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "the record of the export in the model is damaged: " + what);
}

std::string find_record(ProtoReader model) {
  while (model.next(kModelProto_metadata_props)) {
    const auto [key, value] = read_entry(model.message());
    if (key == kRecordKey) return value;
  }
  return {};
}

}  // namespace

Program read_record(const std::string& record) {
  try {
    const Json json = Json::parse(record);
    return RecordReader(json).run();
  } catch (const Json::exception& error) {
    corrupt(error.what());
  } catch (const Error& error) {
    corrupt(error.what());
  }
}

Program read_file_record(const std::string& path) {
  const auto file = MappedFile::open(path);
  std::string record;
  try {
    record = find_record(ProtoReader(file->bytes()));
  } catch (const protozero::exception& error) {
    throw Error(ErrorCode::kCorrupt,
                path + " is truncated or is not an ONNX model (" + error.what() + ")");
  }
  if (record.empty()) {
    throw Error(ErrorCode::kUnsupported,
                path +
                    " has no record of an export by Portwright, so what it was captured for is "
                    "not known: run it with onnxruntime itself");
  }
  return read_record(record);
}

}  // namespace portwright
