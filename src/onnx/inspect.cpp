#include "onnx/inspect.h"

#include <charconv>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "ir/mapped_file.h"
#include "onnx/model.h"
#include "onnx/proto_fields.h"
#include "onnx/proto_reader.h"
#include "onnx/record.h"

namespace portwright {
namespace {

using namespace onnx_fields;
using nlohmann::ordered_json;
using Reader = ProtoReader;

ordered_json dims_of(Reader shape) {
  ordered_json dims = ordered_json::array();
  while (shape.next(kTensorShapeProto_dim)) {
    Reader dim = shape.message();
    ordered_json size = nullptr;
    while (dim.next()) {
      if (dim.tag() == kTensorShapeProto_Dimension_dim_value) {
        size = dim.integer();
      } else if (dim.tag() == kTensorShapeProto_Dimension_dim_param) {
        size = dim.text();
      } else {
        dim.skip();
      }
    }
    dims.push_back(size);
  }
  return dims;
}

ordered_json value_info_of(Reader info) {
  ordered_json found = {{"name", ""}, {"dtype", ""}, {"dims", ordered_json::array()}};
  while (info.next()) {
    if (info.tag() == kValueInfoProto_name) {
      found["name"] = info.text();
    } else if (info.tag() == kValueInfoProto_type) {
      Reader type = info.message();
      while (type.next(kTypeProto_tensor_type)) {
        Reader tensor = type.message();
        while (tensor.next()) {
          if (tensor.tag() == kTypeProto_Tensor_elem_type) {
            found["dtype"] = onnx_dtype_name(tensor.integer());
          } else if (tensor.tag() == kTypeProto_Tensor_shape) {
            found["dims"] = dims_of(tensor.message());
          } else {
            tensor.skip();
          }
        }
      }
    } else {
      info.skip();
    }
  }
  return found;
}

// Totals over a model's initializers.
struct InitializerTotals {
  uint64_t count = 0;
  uint64_t inline_bytes = 0;
  uint64_t external_bytes = 0;
  std::map<std::string, uint64_t> bytes_by_file;
};

uint64_t external_length(const std::string& text) {
  uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error(ErrorCode::kCorrupt, "an initializer has external data without a length");
  }
  return length;
}

void add_initializer(Reader tensor, InitializerTotals& totals) {
  ++totals.count;
  std::map<std::string, std::string> external;
  while (tensor.next()) {
    if (tensor.tag() == kTensorProto_raw_data) {
      totals.inline_bytes += tensor.view().size();
    } else if (tensor.tag() == kTensorProto_external_data) {
      external.insert(read_entry(tensor.message()));
    } else {
      tensor.skip();
    }
  }
  if (external.empty()) return;
  const uint64_t length = external_length(external["length"]);
  totals.external_bytes += length;
  totals.bytes_by_file[external["location"]] += length;
}

std::string op_of(Reader node) {
  std::string type, domain;
  while (node.next()) {
    if (node.tag() == kNodeProto_op_type) {
      type = node.text();
    } else if (node.tag() == kNodeProto_domain) {
      domain = node.text();
    } else {
      node.skip();
    }
  }
  return domain.empty() ? type : domain + "." + type;
}

struct GraphFacts {
  ordered_json inputs = ordered_json::array();
  ordered_json outputs = ordered_json::array();
  std::map<std::string, uint64_t> ops;
  uint64_t nodes = 0;
  InitializerTotals initializers;
};

GraphFacts read_graph(Reader graph) {
  GraphFacts facts;
  while (graph.next()) {
    switch (graph.tag()) {
      case kGraphProto_node:
        ++facts.nodes;
        ++facts.ops[op_of(graph.message())];
        break;
      case kGraphProto_initializer: add_initializer(graph.message(), facts.initializers); break;
      case kGraphProto_input: facts.inputs.push_back(value_info_of(graph.message())); break;
      case kGraphProto_output: facts.outputs.push_back(value_info_of(graph.message())); break;
      default: graph.skip();
    }
  }
  return facts;
}

// Files that external data names, as they lie beside the model. Only the name's last part is used
// and no link is followed: a hostile location never leads out of the folder.
ordered_json external_files(const std::string& path, const InitializerTotals& totals) {
  ordered_json files = ordered_json::array();
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  for (const auto& [location, bytes] : totals.bytes_by_file) {
    std::error_code ignored;
    const auto file = folder / std::filesystem::path(location).filename();
    const bool present =
        std::filesystem::is_regular_file(std::filesystem::symlink_status(file, ignored));
    ordered_json item = {{"file", location}, {"used_bytes", bytes}, {"present", present}};
    if (present) item["bytes"] = std::filesystem::file_size(file, ignored);
    files.push_back(item);
  }
  return files;
}

ordered_json read_model(const std::string& path, std::span<const std::byte> file) {
  ordered_json facts = {{"file", path},
                        {"file_bytes", file.size()},
                        {"ir_version", 0},
                        {"producer", ""},
                        {"opsets", ordered_json::object()}};
  ordered_json metadata = ordered_json::object();
  GraphFacts graph;
  bool has_graph = false;
  Reader model(file);
  while (model.next()) {
    switch (model.tag()) {
      case kModelProto_ir_version: facts["ir_version"] = model.integer(); break;
      case kModelProto_producer_name: facts["producer"] = model.text(); break;
      case kModelProto_producer_version: facts["producer_version"] = model.text(); break;
      case kModelProto_graph:
        graph = read_graph(model.message());
        has_graph = true;
        break;
      case kModelProto_opset_import: {
        Reader opset = model.message();
        std::string domain;
        int64_t version = 0;
        while (opset.next()) {
          if (opset.tag() == kOperatorSetIdProto_domain) {
            domain = opset.text();
          } else if (opset.tag() == kOperatorSetIdProto_version) {
            version = opset.integer();
          } else {
            opset.skip();
          }
        }
        facts["opsets"][domain.empty() ? "ai.onnx" : domain] = version;
        break;
      }
      case kModelProto_metadata_props: {
        const auto [key, value] = read_entry(model.message());
        metadata[key] = value;
        break;
      }
      default: model.skip();
    }
  }
  if (!has_graph) throw Error(ErrorCode::kCorrupt, path + " is not an ONNX model: it has no graph");
  facts["inputs"] = graph.inputs;
  facts["outputs"] = graph.outputs;
  facts["nodes"] = graph.nodes;
  facts["ops"] = graph.ops;
  facts["initializers"] = {{"count", graph.initializers.count},
                           {"inline_bytes", graph.initializers.inline_bytes},
                           {"external_bytes", graph.initializers.external_bytes}};
  facts["external_data"] = external_files(path, graph.initializers);
  // The record of an export is JSON; text that claims to be one and is not stays text.
  if (const auto record = metadata.find(kRecordKey); record != metadata.end()) {
    const std::string parts = record_summary(record->get_ref<const std::string&>());
    if (!parts.empty()) {
      facts["export"] = ordered_json::parse(parts);
      metadata.erase(record);
    }
  }
  facts["metadata"] = metadata;
  return facts;
}

}  // namespace

std::string inspect_onnx(const std::string& path) {
  const auto file = MappedFile::open(path);
  try {
    return read_model(path, file->bytes())
        .dump(2, ' ', false, ordered_json::error_handler_t::replace);
  } catch (const protozero::exception& error) {
    throw Error(ErrorCode::kCorrupt,
                path + " is truncated or is not an ONNX model (" + error.what() + ")");
  }
}

}  // namespace portwright
