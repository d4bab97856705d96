// Program as Python sees it: to read, to print and parse, to run passes on.
#include "bindings/bindings.h"

#include <pybind11/stl.h>

#include <map>
#include <memory>
#include <optional>

#include "ir/data_symbols.h"
#include "ir/dtype_names.h"
#include "ir/record.h"
#include "ir/text.h"
#include "ir/text_tables.h"
#include "ir/verifier.h"
#include "passes/pass.h"

namespace portwright {
namespace {

namespace py = pybind11;

// An int for a constant size, text for a symbolic one.
py::list shape_list(const TensorType& type) {
  py::list shape;
  for (const Expr& size : type.shape) {
    if (size.is_constant()) {
      shape.append(size.constant());
    } else {
      shape.append(to_string(size));
    }
  }
  return shape;
}

py::tuple value_tuple(const std::string& name, const TensorType& type) {
  return py::make_tuple(name, std::string(to_string(type.dtype)), shape_list(type));
}

py::list user_inputs(const Program& program) {
  py::list found;
  for (size_t i : program.user_inputs()) {
    found.append(
        value_tuple(program.inputs[i].target, program.graph.type(program.graph.inputs[i])));
  }
  return found;
}

py::list outputs(const Program& program) {
  py::list found;
  for (size_t i = 0; i < program.outputs.size(); ++i) {
    py::dict item;
    item["name"] = program.outputs[i].target;
    item["kind"] = std::string(word_of(kOutputWords, program.outputs[i].kind));
    const TensorType& type = program.graph.type(program.graph.outputs[i]);
    item["dtype"] = std::string(to_string(type.dtype));
    item["shape"] = shape_list(type);
    found.append(item);
  }
  return found;
}

py::list nodes(const Program& program) {
  py::list found;
  for (const Node& node : program.graph.nodes) {
    py::dict item;
    item["op"] = node.op;
    item["module"] = program.module_path(node);
    item["source"] = to_string(program.source(node));
    py::list types;
    for_each_output(node, [&](ValueId id) {
      const TensorType& type = program.graph.type(id);
      types.append(py::make_tuple(std::string(to_string(type.dtype)), shape_list(type)));
    });
    item["outputs"] = types;
    found.append(item);
  }
  return found;
}

std::map<std::string, size_t> op_counts(const Program& program) {
  std::map<std::string, size_t> counts;
  for (const Node& node : program.graph.nodes) ++counts[node.op];
  return counts;
}

py::object bound(int64_t value) {
  if (value == Interval::kInfinity) return py::none();
  return py::int_(value);
}

py::list symbols(const Program& program) {
  py::list found;
  const SymbolTable& table = *program.symbols;
  for (SymbolId id = 0; id < table.size(); ++id) {
    const SymbolInfo& info = table.info(id);
    py::dict item;
    item["name"] = info.name;
    item["lo"] = info.range.lo;
    item["hi"] = bound(info.range.hi);
    item["hint"] = info.hint;
    item["origin"] = info.origin;
    item["from_user"] = info.from_user;
    const auto replacement = table.replacement(id);
    item["replacement"] = replacement ? py::cast(to_string(*replacement)) : py::none();
    found.append(item);
  }
  return found;
}

py::list guards(const Program& program) {
  py::list found;
  for (const Guard& guard : program.symbols->guards()) {
    py::dict item;
    item["text"] = to_string(guard.predicate);
    item["kind"] = std::string(word_of(kGuardWords, guard.kind));
    item["about_data"] = about_data(guard.predicate, *program.symbols);
    item["source"] = to_string(guard.source);
    item["module"] = guard.module_path;
    found.append(item);
  }
  return found;
}

py::list weights(const Program& program) {
  py::list found;
  for (size_t i = 0; i < program.inputs.size(); ++i) {
    const InputSpec& spec = program.inputs[i];
    if (!spec.weight) continue;
    found.append(py::make_tuple(spec.target, std::string(word_of(kInputWords, spec.kind)),
                                std::string(to_string(spec.weight->dtype)), spec.weight->shape,
                                spec.weight->byte_size()));
  }
  return found;
}

void run_named_passes(Program& program, const std::optional<std::vector<std::string>>& names) {
  if (!names) {
    run_passes(program);
    return;
  }
  std::vector<Pass> chosen;
  for (const std::string& name : *names) {
    std::string known;
    for (const Pass& pass : standard_passes()) {
      if (pass.name == name) chosen.push_back(pass);
      known += (known.empty() ? "" : ", ") + std::string(pass.name);
    }
    if (chosen.empty() || chosen.back().name != name) {
      throw Error(ErrorCode::kInvalidArgument, "no pass '" + name + "'; the passes are " + known);
    }
  }
  run_passes(program, chosen);
}

std::vector<Placed> places_of(const std::vector<std::pair<size_t, std::string>>& items) {
  std::vector<Placed> places;
  for (const auto& [before, name] : items) places.push_back({before, name});
  return places;
}

// Checks tensors of these dtypes ("float32") and shapes.
void check_tensors(const ExportRecord& record,
                   const std::vector<std::pair<std::string, std::vector<int64_t>>>& inputs) {
  std::vector<GivenInput> given;
  for (const auto& [name, shape] : inputs) {
    const auto dtype = dtype_of_torch_name(name);
    if (!dtype) throw Error(ErrorCode::kInvalidArgument, "tensors of " + name + " cannot be given");
    given.push_back({*dtype, shape});
  }
  check_inputs(record, given);
}

}  // namespace

void bind_ir(py::module_& m) {
  py::class_<Program, std::shared_ptr<Program>>(m, "Program", "A captured graph, free of torch.")
      .def("text", [](const Program& program) { return print(program); })
      .def_static("parse",
                  [](const std::string& text) { return std::make_shared<Program>(parse(text)); })
      .def("verify", [](const Program& program) { verify(program); })
      // Passes change the graph in place; a copy keeps the captured form (weights and symbols are
      // shared).
      .def("copy", [](const Program& program) { return std::make_shared<Program>(program); })
      .def("run_passes", &run_named_passes, py::arg("names") = py::none())
      // (place before, name) of each user input and user output.
      .def("arrange",
           [](Program& program, const std::vector<std::pair<size_t, std::string>>& inputs,
              const std::vector<std::pair<size_t, std::string>>& outputs) {
             arrange(program, places_of(inputs), places_of(outputs));
           })
      .def_property_readonly("node_count",
                             [](const Program& program) { return program.graph.nodes.size(); })
      .def("op_counts", &op_counts)
      .def("nodes", &nodes)
      .def("user_inputs", &user_inputs)
      .def("outputs", &outputs)
      .def("symbols", &symbols)
      .def("guards", &guards)
      .def("weights", &weights);
  py::class_<ExportRecord>(m, "ExportRecord", "What a file's format cannot hold, read back.")
      .def_property_readonly(
          "program",
          [](const ExportRecord& record) { return std::make_shared<Program>(record.program); })
      .def_readonly("outputs", &ExportRecord::outputs)
      .def_readonly("new_values", &ExportRecord::new_values)
      .def("check", &check_tensors, py::arg("inputs"));
}

}  // namespace portwright
