#include "ir/record.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "ir/data_symbols.h"
#include "ir/dtype_names.h"
#include "ir/text_tables.h"

namespace portwright {
namespace {

using Json = nlohmann::ordered_json;

Json tensor_json(const RecordTensor& tensor) {
  Json dims = Json::array();
  for (const auto& dim : tensor.dims) {
    std::visit([&](const auto& size) { dims.push_back(size); }, dim);
  }
  Json item = {{"name", tensor.name}, {"dtype", torch_name(tensor.dtype)}, {"dims", dims}};
  if (!tensor.new_value_of.empty()) item["new_value_of"] = tensor.new_value_of;
  return item;
}

Json tensors_json(const std::vector<RecordTensor>& tensors) {
  Json list = Json::array();
  for (const RecordTensor& tensor : tensors) list.push_back(tensor_json(tensor));
  return list;
}

Json bound(int64_t value) {
  if (value == Interval::kInfinity || value == -Interval::kInfinity) return nullptr;
  return value;
}

Json symbol_json(const SymbolTable& symbols, SymbolId id) {
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

Json condition_json(const SymbolTable& symbols, const Guard& guard) {
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

}  // namespace

RecordTensor record_tensor(const std::string& name, const TensorType& type) {
  RecordTensor tensor{name, type.dtype, {}, {}};
  for (const Expr& size : type.shape) {
    if (size.is_constant()) {
      tensor.dims.emplace_back(size.constant());
    } else {
      tensor.dims.emplace_back(to_string(size));
    }
  }
  return tensor;
}

std::string export_record(const SymbolTable& symbols, const ExportFacts& facts) {
  Json dims = Json::array(), conditions = Json::array();
  for (SymbolId id = 0; id < symbols.size(); ++id) {
    dims.push_back(symbol_json(symbols, id));
    if (const auto found = facts.bounds.find(id); found != facts.bounds.end())
      dims.back()["bound"] = found->second;
  }
  for (const Guard& guard : symbols.guards()) conditions.push_back(condition_json(symbols, guard));
  for (const Guard& guard : facts.guards) conditions.push_back(condition_json(symbols, guard));
  Json record = {{"format", facts.format}};
  if (facts.opset) record["opset"] = *facts.opset;
  record["inputs"] = tensors_json(facts.inputs);
  record["outputs"] = tensors_json(facts.outputs);
  record["dims"] = std::move(dims);
  record["conditions"] = std::move(conditions);
  record["notes"] = facts.notes;
  record["versions"] = facts.versions;
  if (!facts.weight_inputs.empty()) record["weight_inputs"] = tensors_json(facts.weight_inputs);
  return record.dump(1, ' ', false, Json::error_handler_t::replace);
}

std::string record_summary(const std::string& record) {
  const Json parsed = Json::parse(record, nullptr, false);
  if (!parsed.is_object()) return {};
  Json parts;
  for (const char* key : {"dims", "conditions", "notes", "versions"})
    parts[key] = parsed.value(key, Json());
  return parts.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string record_path(const std::string& model_path) {
  std::filesystem::path path = model_path;
  return path.replace_extension(".export.json").string();
}

}  // namespace portwright
