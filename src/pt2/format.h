// Names and numbers of the .pt2 archive that writer and reader share. Source:
// torch/csrc/export/pt2_archive_constants.h and torch/_export/serde/schema.py of PyTorch 2.13.
#pragma once

#include <cstdint>
#include <string>

namespace portwright::pt2 {

inline constexpr int kSchemaMajor = 8;
inline constexpr int kSchemaMinor = 20;
inline constexpr int kAtenOpset = 10;
inline constexpr const char* kTorchVersion = "2.13.0";
// The smallest size that torch's reasoning takes a dynamic dim to have.
inline constexpr int64_t kSmallestSize = 2;
inline constexpr int kInt64 = 5;  // ScalarType.LONG

inline const std::string kRoot = "archive/";
inline const std::string kFormat = "archive_format";
inline const std::string kFormatValue = "pt2";
inline const std::string kVersion = "archive_version";
inline const std::string kVersionValue = "0";
inline const std::string kZipVersion = ".data/version";
inline const std::string kZipVersionValue = "6\n";
inline const std::string kByteOrder = "byteorder";
inline const std::string kByteOrderValue = "little";
inline const std::string kModel = "models/model.json";
inline const std::string kSampleInputs = "data/sample_inputs/model.pt";
inline const std::string kWeights = "data/weights/";
inline const std::string kWeightPrefix = "weight_";
inline const std::string kWeightsConfig = "data/weights/model_weights_config.json";
inline const std::string kConstants = "data/constants/";
inline const std::string kConstantPrefix = "tensor_";
inline const std::string kConstantsConfig = "data/constants/model_constants_config.json";

// The operator that a node runs as: views as reshapes, see docs/pt2.md.
inline std::string runnable_name(const std::string& op) {
  return op == "aten.view.default" || op == "aten._unsafe_view.default" ? "aten.reshape.default"
                                                                        : op;
}

}  // namespace portwright::pt2
