// The symbolic engine as the property tests see it (portwright._core.symbolic).
#include <pybind11/stl.h>

#include <map>
#include <memory>

#include "bindings/bindings.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

namespace py = pybind11;

using TablePtr = std::shared_ptr<SymbolTable>;

// Expressions that keep their table alive.
struct PyExpr {
  TablePtr table;
  Expr expr;
};
struct PyReal {
  TablePtr table;
  Real real;
};

std::vector<int64_t> values_of(const SymbolTable& table,
                               const std::map<std::string, int64_t>& given) {
  std::vector<int64_t> values(table.hints().begin(), table.hints().end());
  for (const auto& [name, value] : given) {
    const auto id = table.find(name);
    if (!id) throw Error(ErrorCode::kInvalidArgument, "no symbol '" + name + "'");
    values[*id] = value;
  }
  return values;
}

template <typename Operation>
auto on_exprs(Operation operation) {
  return [operation](const PyExpr& a, const PyExpr& b) {
    return PyExpr{a.table, operation(a.expr, b.expr)};
  };
}

template <typename Operation>
auto with_int(Operation operation) {
  return [operation](const PyExpr& a, int64_t b) { return PyExpr{a.table, operation(a.expr, b)}; };
}

template <typename Operation>
auto int_with(Operation operation) {
  return [operation](const PyExpr& a, int64_t b) { return PyExpr{a.table, operation(b, a.expr)}; };
}

template <typename Class, typename Operation>
void def_operator(Class& cls, const std::string& name, Operation operation) {
  cls.def(("__" + name + "__").c_str(), on_exprs(operation));
  cls.def(("__" + name + "__").c_str(), with_int(operation));
  cls.def(("__r" + name + "__").c_str(), int_with(operation));
}

void bind_expr(py::module_& m) {
  py::class_<PyExpr> cls(m, "Expr");
  def_operator(cls, "add", [](const Expr& a, const Expr& b) { return a + b; });
  def_operator(cls, "sub", [](const Expr& a, const Expr& b) { return a - b; });
  def_operator(cls, "mul", [](const Expr& a, const Expr& b) { return a * b; });
  def_operator(cls, "floordiv", [](const Expr& a, const Expr& b) { return floor_div(a, b); });
  def_operator(cls, "mod", [](const Expr& a, const Expr& b) { return mod(a, b); });
  cls.def("__neg__", [](const PyExpr& a) { return PyExpr{a.table, -a.expr}; })
      .def("__eq__", [](const PyExpr& a, const PyExpr& b) { return a.expr == b.expr; })
      .def("__hash__", [](const PyExpr& a) { return a.expr.hash(); })
      .def("__str__", [](const PyExpr& a) { return to_string(a.expr); })
      .def("is_constant", [](const PyExpr& a) { return a.expr.is_constant(); })
      .def("real", [](const PyExpr& a) { return PyReal{a.table, Real::ratio(a.expr)}; })
      .def("evaluate", [](const PyExpr& a, const std::map<std::string, int64_t>& values) {
        return evaluate(a.expr, values_of(*a.table, values));
      });
  m.def("minimum", on_exprs([](const Expr& a, const Expr& b) { return min(a, b); }));
  m.def("maximum", on_exprs([](const Expr& a, const Expr& b) { return max(a, b); }));
  m.def("ceil_div", on_exprs([](const Expr& a, const Expr& b) { return ceil_div(a, b); }));
}

void bind_real(py::module_& m) {
  py::class_<PyReal> cls(m, "Real");
  const std::pair<const char*, RealOp> binaries[] = {{"__add__", RealOp::kAdd},
                                                     {"__sub__", RealOp::kSub},
                                                     {"__mul__", RealOp::kMul},
                                                     {"__truediv__", RealOp::kTrueDiv}};
  for (const auto& [name, op] : binaries) {
    cls.def(name, [op = op](const PyReal& a, const PyReal& b) {
      return PyReal{a.table, Real::binary(op, a.real, b.real)};
    });
    cls.def(name, [op = op](const PyReal& a, double b) {
      return PyReal{a.table, Real::binary(op, a.real, Real(b))};
    });
  }
  const std::pair<const char*, Rounding> roundings[] = {{"floor", Rounding::kFloor},
                                                        {"ceil", Rounding::kCeil},
                                                        {"trunc", Rounding::kTrunc},
                                                        {"round", Rounding::kHalfEven}};
  for (const auto& [name, rounding] : roundings) {
    cls.def(name, [rounding = rounding](const PyReal& a) {
      return PyExpr{a.table, round_to_int(a.real, rounding, a.table.get())};
    });
  }
  cls.def("sqrt",
          [](const PyReal& a) { return PyReal{a.table, Real::unary(RealOp::kSqrt, a.real)}; })
      .def("__str__", [](const PyReal& a) { return to_string(a.real); })
      .def("__eq__", [](const PyReal& a, const PyReal& b) { return a.real == b.real; })
      .def("evaluate", [](const PyReal& a, const std::map<std::string, int64_t>& values) {
        return a.real.evaluate(values_of(*a.table, values));
      });
}

void bind_table(py::module_& m) {
  py::class_<SymbolTable, TablePtr>(m, "SymbolTable")
      .def(py::init<>())
      .def("add_symbol",
           [](const TablePtr& table, const std::string& name, int64_t lo, std::optional<int64_t> hi,
              int64_t hint) {
             SymbolInfo info;
             info.name = name;
             info.range = {lo, hi.value_or(Interval::kInfinity)};
             info.hint = hint;
             return PyExpr{table, table->add_symbol(std::move(info))};
           })
      .def("parse", [](const TablePtr& table,
                       const std::string& text) { return PyExpr{table, parse_expr(text, *table)}; })
      .def("parse_real",
           [](const TablePtr& table, const std::string& text) {
             return PyReal{table, parse_real(text, *table)};
           })
      .def("normal_predicate",
           [](const TablePtr& table, const std::string& text) {
             return to_string(parse_predicate(text, *table));
           })
      .def("holds",
           [](const TablePtr& table, const std::string& text,
              const std::map<std::string, int64_t>& values) {
             return parse_predicate(text, *table).evaluate(values_of(*table, values));
           })
      .def(
          "decide",
          [](const TablePtr& table, const std::string& text, bool assume_sizes) {
            return table->decide(parse_predicate(text, *table), assume_sizes);
          },
          py::arg("predicate"), py::arg("assume_sizes") = false)
      .def("guard",
           [](const TablePtr& table, const std::string& text) {
             return table->guard(parse_predicate(text, *table), GuardKind::kDecision, {}, "");
           })
      .def("require",
           [](const TablePtr& table, const std::string& text) {
             table->require(parse_predicate(text, *table), GuardKind::kEquality, {}, "");
           })
      .def("range",
           [](const TablePtr& table, const PyExpr& expr) {
             const Interval range = table->range(expr.expr);
             return std::pair(range.lo, range.hi);
           })
      .def("resolve", [](const TablePtr& table,
                         const PyExpr& expr) { return PyExpr{table, table->resolve(expr.expr)}; })
      .def("guards", [](const TablePtr& table) {
        std::vector<std::string> texts;
        for (const Guard& guard : table->guards()) texts.push_back(to_string(guard.predicate));
        return texts;
      });
  m.attr("INFINITY") = Interval::kInfinity;
}

}  // namespace

void bind_symbolic(py::module_& m) {
  py::module_ symbolic = m.def_submodule("symbolic", "The symbolic engine, for tests.");
  bind_expr(symbolic);
  bind_real(symbolic);
  bind_table(symbolic);
}

}  // namespace portwright
