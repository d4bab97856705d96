// Reads the record of an export back. The file may be hostile: every error is kCorrupt.
#include <nlohmann/json.hpp>

#include "ir/dtype_names.h"
#include "ir/record.h"
#include "ir/text_tables.h"

namespace portwright {
namespace {

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

  ExportRecord run() {
    for (const Json& item : record_.at("dims")) add_symbol(item);
    for (const Json& item : record_.at("dims")) learn(item);
    std::vector<Guard> guards;
    for (const Json& item : record_.at("conditions")) guards.push_back(guard(item));
    symbols().set_guards(std::move(guards));
    for (const Json& item : record_.at("inputs")) add_input(item);
    for (const Json& item : record_.at("outputs")) add_output(item);
    return std::move(read_);
  }

 private:
  Program& program() { return read_.program; }
  SymbolTable& symbols() { return *program().symbols; }

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
    const SymbolId id = *symbols().add_symbol(std::move(info)).symbol();
    if (item.contains("bound")) read_.bounds[id] = integer(item.at("bound"));
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
    const auto dtype = dtype_of_torch_name(item.at("dtype").get<std::string>());
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
    program().graph.inputs.push_back(program().graph.add_value(std::move(type), name));
    program().inputs.push_back({InputKind::kUserInput, name, true, std::nullopt});
  }

  void add_output(const Json& item) {
    const auto name = item.at("name").get<std::string>();
    read_.outputs.push_back(name);
    if (item.contains("new_value_of"))
      read_.new_values[item.at("new_value_of").get<std::string>()] = name;
  }

  const Json& record_;
  ExportRecord read_;
};

[[noreturn]] void corrupt(const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "the record of the export in the file is damaged: " + what);
}

}  // namespace

ExportRecord read_record(const std::string& record) {
  try {
    const Json json = Json::parse(record);
    return RecordReader(json).run();
  } catch (const Json::exception& error) {
    corrupt(error.what());
  } catch (const Error& error) {
    corrupt(error.what());
  }
}

void check_bounds(const std::map<SymbolId, int64_t>& bounds, const SymbolTable& symbols,
                  std::span<const int64_t> values) {
  for (const auto& [id, bound] : bounds) {
    const SymbolInfo& info = symbols.info(id);
    if (symbols.replacement(id) || info.unbacked || values[id] <= bound) continue;
    const std::string origin = info.origin.empty() ? "" : " (" + info.origin + ")";
    throw Error(ErrorCode::kGuardViolated,
                "dim '" + info.name + "'" + origin + " is " + std::to_string(values[id]) +
                    ", and memory is planned for at most " + std::to_string(bound) +
                    ": export with a larger Dim(max=) or ExecutorchConfig.upper_bounds");
  }
}

void check_inputs(const ExportRecord& record, std::span<const GivenInput> inputs) {
  check_bounds(record.bounds, *record.program.symbols, check_inputs(record.program, inputs));
}

}  // namespace portwright
