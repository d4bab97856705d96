#include "onnx/record.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "ir/data_symbols.h"
#include "ir/text_tables.h"
#include "onnx/emitter.h"
#include "onnx/writer.h"

namespace portwright {
namespace {

using Json = nlohmann::ordered_json;

Json tensor_record(const OnnxValueInfo& info) {
  Json dims = Json::array();
  for (const OnnxDim& dim : info.dims) {
    std::visit([&](const auto& size) { dims.push_back(size); }, dim);
  }
  return {{"name", info.name}, {"dtype", onnx_dtype_name(onnx_dtype(info.dtype))}, {"dims", dims}};
}

Json bound(int64_t value) {
  if (value == Interval::kInfinity || value == -Interval::kInfinity) return nullptr;
  return value;
}

Json symbol_record(const SymbolTable& symbols, SymbolId id) {
  const SymbolInfo& info = symbols.info(id);
  Json item = {{"name", info.name}};
  const auto replacement = symbols.replacement(id);
  if (replacement && !info.unbacked) {
    item["is"] = to_string(*replacement);
  } else {
    item["min"] = bound(info.range.lo);
    item["max"] = bound(info.range.hi);
  }
  item["sample"] = info.hint;
  if (!info.origin.empty()) item["of"] = info.origin;
  if (info.unbacked) item["from_data"] = true;
  return item;
}

Json condition_record(const SymbolTable& symbols, const Guard& guard) {
  Json item = {{"condition", to_string(guard.predicate)},
               {"kind", std::string(word_of(kGuardWords, guard.kind))}};
  if (guard.source.known()) {
    item["file"] = guard.source.file;
    item["line"] = guard.source.line;
  }
  if (!guard.module_path.empty()) item["module"] = guard.module_path;
  if (about_data(guard.predicate, symbols)) item["about_data"] = true;
  return item;
}

bool has_data(const OnnxModel& model, const std::string& name) {
  for (const OnnxInitializer& item : model.initializers) {
    if (item.name == name) return true;
  }
  return false;
}

// Weights that the model does not hold (export_params=False): whoever runs it passes them.
Json weight_inputs(const Program& program, const OnnxModel& model) {
  Json found = Json::array();
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    const InputSpec& spec = program.inputs[i];
    if (spec.kind == InputKind::kUserInput || has_data(model, spec.target)) continue;
    const bool is_input =
        std::any_of(model.inputs.begin(), model.inputs.end(),
                    [&](const OnnxValueInfo& info) { return info.name == spec.target; });
    if (!is_input) continue;
    found.push_back(
        tensor_record(value_info(spec.target, program.graph.type(program.graph.inputs[i]))));
  }
  return found;
}

}  // namespace

std::string export_record(const Program& program, const OnnxModel& model,
                          const std::vector<std::string>& notes,
                          const std::map<std::string, std::string>& versions) {
  const Graph& graph = program.graph;
  const SymbolTable& symbols = *program.symbols;
  Json inputs = Json::array(), outputs = Json::array();
  for (size_t i : program.user_inputs()) {
    inputs.push_back(
        tensor_record(value_info(program.inputs[i].target, graph.type(graph.inputs[i]))));
  }
  std::map<std::string, std::string> written;  // by output
  for (const auto& [target, output] : model.mutations) written[output] = target;
  for (const OnnxValueInfo& info : model.outputs) {
    Json item = tensor_record(info);
    if (const auto found = written.find(info.name); found != written.end()) {
      item["new_value_of"] = found->second;
    }
    outputs.push_back(item);
  }
  Json dims = Json::array(), conditions = Json::array();
  for (SymbolId id = 0; id < symbols.size(); ++id) dims.push_back(symbol_record(symbols, id));
  for (const Guard& guard : symbols.guards()) {
    conditions.push_back(condition_record(symbols, guard));
  }
  for (const Guard& guard : model.guards) conditions.push_back(condition_record(symbols, guard));
  const Json weights = weight_inputs(program, model);
  Json record = {{"format", "onnx"},   {"opset", model.opset}, {"inputs", inputs},
                 {"outputs", outputs}, {"dims", dims},         {"conditions", conditions},
                 {"notes", notes},     {"versions", versions}};
  if (!weights.empty()) record["weight_inputs"] = weights;
  return record.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::string record_path(const std::string& model_path) {
  std::filesystem::path path = model_path;
  return path.replace_extension(".export.json").string();
}

std::string record_file(const std::string& record, const OnnxFiles& files) {
  auto name = [](const std::string& path) { return std::filesystem::path(path).filename(); };
  Json file = Json::parse(record);
  file["model"] = name(files.model_path).string();
  file["weights"] = {{"file", files.data_path.empty() ? Json() : Json(name(files.data_path))},
                     {"bytes", files.data_bytes},
                     {"copied", files.copied},
                     {"referenced", files.referenced}};
  return file.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace portwright
