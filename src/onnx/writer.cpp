#include "onnx/writer.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <protozero/pbf_writer.hpp>
#include <unordered_map>

#include "base/error.h"
#include "onnx/data_file.h"
#include "onnx/proto_fields.h"
#include "onnx/record.h"

namespace portwright {
namespace {

using namespace onnx_fields;
using Writer = protozero::pbf_writer;

constexpr uint64_t kProtobufLimit = (uint64_t{1} << 31) - 1;
constexpr size_t kExternalThreshold = 1024;
constexpr const char* kProducer = "portwright";
constexpr const char* kVersion = "0.1.0";

// The oldest IR version that an opset came with (onnx/helper.py's VERSION_TABLE).
int64_t ir_version(int64_t opset) {
  if (opset >= 28) return 14;
  if (opset >= 25) return 13;
  if (opset >= 23) return opset == 24 ? 12 : 11;
  if (opset >= 21) return 10;
  return opset >= 19 ? 9 : 8;
}

// AttributeProto.AttributeType.
enum AttributeType : int32_t {
  kFloat = 1,
  kInt = 2,
  kString = 3,
  kGraph = 5,
  kFloats = 6,
  kInts = 7,
  kStrings = 8
};

void write_body(Writer& out, const OnnxBody& body);

struct AttributeWriter {
  Writer& out;

  void operator()(int64_t value) {
    out.add_int64(kAttributeProto_i, value);
    out.add_enum(kAttributeProto_type, kInt);
  }
  void operator()(float value) {
    out.add_float(kAttributeProto_f, value);
    out.add_enum(kAttributeProto_type, kFloat);
  }
  void operator()(const std::string& value) {
    out.add_bytes(kAttributeProto_s, value);
    out.add_enum(kAttributeProto_type, kString);
  }
  void operator()(const std::vector<int64_t>& values) {
    for (int64_t value : values) out.add_int64(kAttributeProto_ints, value);
    out.add_enum(kAttributeProto_type, kInts);
  }
  void operator()(const std::vector<float>& values) {
    for (float value : values) out.add_float(kAttributeProto_floats, value);
    out.add_enum(kAttributeProto_type, kFloats);
  }
  void operator()(const std::vector<std::string>& values) {
    for (const std::string& value : values) out.add_bytes(kAttributeProto_strings, value);
    out.add_enum(kAttributeProto_type, kStrings);
  }
  void operator()(const std::shared_ptr<OnnxBody>& body) {
    {
      Writer graph(out, kAttributeProto_g);
      write_body(graph, *body);
    }
    out.add_enum(kAttributeProto_type, kGraph);
  }
};

void write_node(Writer& graph, const OnnxNode& node) {
  Writer out(graph, kGraphProto_node);
  for (const std::string& name : node.inputs) out.add_string(kNodeProto_input, name);
  for (const std::string& name : node.outputs) out.add_string(kNodeProto_output, name);
  out.add_string(kNodeProto_name, node.name);
  out.add_string(kNodeProto_op_type, node.op_type);
  for (const auto& [name, value] : node.attributes) {
    Writer attribute(out, kNodeProto_attribute);
    attribute.add_string(kAttributeProto_name, name);
    std::visit(AttributeWriter{attribute}, value);
  }
  if (!node.source.empty()) out.add_string(kNodeProto_doc_string, node.source);
  if (!node.domain.empty()) out.add_string(kNodeProto_domain, node.domain);
}

void write_tensor_type(Writer& type, const OnnxBodyValue& value) {
  Writer tensor(type, kTypeProto_tensor_type);
  tensor.add_int32(kTypeProto_Tensor_elem_type, static_cast<int32_t>(onnx_dtype(value.dtype)));
  if (value.kind == OnnxBodyValue::Kind::kScalar) {
    tensor.add_message(kTypeProto_Tensor_shape, std::string());
  }
}

void write_body_value(Writer& graph, uint32_t field, const OnnxBodyValue& value) {
  Writer out(graph, field);
  out.add_string(kValueInfoProto_name, value.name);
  Writer type(out, kValueInfoProto_type);
  if (value.kind != OnnxBodyValue::Kind::kSequence) return write_tensor_type(type, value);
  Writer sequence(type, kTypeProto_sequence_type);
  Writer element(sequence, kTypeProto_Sequence_elem_type);
  write_tensor_type(element, value);
}

void write_body(Writer& out, const OnnxBody& body) {
  for (const OnnxNode& node : body.nodes) write_node(out, node);
  out.add_string(kGraphProto_name, "body");
  for (const OnnxBodyValue& input : body.inputs) write_body_value(out, kGraphProto_input, input);
  for (const OnnxBodyValue& output : body.outputs)
    write_body_value(out, kGraphProto_output, output);
}

void write_entry(Writer& owner, uint32_t field, const std::string& key, const std::string& value) {
  Writer entry(owner, field);
  entry.add_string(kStringStringEntryProto_key, key);
  entry.add_string(kStringStringEntryProto_value, value);
}

void write_initializer(Writer& graph, const OnnxInitializer& item, const DataLayout& layout) {
  Writer out(graph, kGraphProto_initializer);
  for (int64_t size : item.weight.shape) out.add_int64(kTensorProto_dims, size);
  out.add_int32(kTensorProto_data_type, static_cast<int32_t>(onnx_dtype(item.weight.dtype)));
  out.add_string(kTensorProto_name, item.name);
  if (const auto place = layout.place_of(item.name)) {
    write_entry(out, kTensorProto_external_data, "location",
                place->location.empty() ? layout.file_name : place->location);
    write_entry(out, kTensorProto_external_data, "offset", std::to_string(place->offset));
    write_entry(out, kTensorProto_external_data, "length", std::to_string(place->bytes));
    out.add_enum(kTensorProto_data_location, 1);  // EXTERNAL
    return;
  }
  if (item.weight.is_contiguous()) {
    const auto bytes = item.weight.contiguous_bytes();
    out.add_bytes(kTensorProto_raw_data, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  } else {
    const auto bytes = item.weight.copy_bytes();
    out.add_bytes(kTensorProto_raw_data, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
}

void write_value_info(Writer& graph, uint32_t field, const OnnxValueInfo& info) {
  Writer out(graph, field);
  out.add_string(kValueInfoProto_name, info.name);
  Writer type(out, kValueInfoProto_type);
  Writer tensor(type, kTypeProto_tensor_type);
  tensor.add_int32(kTypeProto_Tensor_elem_type, static_cast<int32_t>(onnx_dtype(info.dtype)));
  if (info.dims.empty()) {  // a message without fields is one too: a scalar, not an unknown rank
    tensor.add_message(kTypeProto_Tensor_shape, std::string());
    return;
  }
  Writer shape(tensor, kTypeProto_Tensor_shape);
  for (const OnnxDim& size : info.dims) {
    Writer dim(shape, kTensorShapeProto_dim);
    if (const auto* value = std::get_if<int64_t>(&size)) {
      dim.add_int64(kTensorShapeProto_Dimension_dim_value, *value);
    } else {
      dim.add_string(kTensorShapeProto_Dimension_dim_param, std::get<std::string>(size));
    }
  }
}

void add_domains(const std::vector<OnnxNode>& nodes, std::map<std::string, int64_t>& imports) {
  for (const OnnxNode& node : nodes) {
    imports.try_emplace(node.domain, 1);
    for_each_body(node, [&](const OnnxBody& body) { add_domains(body.nodes, imports); });
  }
}

std::string encode(const OnnxModel& model, const DataLayout& layout) {
  std::string text;
  Writer out(text);
  out.add_int64(kModelProto_ir_version, ir_version(model.opset));
  out.add_string(kModelProto_producer_name, kProducer);
  out.add_string(kModelProto_producer_version, kVersion);
  {
    Writer graph(out, kModelProto_graph);
    for (const OnnxNode& node : model.nodes) write_node(graph, node);
    graph.add_string(kGraphProto_name, model.graph_name);
    for (const OnnxInitializer& item : model.initializers) write_initializer(graph, item, layout);
    for (const OnnxValueInfo& info : model.inputs) write_value_info(graph, kGraphProto_input, info);
    for (const OnnxValueInfo& info : model.outputs) {
      write_value_info(graph, kGraphProto_output, info);
    }
    for (const OnnxValueInfo& info : model.value_infos) {
      write_value_info(graph, kGraphProto_value_info, info);
    }
  }
  std::map<std::string, int64_t> imports{{"", model.opset}};
  add_domains(model.nodes, imports);
  for (const auto& [domain, version] : imports) {
    Writer opset(out, kModelProto_opset_import);
    opset.add_string(kOperatorSetIdProto_domain, domain);
    opset.add_int64(kOperatorSetIdProto_version, version);
  }
  for (const auto& [key, value] : model.metadata) {
    write_entry(out, kModelProto_metadata_props, key, value);
  }
  return text;
}

void check_inline_size(const OnnxModel& model) {
  uint64_t bytes = 0;
  for (const OnnxInitializer& item : model.initializers) bytes += item.weight.byte_size();
  if (bytes <= kProtobufLimit) return;
  throw Error(ErrorCode::kInvalidArgument,
              "the weights have " + std::to_string(bytes) +
                  " bytes, more than the 2 GiB that one ONNX file holds: use external_data=True");
}

DataLayout layout_of(const OnnxModel& model, const std::string& path,
                     const std::string& checkpoint) {
  std::optional<Checkpoint> stored;
  if (!checkpoint.empty()) stored = Checkpoint::open(checkpoint, path);
  DataLayout layout = DataLayout::of(model, kExternalThreshold, stored ? &*stored : nullptr);
  layout.file_name = std::filesystem::path(path).filename().string() + "_data";
  const bool none = std::all_of(layout.pieces.begin(), layout.pieces.end(),
                                [](const auto& piece) { return piece.location.empty(); });
  if (stored && none && !layout.pieces.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "no weight of the model lies in the .safetensors files of " + checkpoint +
                    " byte for byte: was it changed or cast after it was loaded? Use "
                    "weights=\"copy\"");
  }
  return layout;
}

StagedFile stage_record(const OnnxModel& model, OnnxFiles& files) {
  const auto record = model.metadata.find(kRecordKey);
  if (record == model.metadata.end()) return {};
  files.record_path = record_path(files.model_path);
  StagedFile file = StagedFile::create(files.record_path);
  const std::string text = record_file(record->second, files);
  file.write_at(0, text.data(), text.size());
  return file;
}

}  // namespace

std::string serialize_onnx(const OnnxModel& model) {
  check_inline_size(model);
  return encode(model, {});
}

std::string serialize_graph(const OnnxModel& model) {
  OnnxModel graph = model;
  for (const OnnxInitializer& item : graph.initializers) {
    const auto same = [&](const OnnxValueInfo& info) { return info.name == item.name; };
    if (std::any_of(graph.inputs.begin(), graph.inputs.end(), same)) continue;
    graph.inputs.push_back(
        {item.name, item.weight.dtype, {item.weight.shape.begin(), item.weight.shape.end()}});
  }
  graph.initializers.clear();
  return encode(graph, {});
}

OnnxFiles write_onnx(const OnnxModel& model, const std::string& path, bool external_data,
                     const std::string& checkpoint) {
  OnnxFiles files;
  files.model_path = path;
  DataLayout layout;
  if (external_data) {
    layout = layout_of(model, path, checkpoint);
  } else {
    check_inline_size(model);
  }
  for (const DataLayout::Piece& piece : layout.pieces) {
    if (piece.location.empty()) {
      files.copied.push_back(piece.initializer);
    } else {
      files.referenced[piece.location] += piece.bytes;
    }
  }
  StagedFile model_file = StagedFile::create(path);  // fails before the weights are written
  StagedFile data_file;
  if (layout.has_own()) {
    files.data_path = path + "_data";
    data_file = StagedFile::create(files.data_path);
    files.data_bytes = write_weights(layout, data_file);
  }
  const std::string text = encode(model, layout);
  model_file.write_at(0, text.data(), text.size());
  files.model_bytes = text.size();
  StagedFile record_file = stage_record(model, files);
  if (layout.has_own()) data_file.commit();
  if (!files.record_path.empty()) record_file.commit();
  model_file.commit();
  return files;
}

}  // namespace portwright
