// The .pt2 format as Python sees it.
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <pybind11/stl.h>

#include <sstream>

#include "bindings/bindings.h"
#include "capture/torch_weight.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"
#include "ir/text_tables.h"
#include "pt2/model_writer.h"
#include "pt2/reader.h"
#include "pt2/writer.h"

namespace portwright {
namespace {

namespace py = pybind11;

// The name of a leaf that is a symbolic size; python/portwright/pytrees.py has it too.
constexpr std::string_view kSizeLeaf = "size of the program";

LeafConstant constant_of(const Program& program, const std::string& name, const py::handle& value) {
  if (name == kSizeLeaf) return parse_expr(value.cast<std::string>(), *program.symbols);
  if (value.is_none()) return None{};
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::int_>(value)) return value.cast<int64_t>();
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  return value.cast<std::string>();
}

std::vector<InterfaceLeaf> leaves_of(const Program& program, const py::list& items) {
  std::vector<InterfaceLeaf> leaves;
  for (const py::handle& item : items) {
    if (py::isinstance<py::int_>(item)) {
      leaves.push_back({item.cast<size_t>(), None{}, {}});
      continue;
    }
    const auto pair = item.cast<py::tuple>();
    std::string name = pair[0].cast<std::string>();
    LeafConstant value = constant_of(program, name, pair[1]);
    leaves.push_back({std::nullopt, std::move(value), std::move(name)});
  }
  return leaves;
}

Pt2Interface make_interface(const Program& program, std::string in_spec, std::string out_spec,
                            const py::list& inputs, const py::list& outputs,
                            std::vector<std::string> argument_names,
                            std::set<std::string, std::less<>> trainable) {
  return {std::move(in_spec),          std::move(out_spec),       leaves_of(program, inputs),
          leaves_of(program, outputs), std::move(argument_names), std::move(trainable)};
}

// ATen's schemas, and those of other libraries' operators that the program uses.
SchemaTable schemas_for(const Program& program) {
  SchemaTable table;
  for (const Node& node : program.graph.nodes) {
    if (binds_symbol(node) || is_loop(node) || table.find(node.op) != nullptr) continue;
    const size_t dot = node.op.find('.');
    const size_t last = node.op.rfind('.');
    const std::string overload = node.op.substr(last + 1);
    const auto handle = c10::Dispatcher::singleton().findSchema(
        {node.op.substr(0, dot) + "::" + node.op.substr(dot + 1, last - dot - 1),
         overload == "default" ? "" : overload});
    if (!handle) continue;
    std::ostringstream text;
    text << handle->schema();
    table.add(text.str());
  }
  return table;
}

py::bytes model_text(const Program& program, const Pt2Interface& interface) {
  SchemaTable schemas = schemas_for(program);
  return write_model(program, interface, schemas);
}

uint64_t write_archive(const Program& program, const Pt2Interface& interface,
                       const std::string& path) {
  SchemaTable schemas = schemas_for(program);
  const py::gil_scoped_release release;
  return write_pt2(program, interface, schemas, path);
}

// (kind, name, persistent, tensor) of all weights: the model's own tensors.
py::list tensors(const Program& program) {
  py::list found;
  for (const InputSpec& spec : program.inputs) {
    if (!spec.weight) continue;
    found.append(py::make_tuple(std::string(word_of(kInputWords, spec.kind)), spec.target,
                                spec.persistent, weight_tensor(*spec.weight)));
  }
  return found;
}

// (Program, Pt2Interface) of a file.
py::tuple read_archive(const std::string& path) {
  SchemaTable schemas;
  Pt2File file = read_pt2(path, schemas);
  return py::make_tuple(std::make_shared<Program>(std::move(file.program)),
                        std::move(file.interface));
}

bool has_loops(const Program& program) {
  for (const Node& node : program.graph.nodes) {
    if (is_loop(node)) return true;
  }
  return false;
}

}  // namespace

void bind_pt2(py::module_& m) {
  py::class_<Pt2Interface>(m, "Pt2Interface", "The containers around inputs and outputs.")
      .def(py::init(&make_interface), py::arg("program"), py::arg("in_spec"), py::arg("out_spec"),
           py::arg("inputs"), py::arg("outputs"), py::arg("argument_names"), py::arg("trainable"));
  m.def("pt2_model", &model_text);
  m.def("write_pt2", &write_archive);
  m.def("read_pt2", &read_archive);
  m.def("tensors", &tensors);
  m.def("has_loops", &has_loops);
}

}  // namespace portwright
