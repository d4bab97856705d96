// An ONNX model in memory: what the lowering makes and the writer streams. Weights are references.
// Source: onnx.proto of the onnx package.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "ir/dtype.h"
#include "ir/weight.h"
#include "symbolic/symbol_table.h"

namespace portwright {

struct OnnxBody;

using OnnxAttributeValue =
    std::variant<int64_t, float, std::string, std::vector<int64_t>, std::vector<float>,
                 std::vector<std::string>, std::shared_ptr<OnnxBody>>;
using OnnxAttributes = std::vector<std::pair<std::string, OnnxAttributeValue>>;

struct OnnxNode {
  std::string op_type;
  std::string domain;  // "" is the standard domain
  std::string name;
  std::vector<std::string> inputs;  // "" for an optional input that is absent
  std::vector<std::string> outputs;
  OnnxAttributes attributes;
  std::string source;  // the model's Python line, kept as doc_string
};

// An input or output of a body: a scalar, a tensor of a rank that follows from what its node is
// given, or a sequence of such tensors.
struct OnnxBodyValue {
  enum class Kind : uint8_t { kTensor, kScalar, kSequence };
  std::string name;
  DType dtype = DType::kFloat32;
  Kind kind = Kind::kTensor;
};

// A graph inside a node. It reads values of the graphs around it by name.
struct OnnxBody {
  std::vector<OnnxNode> nodes;
  std::vector<OnnxBodyValue> inputs;
  std::vector<OnnxBodyValue> outputs;
};

// Calls `visit(OnnxBody&)` for each body of a node.
template <typename AnyNode, typename Visitor>
void for_each_body(AnyNode& node, Visitor&& visit) {
  for (auto& [name, value] : node.attributes) {
    if (auto* body = std::get_if<std::shared_ptr<OnnxBody>>(&value)) visit(**body);
  }
}

// A named constant; its bytes go to external data when they are many.
struct OnnxInitializer {
  std::string name;
  Weight weight;
};

using OnnxDim = std::variant<int64_t, std::string>;

struct OnnxValueInfo {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<OnnxDim> dims;
};

struct OnnxModel {
  int64_t opset = 23;
  std::string graph_name = "main_graph";
  std::vector<OnnxNode> nodes;
  std::vector<OnnxInitializer> initializers;
  std::vector<OnnxValueInfo> inputs;
  std::vector<OnnxValueInfo> outputs;
  // Of values whose shape onnx's own inference does not find.
  std::vector<OnnxValueInfo> value_infos;
  std::map<std::string, std::string> metadata;
  // Inputs (and weights) that the model writes to, and the outputs that are their new content.
  std::map<std::string, std::string> mutations;
  // What it takes for granted, and the sizes that it is for, besides what the program says itself.
  std::vector<std::string> notes;
  std::vector<Guard> guards;
  bool has_other_floats = false;  // some value is a float, but not of 32 bits
};

// TensorProto.DataType of a dtype. Error(kUnsupported) for types that ONNX lacks.
int64_t onnx_dtype(DType dtype);
// "float32" and so on; empty for unknown numbers.
std::string onnx_dtype_name(int64_t number);

}  // namespace portwright
