// The ExecuTorch backend as Python sees it.
#include "executorch/export.h"

#include <pybind11/stl.h>

#include <memory>
#include <tuple>
#include <utility>

#include "bindings/bindings.h"
#include "executorch/edge/edge.h"
#include "executorch/elementwise.h"
#include "executorch/inspect.h"
#include "executorch/kernels.h"
#include "executorch/reader.h"
#include "executorch/record.h"
#include "executorch/writer.h"

namespace portwright {
namespace {

namespace py = pybind11;

ExecutorchBackend backend_named(const std::string& name) {
  if (name == "xnnpack") return ExecutorchBackend::kXnnpack;
  if (name == "portable") return ExecutorchBackend::kPortable;
  throw Error(ErrorCode::kInvalidArgument,
              "the engine lowers for 'xnnpack' and 'portable', not for '" + name +
                  "': other backends are ExecutorchExporter's");
}

std::shared_ptr<ExecutorchExport> lower_program(
    const std::shared_ptr<Program>& program, const std::string& backend, bool alloc_graph_input,
    bool alloc_graph_output, bool alloc_mutable_buffers, const std::optional<int64_t>& bound_of_all,
    const std::map<std::string, int64_t>& bounds, const std::vector<std::string>& notes,
    const std::map<std::string, std::string>& versions) {
  ExecutorchOptions options;
  options.backend = backend_named(backend);
  options.allocation = {alloc_graph_input, alloc_graph_output, alloc_mutable_buffers};
  options.bounds = {bound_of_all, bounds};
  options.notes = notes;
  options.versions = versions;
  return std::make_shared<ExecutorchExport>(lower_to_executorch(*program, options));
}

py::dict dict_of(const PteFacts& facts) {
  py::dict found;
  found["file_bytes"] = facts.file_bytes;
  found["program_bytes"] = facts.program_bytes;
  found["weight_bytes"] = facts.weight_bytes;
  found["delegate_bytes"] = facts.delegate_bytes;
  return found;
}

py::dict write_model(const PteModel& model, const std::string& path) {
  PteFacts facts;
  {
    const py::gil_scoped_release release;
    facts = write_pte(model, path);
  }
  return dict_of(facts);
}

py::dict write_export(const ExecutorchExport& exported, const std::string& path) {
  PteFacts facts;
  std::string record_path;
  {
    const py::gil_scoped_release release;
    facts = write_pte(exported.model, path);
    record_path = write_record_beside(exported.record, path, facts);
  }
  py::dict found = dict_of(facts);
  found["record_path"] = record_path;
  return found;
}

// Calls by kernel ("aten::add.out"), and "delegate" for those of delegates.
std::map<std::string, size_t> call_counts(const ExecutorchExport& exported) {
  std::map<std::string, size_t> counts;
  for (const PteMethod& method : exported.model.methods) {
    for (const PteInstruction& instruction : method.instructions) {
      if (const auto* call = std::get_if<PteKernelCall>(&instruction)) {
        const PteOperator& op = method.operators.at(call->op);
        ++counts[op.overload.empty() ? op.name : op.name + "." + op.overload];
      } else if (std::holds_alternative<PteDelegateCall>(instruction)) {
        ++counts["delegate"];
      }
    }
  }
  return counts;
}

// (bytes, first, last instruction, offset in arena 1) of each planned tensor.
using PlacedRequest = std::tuple<uint64_t, uint32_t, uint32_t, uint64_t>;

std::vector<PlacedRequest> memory_requests(const ExecutorchExport& exported) {
  std::vector<PlacedRequest> found;
  for (const PlannedTensor& tensor : planned_tensors(exported.model.methods.front())) {
    const MemoryRequest& request = tensor.request;
    found.emplace_back(request.bytes, request.first, request.last, tensor.offset);
  }
  return found;
}

std::pair<std::vector<uint64_t>, uint64_t> plan_requests(
    const std::vector<std::tuple<uint64_t, uint32_t, uint32_t>>& given) {
  std::vector<MemoryRequest> requests;
  for (const auto& [bytes, first, last] : given) requests.push_back({bytes, first, last});
  MemoryPlan plan = plan_memory(requests);
  return {std::move(plan.offsets), plan.bytes};
}

// Values by symbol; None for those that data decides.
void check_values(const ExecutorchExport& exported,
                  const std::vector<std::optional<int64_t>>& symbols) {
  std::vector<int64_t> values;
  for (const auto& value : symbols) values.push_back(value.value_or(0));
  values.resize(exported.symbols->size());
  check_bounds(exported.bounds, *exported.symbols, values);
}

}  // namespace

void bind_executorch(py::module_& m) {
  py::class_<ExecutorchExport, std::shared_ptr<ExecutorchExport>>(m, "ExecutorchExport")
      .def_property_readonly("notes", [](const ExecutorchExport& e) { return e.notes; })
      .def_property_readonly(
          "arena_sizes",
          [](const ExecutorchExport& e) { return e.model.methods.front().arena_sizes; })
      .def("call_counts", &call_counts)
      .def("memory_requests", &memory_requests)
      .def("check_bounds", &check_values, py::arg("symbols"))
      .def("write", &write_export, py::arg("path"))
      .def("serialize",
           [](const ExecutorchExport& e) { return py::bytes(serialize_pte(e.model)); });
  py::class_<PteModel, std::shared_ptr<PteModel>>(m, "PteModel", "A .pte file in memory.")
      .def("write", &write_model, py::arg("path"))
      .def("serialize", [](const PteModel& model) { return py::bytes(serialize_pte(model)); });
  m.def("read_pte",
        [](const std::string& path) { return std::make_shared<PteModel>(read_pte(path).model); });
  m.def("inspect_pte", &inspect_pte);
  m.def("plan_memory", &plan_requests, py::arg("requests"),
        "Offsets in one arena of (bytes, first, last), and its bytes.");
  m.def("lower_executorch", &lower_program, py::arg("program"), py::kw_only(), py::arg("backend"),
        py::arg("alloc_graph_input"), py::arg("alloc_graph_output"),
        py::arg("alloc_mutable_buffers"), py::arg("bound_of_all"), py::arg("bounds"),
        py::arg("notes"), py::arg("versions"));
  m.def("read_pte_record", &read_pte_record);
  m.def("edge_operators", &edge_operators);
  m.def("elementwise_kernels", &elementwise_kernels);
  m.def("executorch_version", [] { return std::string(kernel_table_version()); });
}

}  // namespace portwright
