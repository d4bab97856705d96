#include "onnx/record.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "ir/mapped_file.h"
#include "onnx/proto_fields.h"
#include "onnx/proto_reader.h"
#include "onnx/writer.h"

namespace portwright {
namespace {

using Json = nlohmann::ordered_json;

bool has_data(const OnnxModel& model, const std::string& name) {
  for (const OnnxInitializer& item : model.initializers) {
    if (item.name == name) return true;
  }
  return false;
}

// Weights that the model does not hold (export_params=False): whoever runs it passes them.
std::vector<RecordTensor> weight_inputs(const Program& program, const OnnxModel& model) {
  std::vector<RecordTensor> found;
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    const InputSpec& spec = program.inputs[i];
    if (spec.kind == InputKind::kUserInput || has_data(model, spec.target)) continue;
    const bool is_input =
        std::any_of(model.inputs.begin(), model.inputs.end(),
                    [&](const OnnxValueInfo& info) { return info.name == spec.target; });
    if (!is_input) continue;
    found.push_back(record_tensor(spec.target, program.graph.type(program.graph.inputs[i])));
  }
  return found;
}

std::string find_record(ProtoReader model) {
  while (model.next(onnx_fields::kModelProto_metadata_props)) {
    const auto [key, value] = read_entry(model.message());
    if (key == kRecordKey) return value;
  }
  return {};
}

}  // namespace

std::string onnx_record(const Program& program, const OnnxModel& model,
                        const std::vector<std::string>& notes,
                        const std::map<std::string, std::string>& versions) {
  ExportFacts facts;
  facts.format = "onnx";
  facts.opset = model.opset;
  facts.guards = model.guards;
  facts.notes = notes;
  facts.versions = versions;
  facts.weight_inputs = weight_inputs(program, model);
  for (size_t i : program.user_inputs()) {
    facts.inputs.push_back(
        record_tensor(program.inputs[i].target, program.graph.type(program.graph.inputs[i])));
  }
  std::map<std::string, std::string> written;  // by output
  for (const auto& [target, output] : model.mutations) written[output] = target;
  for (const OnnxValueInfo& info : model.outputs) {
    facts.outputs.push_back({info.name, info.dtype, info.dims, {}});
    if (const auto found = written.find(info.name); found != written.end())
      facts.outputs.back().new_value_of = found->second;
  }
  return export_record(*program.symbols, facts);
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

ExportRecord read_onnx_record(const std::string& path) {
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
