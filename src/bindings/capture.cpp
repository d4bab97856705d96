// Capture and interpreter as Python sees them. The driver is python/portwright/capture.py.
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/jit/python/pybind_utils.h>
#include <torch/csrc/utils/pybind.h>

#include <pybind11/stl.h>

#include <cmath>
#include <unordered_set>

#include "bindings/bindings.h"
#include "capture/sym_node.h"
#include "capture/tracer.h"
#include "interpreter/interpreter.h"
#include "symbolic/dim_fixes.h"

namespace portwright {
namespace {

namespace py = pybind11;

TracedSymNode& own_node(const c10::SymNode& node) {
  auto* traced = dynamic_cast<TracedSymNode*>(node.get());
  if (traced == nullptr) {
    throw Error(ErrorCode::kInternal, "a symbolic number of another tracer: " + node->str());
  }
  return *traced;
}

// Rounds to the nearest even integer, or keeps the float where digits are asked for.
c10::SymNode round_half_even(const c10::SymNode& node) {
  return own_node(node).round_value(Rounding::kHalfEven);
}

Tracer& active_tracer() {
  Tracer* tracer = Tracer::active();
  if (tracer == nullptr) throw Error(ErrorCode::kInternal, "no capture is running");
  return *tracer;
}

InputKind input_kind(const std::string& name) {
  if (name == "parameter") return InputKind::kParameter;
  if (name == "buffer") return InputKind::kBuffer;
  throw Error(ErrorCode::kInternal, "unknown kind of weight: " + name);
}

std::vector<NamedWeight> named_weights(
    const std::vector<std::tuple<std::string, std::string, bool, at::Tensor>>& items) {
  std::vector<NamedWeight> weights;
  weights.reserve(items.size());
  for (const auto& [kind, target, persistent, tensor] : items) {
    weights.push_back({input_kind(kind), target, persistent, tensor});
  }
  return weights;
}

SymbolId add_symbol(Tracer& tracer, const std::string& name, int64_t lo, std::optional<int64_t> hi,
                    int64_t hint, const std::string& origin, bool from_user) {
  SymbolInfo info;
  info.name = name;
  info.range = {lo, hi.value_or(Interval::kInfinity)};
  info.hint = hint;
  info.origin = origin;
  info.from_user = from_user;
  return *tracer.symbols().add_symbol(std::move(info)).symbol();
}

// dims: per dimension None (as in the sample), or (symbol, factor, offset): factor * symbol +
// offset.
using DimSpec = std::optional<std::tuple<SymbolId, int64_t, int64_t>>;

at::Tensor add_input(Tracer& tracer, const std::string& name, const at::Tensor& sample,
                     const std::vector<DimSpec>& dims) {
  std::vector<Expr> shape;
  for (size_t i = 0; i < dims.size(); ++i) {
    if (!dims[i]) {
      shape.emplace_back(sample.size(static_cast<int64_t>(i)));
      continue;
    }
    const auto& [symbol, factor, offset] = *dims[i];
    shape.push_back(tracer.symbols().symbol(symbol) * Expr(factor) + Expr(offset));
  }
  return tracer.add_input(name, sample, std::move(shape));
}

py::dict guard_dict(const Guard& guard, const std::string& text) {
  py::dict item;
  item["guard"] = text;
  item["source"] = to_string(guard.source);
  item["module"] = guard.module_path;
  return item;
}

// Guards that the user's own Dims do not imply: see symbolic/dim_fixes.h.
py::list user_violations(const Program& program) {
  const SymbolTable& symbols = *program.symbols;
  py::list found;
  for (const Violation& violation : violations(symbols)) {
    py::dict item = guard_dict(symbols.guards()[violation.guard], to_string(violation.condition));
    py::list dims;
    for (SymbolId id : violation.dims) {
      dims.append(py::make_tuple(symbols.info(id).name, symbols.info(id).origin));
    }
    item["dims"] = dims;
    item["statable"] = violation.statable;
    found.append(item);
  }
  return found;
}

// Makes what user_violations() lists conditions that are checked when the program runs.
void defer_violations(Program& program) {
  std::vector<Guard> guards = program.symbols->guards();
  for (const Violation& violation : violations(*program.symbols)) {
    guards[violation.guard].kind = GuardKind::kRuntimeAssert;
  }
  program.symbols->set_guards(std::move(guards));
}

// Symbols of automatic dims that the model fixed or narrowed, with the guard that did it.
py::list narrowings(const Program& program) {
  const SymbolTable& symbols = *program.symbols;
  py::list found;
  for (const Guard& guard : symbols.guards()) {
    guard.predicate.for_each_symbol([&](SymbolId id) {
      if (symbols.info(id).from_user) return;
      py::dict item = guard_dict(guard, to_string(guard.predicate));
      item["symbol"] = symbols.info(id).name;
      item["origin"] = symbols.info(id).origin;
      const auto replacement = symbols.replacement(id);
      item["fixed"] = replacement ? py::cast(replacement->maybe_constant()) : py::none();
      item["equality"] = guard.kind == GuardKind::kEquality;
      found.append(item);
    });
  }
  return found;
}

// What a symbolic number of a finished capture is, given the symbols' values; None when it takes
// one that is not known.
py::object value_of_number(const c10::SymNode& node,
                           const std::vector<std::optional<int64_t>>& symbols) {
  const TracedSymNode& number = own_node(node);
  const SymbolTable& table = *number.symbols();
  std::vector<int64_t> values;
  for (const auto& value : symbols) values.push_back(value.value_or(0));
  bool known = true;
  const auto look = [&](SymbolId id) { known &= symbols[id].has_value(); };
  if (const auto* expr = std::get_if<Expr>(&number.value())) {
    const Expr resolved = table.resolve(*expr);
    for_each_symbol(resolved, look);
    return known ? py::cast(evaluate(resolved, values)) : py::none();
  }
  const auto evaluated = [&](const auto& value) -> py::object {
    const auto resolved = table.resolve(value);
    resolved.for_each_symbol(look);
    return known ? py::cast(resolved.evaluate(values)) : py::none();
  };
  if (const auto* real = std::get_if<Real>(&number.value())) return evaluated(*real);
  return evaluated(std::get<Predicate>(number.value()));
}

// Operators that are not in `kept` are traced through the function that find(name) gives, if any:
// it is called with all operands in the schema's order and gives the tuple of results, or
// NotImplemented for operands that it does not know.
void set_decompositions(Tracer& tracer, const std::unordered_set<std::string>& kept,
                        const py::function& find) {
  auto functions = std::make_shared<std::unordered_map<std::string, py::object>>();
  tracer.set_decompositions([kept, find, functions](const std::string& name,
                                                    const c10::OperatorHandle& op,
                                                    torch::jit::Stack* stack) {
    if (kept.contains(name)) return false;
    const py::gil_scoped_acquire gil;
    try {
      auto [found, added] = functions->try_emplace(name);
      if (added) found->second = find(name);
      if (found->second.is_none()) return false;
      const auto count = op.schema().arguments().size();
      py::tuple operands(count);
      for (size_t i = 0; i < count; ++i) {
        operands[i] = torch::jit::toPyObject((*stack)[stack->size() - count + i]);
      }
      const py::object results = found->second(*operands);
      if (results.is(py::reinterpret_borrow<py::object>(Py_NotImplemented))) return false;
      torch::jit::drop(*stack, count);
      const auto& returns = op.schema().returns();
      for (size_t i = 0; i < returns.size(); ++i) {
        stack->push_back(torch::jit::toIValue(results[py::int_(i)], returns[i].type()));
      }
      return true;
    } catch (py::error_already_set& error) {
      error.restore();
      python_error carried;
      carried.persist();
      throw carried;
    }
  });
}

void bind_tracer(py::module_& m) {
  py::class_<OpCatalog>(m, "OpCatalog", "Facts about the dispatcher's operators.")
      .def(py::init<>());
  py::class_<Tracer>(m, "Tracer", "Records the operator calls of this thread as a Program.")
      .def(py::init<OpCatalog&>(), py::keep_alive<1, 2>())
      .def("set_weights",
           [](Tracer& tracer,
              const std::vector<std::tuple<std::string, std::string, bool, at::Tensor>>& items) {
             tracer.set_weights(named_weights(items));
           })
      .def("trace_weights", &Tracer::trace_weights)
      .def("written_too_late", &Tracer::written_too_late)
      .def("add_symbol", &add_symbol, py::arg("name"), py::arg("lo"), py::arg("hi"),
           py::arg("hint"), py::arg("origin"), py::arg("from_user"))
      .def("add_input", &add_input)
      .def("name_module", [](Tracer& tracer, const py::handle& module,
                             const std::string& path) { tracer.name_module(module.ptr(), path); })
      .def("set_library_roots",
           [](Tracer& tracer, std::vector<std::string> roots) {
             tracer.frames().set_library_roots(std::move(roots));
           })
      .def("set_decompositions", &set_decompositions)
      .def("start", &Tracer::start)
      .def("stop", &Tracer::stop)
      .def("fail_after", &Tracer::fail_after, py::arg("calls"), py::arg("late") = false)
      .def("finish", &Tracer::finish)
      .def("unfinished", &Tracer::unfinished);
  m.def("kept_composites", &kept_composites);
  m.def("enter_module", [](const py::handle& module) {
    Tracer* tracer = Tracer::active();
    if (tracer != nullptr) tracer->enter_module(module.ptr());
  });
  m.def("leave_module", [] {
    if (Tracer* tracer = Tracer::active()) tracer->leave_module();
  });
  m.def("note_seed", [] {
    if (Tracer* tracer = Tracer::active()) tracer->seed();
  });
  m.def("is_traced", [](const at::Tensor& t) { return TracedTensorImpl::of(t) != nullptr; });
  m.def(
      "read_item",
      [](const at::Tensor& tensor, bool is_count) {
        auto* traced = TracedTensorImpl::of(tensor);
        Tracer* tracer = Tracer::active();
        if (traced == nullptr || tracer == nullptr) {
          throw Error(ErrorCode::kInternal, "item() of a tensor that is not being traced");
        }
        return tracer->item_node(*traced, is_count);
      },
      py::arg("tensor"), py::arg("is_count") = false);
  // The value at the sample inputs, without a decision.
  m.def("sample_of", [](const c10::SymNode& node) {
    const TracedSymNode& number = own_node(node);
    return number.symbols()->hint(std::get<Expr>(number.value()));
  });
  m.def("set_read_as_operator", &set_read_as_operator);
  m.def("begin_loop", [](const c10::SymNode& trips) {
    return active_tracer().begin_loop(std::get<Expr>(own_node(trips).value()));
  });
  m.def("restart_loop", [](const std::vector<at::Tensor>& carried) {
    return active_tracer().restart_loop(carried);
  });
  m.def("begin_branches", [] { active_tracer().begin_branches(); });
  m.def("end_branches", [] { active_tracer().end_branches(); });
  m.def("end_loop",
        [](const std::vector<at::Tensor>& carried, const std::vector<at::Tensor>& items) {
          auto [last, collected] = active_tracer().end_loop(carried, items);
          std::vector<std::tuple<at::Tensor, std::optional<at::Tensor>, int64_t>> found;
          for (Tracer::Collected& item : collected) {
            found.emplace_back(item.tensor, item.lengths, item.dim);
          }
          return std::make_pair(last, found);
        });
  m.def("user_violations", &user_violations);
  m.def("defer_violations", &defer_violations);
  m.def("suggested_fixes",
        [](const Program& program) { return suggested_fixes(*program.symbols); });
  m.def("narrowings", &narrowings);
}

}  // namespace

void bind_capture(py::module_& m) {
  bind_tracer(m);
  m.def("sym_trunc",
        [](const c10::SymNode& node) { return own_node(node).round_value(Rounding::kTrunc); });
  m.def(
      "sym_round",
      [](const c10::SymNode& node, const py::object&) { return round_half_even(node); },
      py::arg("node"), py::arg("digits") = py::none());
  m.def("sym_truth", [](const c10::SymNode& node) { return own_node(node).known(false); });
  m.def("sym_str", [](const c10::SymNode& node) { return own_node(node).str(); });
  m.def("sym_sqrt",
        [](const c10::SymNode& node) { return own_node(node).unary_real(RealOp::kSqrt); });
  py::class_<Interpreter>(m, "Interpreter", "Runs a Program through PyTorch's dispatcher.")
      .def(py::init([](const std::shared_ptr<Program>& program) {
        return std::make_unique<Interpreter>(*program);
      }))
      .def("known_symbols", &Interpreter::known_symbols)
      .def("run",
           [](const Interpreter& self, const std::vector<at::Tensor>& inputs) {
             const py::gil_scoped_release release;
             return self.run(inputs).outputs;
           })
      .def("run_with_symbols", [](const Interpreter& self, const std::vector<at::Tensor>& inputs) {
        Interpreter::Results results;
        {
          const py::gil_scoped_release release;
          results = self.run(inputs);
        }
        return std::pair(std::move(results.outputs), std::move(results.symbols));
      });
  m.def("value_of_number", &value_of_number);
}

}  // namespace portwright
