// The record of an export (ir/record.h) of a .onnx model, which has it in its metadata.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir/record.h"
#include "onnx/model.h"

namespace portwright {

struct OnnxFiles;  // onnx/writer.h

std::string onnx_record(const Program& program, const OnnxModel& model,
                        const std::vector<std::string>& notes,
                        const std::map<std::string, std::string>& versions);

// The record with what is known once files are written, as text for people and tools.
std::string record_file(const std::string& record, const OnnxFiles& files);

// The record of a .onnx file. Error(kIo); Error(kCorrupt) when it is truncated or no ONNX model;
// Error(kUnsupported) when it has no record, as models of other tools.
ExportRecord read_onnx_record(const std::string& path);

}  // namespace portwright
