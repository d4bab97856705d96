// The record of an export: what the format itself cannot hold, as JSON. It is in the model's
// metadata under kRecordKey, and in `<stem>.export.json` beside the file.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/program.h"
#include "onnx/model.h"

namespace portwright {

inline constexpr const char* kRecordKey = "portwright.export";

struct OnnxFiles;  // onnx/writer.h

// Inputs and outputs with their dims, symbols with their ranges, the program's conditions with the
// model's lines, what the capture decided (`notes`), and the libraries that took part.
std::string export_record(const Program& program, const OnnxModel& model,
                          const std::vector<std::string>& notes,
                          const std::map<std::string, std::string>& versions);

// The record with what is known once files are written, as text for people and tools.
std::string record_file(const std::string& record, const OnnxFiles& files);
// "dir/model.onnx" has "dir/model.export.json".
std::string record_path(const std::string& model_path);

// A program without nodes and outputs that has the record's inputs, symbols and conditions, so that
// check_inputs (ir/input_check.h) does for a file what it does for a capture.
// Error(kCorrupt) for a record that export_record does not write.
Program read_record(const std::string& record);
// The same of a .onnx file. Error(kIo); Error(kCorrupt) when it is truncated or no ONNX model;
// Error(kUnsupported) when it has no record, as models of other tools.
Program read_file_record(const std::string& path);

}  // namespace portwright
