#include "executorch/record.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>

#include "base/staged_file.h"
#include "executorch/reader.h"

namespace portwright {

std::map<SymbolId, int64_t> bounds_of_dims(const SymbolTable& symbols, const Bounds& bounds) {
  std::map<SymbolId, int64_t> found;
  for (SymbolId id = 0; id < symbols.size(); ++id) {
    if (!symbols.info(id).unbacked && !symbols.replacement(id)) found[id] = bounds.symbol(id);
  }
  return found;
}

std::string pte_record(const Program& program, const std::map<SymbolId, int64_t>& bounds,
                       const std::vector<std::string>& notes,
                       const std::map<std::string, std::string>& versions) {
  ExportFacts facts;
  facts.format = "executorch";
  facts.notes = notes;
  facts.versions = versions;
  facts.bounds = bounds;
  for (size_t i : program.user_inputs()) {
    facts.inputs.push_back(
        record_tensor(program.inputs[i].target, program.graph.type(program.graph.inputs[i])));
  }
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    const OutputSpec& output = program.outputs[i];
    if (output.kind != OutputKind::kUserOutput) continue;
    facts.outputs.push_back(
        record_tensor(output.target, program.graph.type(program.graph.outputs[i])));
  }
  return export_record(*program.symbols, facts);
}

void add_record(PteModel& model, const std::string& record) {
  const auto bytes = std::as_bytes(std::span(record));
  model.named_data.push_back(
      {kRecordKey, Weight::from_host(DType::kUInt8, {static_cast<int64_t>(bytes.size())},
                                     {bytes.begin(), bytes.end()})});
}

std::string write_record_beside(const std::string& record, const std::string& model_path,
                                const PteFacts& facts) {
  auto content = nlohmann::ordered_json::parse(record);
  content["model"] = std::filesystem::path(model_path).filename().string();
  content["bytes"] = {{"file", facts.file_bytes},
                      {"program", facts.program_bytes},
                      {"weights", facts.weight_bytes},
                      {"delegates", facts.delegate_bytes}};
  const std::string text =
      content.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::string path = record_path(model_path);
  StagedFile file = StagedFile::create(path);
  file.write_at(0, text.data(), text.size());
  file.commit();
  return path;
}

std::string_view record_of(const PteModel& model) {
  const std::vector<PteNamedData>& all = model.named_data;
  const auto found =
      std::ranges::find_if(all, [](const PteNamedData& data) { return data.key == kRecordKey; });
  if (found == all.end()) return {};
  const auto bytes = found->weight.contiguous_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

ExportRecord read_pte_record(const std::string& path) {
  const PteFile file = read_pte(path);
  const std::string record(record_of(file.model));
  if (record.empty()) {
    throw Error(ErrorCode::kUnsupported,
                path +
                    " has no record of an export by Portwright, so what it was captured for is "
                    "not known: run it with ExecuTorch's own Runtime");
  }
  return read_record(record);
}

}  // namespace portwright
