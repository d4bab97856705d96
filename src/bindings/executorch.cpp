// The ExecuTorch backend as Python sees it.
#include <pybind11/stl.h>

#include <memory>

#include "bindings/bindings.h"
#include "executorch/inspect.h"
#include "executorch/reader.h"
#include "executorch/writer.h"

namespace portwright {
namespace {

namespace py = pybind11;

py::dict write_model(const PteModel& model, const std::string& path) {
  PteFacts written;
  {
    const py::gil_scoped_release release;
    written = write_pte(model, path);
  }
  py::dict facts;
  facts["file_bytes"] = written.file_bytes;
  facts["program_bytes"] = written.program_bytes;
  facts["weight_bytes"] = written.weight_bytes;
  facts["delegate_bytes"] = written.delegate_bytes;
  return facts;
}

}  // namespace

void bind_executorch(py::module_& m) {
  py::class_<PteModel, std::shared_ptr<PteModel>>(m, "PteModel", "A .pte file in memory.")
      .def("write", &write_model, py::arg("path"))
      .def("serialize", [](const PteModel& model) { return py::bytes(serialize_pte(model)); });
  m.def("read_pte",
        [](const std::string& path) { return std::make_shared<PteModel>(read_pte(path).model); });
  m.def("inspect_pte", &inspect_pte);
}

}  // namespace portwright
