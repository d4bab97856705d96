// The record of an export: what the format of a file cannot hold, as JSON. It is in the file under
// kRecordKey, and in `<stem>.export.json` beside it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "ir/input_check.h"
#include "ir/program.h"

namespace portwright {

inline constexpr const char* kRecordKey = "portwright.export";

struct RecordTensor {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<std::variant<int64_t, std::string>> dims;  // sizes, and expressions of symbols
  std::string new_value_of;  // of an output: the input or buffer that it is the new value of
};
RecordTensor record_tensor(const std::string& name, const TensorType& type);

// What a record is made of beside the program's symbols and conditions.
struct ExportFacts {
  std::string format;            // "onnx", "executorch"
  std::optional<int64_t> opset;  // of ONNX
  std::vector<RecordTensor> inputs, outputs;
  std::vector<RecordTensor> weight_inputs;      // weights that whoever runs the file passes
  std::vector<Guard> guards;                    // of the lowering
  std::map<SymbolId, int64_t> bounds;           // the largest sizes that memory is planned for
  std::vector<std::string> notes;               // what the capture decided
  std::map<std::string, std::string> versions;  // of the libraries that took part
};

// Inputs and outputs with their dims, symbols with their ranges, the program's conditions with the
// model's lines, and the facts.
std::string export_record(const SymbolTable& symbols, const ExportFacts& facts);

// The parts of a record that people look at, as JSON: dims, conditions, notes, versions. Empty for
// text that is no record.
std::string record_summary(const std::string& record);

// "dir/model.onnx" has "dir/model.export.json".
std::string record_path(const std::string& model_path);

// A record that was read back.
struct ExportRecord {
  // Without nodes and outputs; has the record's inputs, symbols and conditions.
  Program program;
  std::map<SymbolId, int64_t> bounds;
  std::vector<std::string> outputs;               // names
  std::map<std::string, std::string> new_values;  // outputs, by the input that they are of
};

// Error(kCorrupt) for a record that export_record does not write.
ExportRecord read_record(const std::string& record);

// Error(kGuardViolated) for a symbol's value above its bound.
void check_bounds(const std::map<SymbolId, int64_t>& bounds, const SymbolTable& symbols,
                  std::span<const int64_t> values);

// Does for a file what check_inputs (ir/input_check.h) does for a capture.
// Errors of check_bounds, too.
void check_inputs(const ExportRecord& record, std::span<const GivenInput> inputs);

}  // namespace portwright
