// The .pt2 format as Python sees it.
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>

#include <ATen/core/dispatch/Dispatcher.h>
#include <pybind11/stl.h>

#include <sstream>

#include "bindings/bindings.h"
#include "capture/sym_node.h"
#include "capture/torch_weight.h"
#include "ir/data_symbols.h"
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

// The schema of an operator of another library than ATen, if it writes to no operand.
std::optional<std::string> library_schema(const std::string& op) {
  const size_t dot = op.find('.');
  const size_t last = op.rfind('.');
  if (last == dot || op.starts_with("aten.")) return std::nullopt;
  const std::string overload = op.substr(last + 1);
  const auto handle = c10::Dispatcher::singleton().findSchema(
      {op.substr(0, dot) + "::" + op.substr(dot + 1, last - dot - 1),
       overload == "default" ? "" : overload});
  if (!handle || handle->schema().is_mutable()) return std::nullopt;
  std::ostringstream text;
  text << handle->schema();
  return text.str();
}

// ATen's schemas, and those of the operators that other libraries have registered.
SchemaTable all_schemas() {
  SchemaTable table;
  table.set_source(&library_schema);
  return table;
}

py::bytes model_text(const Program& program, const Pt2Interface& interface) {
  SchemaTable schemas = all_schemas();
  return write_model(program, interface, schemas);
}

uint64_t write_archive(const Program& program, const Pt2Interface& interface,
                       const std::string& path) {
  SchemaTable schemas = all_schemas();
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

py::tuple to_tuple(Pt2File file) {
  return py::make_tuple(std::make_shared<Program>(std::move(file.program)),
                        std::move(file.interface));
}

// (Program, Pt2Interface) of a file.
py::tuple read_archive(const std::string& path) {
  SchemaTable schemas = all_schemas();
  return to_tuple(read_pt2(path, schemas));
}

// The same from a document on these tensors, named as in its signature.
py::tuple read_document(const std::string& document,
                        const std::vector<std::pair<std::string, at::Tensor>>& tensors) {
  StoredWeights weights;
  for (const auto& [name, tensor] : tensors) {
    weights.by_name.emplace(name, torch_weight(tensor));
    if (tensor.requires_grad()) weights.trainable.insert(name);
  }
  SchemaTable schemas = all_schemas();
  return to_tuple(read_model(document, std::move(weights), schemas));
}

// Leaves as the constructor takes them, symbolic sizes as torch.SymInt.
py::list leaf_list(const Program& program, const std::vector<InterfaceLeaf>& leaves) {
  py::list found;
  for (const InterfaceLeaf& leaf : leaves) {
    if (leaf.tensor) {
      found.append(*leaf.tensor);
      continue;
    }
    const py::object value = std::visit(
        [&](const auto& constant) -> py::object {
          using Constant = std::decay_t<decltype(constant)>;
          if constexpr (std::is_same_v<Constant, None>) {
            return py::none();
          } else if constexpr (std::is_same_v<Constant, Expr>) {
            return py::cast(to_sym_int(constant, program.symbols));
          } else {
            return py::cast(constant);
          }
        },
        leaf.constant);
    found.append(py::make_tuple(leaf.name, value));
  }
  return found;
}

// A tensor of the same type, which has symbolic sizes and no data, that shares nothing with it.
at::Tensor with_own_storage(const at::Tensor& like) {
  const c10::Storage& storage = like.storage();
  auto impl = like.unsafeGetTensorImpl()->shallow_copy_and_detach(/*version_counter=*/0, false);
  impl->set_storage_keep_dtype(c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(), storage.sym_nbytes(), storage.allocator(),
      storage.resizable()));
  return at::Tensor(std::move(impl));
}

bool fits_pt2(const Program& program) { return loops_are_scans(program.graph, *program.symbols); }

}  // namespace

void bind_pt2(py::module_& m) {
  py::class_<Pt2Interface>(m, "Pt2Interface", "The containers around inputs and outputs.")
      .def(py::init(&make_interface), py::arg("program"), py::arg("in_spec"), py::arg("out_spec"),
           py::arg("inputs"), py::arg("outputs"), py::arg("argument_names"), py::arg("trainable"))
      .def_readonly("in_spec", &Pt2Interface::in_spec)
      .def_readonly("out_spec", &Pt2Interface::out_spec)
      .def_readonly("argument_names", &Pt2Interface::argument_names)
      .def("inputs", [](const Pt2Interface& interface,
                        const Program& program) { return leaf_list(program, interface.inputs); })
      .def("outputs", [](const Pt2Interface& interface, const Program& program) {
        return leaf_list(program, interface.outputs);
      });
  m.def("pt2_model", &model_text);
  m.def("write_pt2", &write_archive);
  m.def("read_pt2", &read_archive);
  m.def("read_model", &read_document);
  m.def("tensors", &tensors);
  m.def("fits_pt2", &fits_pt2);
  m.def("with_own_storage", &with_own_storage);
}

}  // namespace portwright
