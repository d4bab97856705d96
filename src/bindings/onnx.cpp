// The ONNX backend as Python sees it.
#include <pybind11/stl.h>

#include <memory>

#include "bindings/bindings.h"
#include "onnx/export.h"
#include "onnx/inspect.h"
#include "onnx/placeholder.h"
#include "onnx/record.h"
#include "onnx/writer.h"

namespace portwright {
namespace {

namespace py = pybind11;

std::shared_ptr<OnnxModel> lower_program(const std::shared_ptr<Program>& program, int64_t opset,
                                         bool export_params, bool keep_initializers_as_inputs,
                                         bool bfloat16_in_float32, bool fuse,
                                         const std::optional<std::string>& ort_fusions,
                                         const std::vector<std::string>& notes,
                                         const std::map<std::string, std::string>& versions,
                                         const std::set<std::string>& placeholders) {
  const OnnxRuntime runtime = ort_fusions ? runtime_named(*ort_fusions) : OnnxRuntime::kStandard;
  OnnxOptions options{.opset = opset,
                      .export_params = export_params,
                      .keep_initializers_as_inputs = keep_initializers_as_inputs,
                      .bfloat16_in_float32 = bfloat16_in_float32,
                      .fuse = fuse,
                      .runtime = runtime,
                      .metadata = {},
                      .notes = notes,
                      .versions = versions,
                      .lowerings = {}};
  for (const std::string& op : placeholders) options.lowerings[op] = &lower_as_placeholder;
  return std::make_shared<OnnxModel>(lower(*program, options));
}

py::dict facts_of(const OnnxFiles& files) {
  py::dict facts;
  facts["model_path"] = files.model_path;
  facts["data_path"] = files.data_path;
  facts["record_path"] = files.record_path;
  facts["model_bytes"] = files.model_bytes;
  facts["data_bytes"] = files.data_bytes;
  facts["referenced"] = files.referenced;
  facts["copied"] = files.copied;
  return facts;
}

py::dict write_model(const OnnxModel& model, const std::string& path, bool external_data,
                     const std::string& checkpoint) {
  OnnxFiles files;
  {
    const py::gil_scoped_release release;
    files = write_onnx(model, path, external_data, checkpoint);
  }
  return facts_of(files);
}

// For models that Python writes.
std::string record_text(const std::string& record, const std::string& model_path,
                        const std::string& data_path, uint64_t data_bytes,
                        const std::vector<std::string>& copied) {
  OnnxFiles files;
  files.model_path = model_path;
  files.data_path = data_path;
  files.data_bytes = data_bytes;
  files.copied = copied;
  return record_file(record, files);
}

py::bytes serialize_model(const OnnxModel& model) { return py::bytes(serialize_onnx(model)); }

std::vector<std::string> names(const std::vector<OnnxValueInfo>& infos) {
  std::vector<std::string> found;
  for (const OnnxValueInfo& info : infos) found.push_back(info.name);
  return found;
}

std::map<std::string, size_t> op_counts(const OnnxModel& model) {
  std::map<std::string, size_t> counts;
  for (const OnnxNode& node : model.nodes) ++counts[node.op_type];
  return counts;
}

uint64_t weight_bytes(const OnnxModel& model) {
  uint64_t bytes = 0;
  for (const OnnxInitializer& item : model.initializers) bytes += item.weight.byte_size();
  return bytes;
}

// Domain, type, counts of inputs and outputs, attributes; of the graph itself, not of bodies.
using NodeFacts = std::tuple<std::string, std::string, size_t, size_t, std::vector<std::string>>;

std::vector<NodeFacts> node_facts(const OnnxModel& model) {
  std::vector<NodeFacts> facts;
  for (const OnnxNode& node : model.nodes) {
    std::vector<std::string> attributes;
    for (const auto& [name, value] : node.attributes) attributes.push_back(name);
    facts.emplace_back(node.domain, node.op_type, node.inputs.size(), node.outputs.size(),
                       std::move(attributes));
  }
  return facts;
}

}  // namespace

void bind_onnx(py::module_& m) {
  py::class_<OnnxModel, std::shared_ptr<OnnxModel>>(m, "OnnxModel", "An ONNX model in memory.")
      .def("write", &write_model, py::arg("path"), py::arg("external_data") = true,
           py::arg("checkpoint") = std::string())
      .def("serialize", &serialize_model)
      .def_property_readonly("input_names", [](const OnnxModel& m) { return names(m.inputs); })
      .def_property_readonly("output_names", [](const OnnxModel& m) { return names(m.outputs); })
      .def_property_readonly("node_count", [](const OnnxModel& m) { return m.nodes.size(); })
      .def_property_readonly("weight_bytes", &weight_bytes)
      .def_readonly("opset", &OnnxModel::opset)
      .def_readonly("notes", &OnnxModel::notes)
      .def_property_readonly("has_guards", [](const OnnxModel& m) { return !m.guards.empty(); })
      .def("record", [](const OnnxModel& m) { return read_record(m.metadata.at(kRecordKey)); })
      .def_readonly("mutations", &OnnxModel::mutations)
      .def("nodes", &node_facts)
      .def("graph_bytes", [](const OnnxModel& m) { return py::bytes(serialize_graph(m)); })
      .def_readonly("has_other_floats", &OnnxModel::has_other_floats)
      .def("op_counts", &op_counts);
  m.def("lower_onnx", &lower_program, py::arg("program"), py::arg("opset") = kDefaultOpset,
        py::arg("export_params") = true, py::arg("keep_initializers_as_inputs") = false,
        py::arg("bfloat16_in_float32") = true, py::arg("fuse") = false,
        py::arg("ort_fusions") = std::nullopt, py::arg("notes") = std::vector<std::string>(),
        py::arg("versions") = std::map<std::string, std::string>(),
        py::arg("placeholders") = std::set<std::string>());
  m.def("lowered_operators", &lowered_operators);
  m.def("default_opset", &default_opset, py::arg("program"));
  m.def("record_path", &record_path);
  m.def("record_text", &record_text, py::arg("record"), py::arg("model_path"), py::arg("data_path"),
        py::arg("data_bytes"), py::arg("copied"));
  m.def("read_onnx_record", &read_onnx_record);
  m.attr("RECORD_KEY") = kRecordKey;
  m.attr("PLACEHOLDER_DOMAIN") = kPlaceholderDomain;
  m.def("inspect_onnx", &inspect_onnx);
  m.attr("OLDEST_OPSET") = kOldestOpset;
  m.attr("NEWEST_OPSET") = kNewestOpset;
  m.attr("DEFAULT_OPSET") = kDefaultOpset;
}

}  // namespace portwright
