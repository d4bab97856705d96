#include "onnx/placeholder.h"

#include <nlohmann/json.hpp>

namespace portwright {
namespace {

using Json = nlohmann::json;

Json shape_of(const TensorType& type) {
  Json shape = Json::array();
  for (const Expr& size : type.shape) {
    if (size.is_constant()) {
      shape.push_back(size.constant());
    } else {
      shape.push_back(to_string(size));
    }
  }
  return shape;
}

// Writes arguments as JSON and collects the node's inputs.
class ArgumentWriter {
 public:
  explicit ArgumentWriter(Emitter& emit) : emit_(emit) {}

  std::vector<std::string>& inputs() { return inputs_; }

  Json operator()(const None&) { return nullptr; }
  Json operator()(const Device&) { return nullptr; }
  Json operator()(const Layout&) { return nullptr; }
  Json operator()(const MemoryFormat&) { return nullptr; }
  Json operator()(bool value) { return value; }
  Json operator()(double value) { return value; }
  Json operator()(const std::string& value) { return value; }
  Json operator()(const FloatList& values) { return values; }
  Json operator()(const BoolList& values) { return values; }
  Json operator()(const StringList& values) { return values; }
  Json operator()(DType dtype) { return {{"type", onnx_dtype(dtype)}}; }
  Json operator()(const ValueRef& value) {
    const TensorType& type = emit_.type(value.id);
    return input(emit_.value(value.id), type.dtype, shape_of(type));
  }
  Json operator()(const Expr& value) {
    if (value.is_constant()) return value.constant();
    return input(emit_.scalar_int(value), DType::kInt64, Json::array());
  }
  Json operator()(const Real& value) {
    return input(emit_.scalar_real(value, DType::kFloat32), DType::kFloat32, Json::array());
  }
  Json operator()(const Predicate&) {
    throw Error(ErrorCode::kUnsupported, "an operand that is a symbolic condition");
  }
  Json operator()(const ValueList& values) {
    Json list = Json::array();
    for (ValueId id : values) list.push_back(id == kNoValue ? Json() : (*this)(ValueRef{id}));
    return list;
  }
  Json operator()(const IntList& values) {
    Json list = Json::array();
    for (const Expr& value : values) list.push_back((*this)(value));
    return list;
  }

 private:
  Json input(std::string value, DType dtype, Json shape) {
    inputs_.push_back(std::move(value));
    return {
        {"input", inputs_.size() - 1}, {"dtype", onnx_dtype(dtype)}, {"shape", std::move(shape)}};
  }

  Emitter& emit_;
  std::vector<std::string> inputs_;
};

}  // namespace

void lower_as_placeholder(const LoweringCall& call) {
  ArgumentWriter writer(call.emit);
  Json arguments = Json::array();
  for (const Argument& argument : call.node.arguments) {
    arguments.push_back(std::visit(writer, argument));
  }
  std::vector<ValueId> results;
  Json outputs = Json::array();
  for_each_output(call.node, [&](ValueId id) {
    const TensorType& type = call.emit.type(id);
    results.push_back(id);
    outputs.push_back({{"dtype", onnx_dtype(type.dtype)}, {"shape", shape_of(type)}});
  });
  const std::vector<std::string> values = call.emit.ops(
      std::string(kPlaceholderDomain) + "::" + call.node.op, std::move(writer.inputs()),
      results.size(), {{"arguments", arguments.dump()}, {"outputs", outputs.dump()}});
  for (size_t i = 0; i < results.size(); ++i) call.emit.bind(results[i], values[i]);
}

}  // namespace portwright
