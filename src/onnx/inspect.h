// Reads what an ONNX file says about itself, without loading weights.
#pragma once

#include <string>

namespace portwright {

// JSON: ir_version, producer, opsets, inputs and outputs (name, dtype, dims), ops (counts), nodes,
// initializers (count, bytes), external_data (file, bytes, present), export (what the record of an
// export says: dims, conditions, notes, versions), metadata, file_bytes.
// Error(kIo) when the file cannot be read, Error(kCorrupt) when it is truncated or no ONNX model.
std::string inspect_onnx(const std::string& path);

}  // namespace portwright
