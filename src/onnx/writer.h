// Writes an ONNX model: protobuf by protozero, weights streamed from where they lie.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "onnx/model.h"

namespace portwright {

struct OnnxFiles {
  std::string model_path;
  std::string data_path;    // empty without external data
  std::string record_path;  // empty for a model without a record (onnx/record.h)
  uint64_t model_bytes = 0;
  uint64_t data_bytes = 0;
  std::map<std::string, uint64_t> referenced;  // bytes by file, of weights that stay where they are
  std::vector<std::string> copied;             // the initializers in data_path
};

// Writes `path`, and beside it `<path>_data` with all weights of 1 KiB and more when external_data.
// Weights of the same storage are stored once. The model's record goes to `<stem>.export.json`. All
// files are written aside and renamed when whole:
// a failure leaves what was there before. Error(kIo) with the path and the system's reason;
// Error(kInvalidArgument) when a model without external data would exceed protobuf's 2 GiB.
//
// With a checkpoint's folder, weights that lie in its .safetensors files byte for byte are read
// from there, and `<path>_data` has the others. Errors of Checkpoint::open; Error(kInvalidArgument)
// when no weight lies there.
OnnxFiles write_onnx(const OnnxModel& model, const std::string& path, bool external_data,
                     const std::string& checkpoint = "");

// The model with all weights inside.
std::string serialize_onnx(const OnnxModel& model);
// The same without data: weights and constants are inputs of their types.
std::string serialize_graph(const OnnxModel& model);

}  // namespace portwright
