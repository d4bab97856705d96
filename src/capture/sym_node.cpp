#include "capture/sym_node.h"

#include <torch/csrc/utils/pybind.h>
#include <torch/csrc/utils/python_symnode.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "capture/provenance.h"

namespace portwright {
namespace {

Real as_real(const SymbolicValue& value) {
  if (const auto* real = std::get_if<Real>(&value)) return *real;
  if (const auto* expr = std::get_if<Expr>(&value)) return Real::ratio(*expr);
  throw Error(ErrorCode::kInternal, "a symbolic bool was used as a number");
}

Predicate as_predicate(const SymbolicValue& value) {
  if (const auto* predicate = std::get_if<Predicate>(&value)) return *predicate;
  if (const auto* expr = std::get_if<Expr>(&value)) {
    return Predicate::compare(*expr, Relation::kNe, 0);
  }
  return Predicate::compare(std::get<Real>(value), Relation::kNe, Real(0.0));
}

thread_local bool python_reads_as_operator = false;

// torch passes its own C++ file for operators' rules, and nothing or the file for Python code.
bool from_operator(const char* file) {
  const std::string_view name = file == nullptr ? "" : file;
  return python_reads_as_operator || name.ends_with(".cpp") || name.ends_with(".h");
}

}  // namespace

bool reads_as_operator() { return python_reads_as_operator; }

bool set_read_as_operator(bool on) { return std::exchange(python_reads_as_operator, on); }

SymbolicValue to_symbolic(const c10::SymNode& node) {
  // torch's converter of SymFloat wraps a node that is already a C++ one.
  if (auto* wrapped = dynamic_cast<torch::impl::PythonSymNodeImpl*>(node.get())) {
    const pybind11::gil_scoped_acquire gil;
    const auto inner = pybind11::reinterpret_borrow<pybind11::object>(wrapped->getPyObj());
    if (pybind11::isinstance<c10::SymNodeImpl>(inner)) {
      return to_symbolic(inner.cast<c10::SymNode>());
    }
  }
  if (const auto* traced = dynamic_cast<TracedSymNode*>(node.get())) return traced->value();
  if (auto constant = node->constant_int()) return Expr(*constant);
  if (auto constant = node->constant_bool()) return Predicate(*constant);
  throw Error(ErrorCode::kInternal, "a symbolic value of another tracer reached the capture: " +
                                        node->str() + "; end that trace first");
}

Expr to_expr(const c10::SymInt& value) {
  if (auto constant = value.maybe_as_int()) return Expr(*constant);
  return std::get<Expr>(to_symbolic(value.toSymNode()));
}

Real to_real(const c10::SymFloat& value) {
  if (!value.is_symbolic()) return Real(value.as_float_unchecked());
  return as_real(to_symbolic(value.toSymNodeImpl()));
}

Predicate to_predicate(const c10::SymBool& value) {
  if (auto constant = value.maybe_as_bool()) return Predicate(*constant);
  return as_predicate(to_symbolic(value.toSymNodeImpl()));
}

c10::SymInt to_sym_int(const Expr& expr, const std::shared_ptr<SymbolTable>& symbols) {
  if (expr.is_constant()) return c10::SymInt(expr.constant());
  return c10::SymInt(c10::SymNode(c10::make_intrusive<TracedSymNode>(expr, symbols)));
}

c10::SymBool to_sym_bool(const Predicate& predicate, const std::shared_ptr<SymbolTable>& symbols) {
  if (auto constant = predicate.maybe_constant()) return c10::SymBool(*constant);
  return c10::SymBool(c10::SymNode(c10::make_intrusive<TracedSymNode>(predicate, symbols)));
}

c10::SymNode TracedSymNode::make(SymbolicValue value) const {
  return c10::make_intrusive<TracedSymNode>(std::move(value), symbols_);
}

template <typename IntegerOp>
c10::SymNode TracedSymNode::arithmetic(const c10::SymNode& other, IntegerOp integer_op,
                                       RealOp real_op) {
  const SymbolicValue right = to_symbolic(other);
  if (is_int() && std::holds_alternative<Expr>(right)) {
    return make(integer_op(std::get<Expr>(value_), std::get<Expr>(right)));
  }
  return make(Real::binary(real_op, as_real(value_), as_real(right)));
}

c10::SymNode TracedSymNode::add(const c10::SymNode& other) {
  return arithmetic(other, [](const Expr& a, const Expr& b) { return a + b; }, RealOp::kAdd);
}

c10::SymNode TracedSymNode::sub(const c10::SymNode& other) {
  return arithmetic(other, [](const Expr& a, const Expr& b) { return a - b; }, RealOp::kSub);
}

c10::SymNode TracedSymNode::mul(const c10::SymNode& other) {
  return arithmetic(other, [](const Expr& a, const Expr& b) { return a * b; }, RealOp::kMul);
}

c10::SymNode TracedSymNode::floordiv(const c10::SymNode& other) {
  return arithmetic(
      other, [](const Expr& a, const Expr& b) { return floor_div(a, b); }, RealOp::kFloorDiv);
}

c10::SymNode TracedSymNode::mod(const c10::SymNode& other) {
  return arithmetic(
      other, [](const Expr& a, const Expr& b) { return portwright::mod(a, b); }, RealOp::kMod);
}

c10::SymNode TracedSymNode::sym_min(const c10::SymNode& other) {
  return arithmetic(
      other,
      [this](const Expr& a, const Expr& b) { return symbols_->known_value(portwright::min(a, b)); },
      RealOp::kMin);
}

c10::SymNode TracedSymNode::sym_max(const c10::SymNode& other) {
  return arithmetic(
      other,
      [this](const Expr& a, const Expr& b) { return symbols_->known_value(portwright::max(a, b)); },
      RealOp::kMax);
}

c10::SymNode TracedSymNode::truediv(const c10::SymNode& other) {
  return make(Real::binary(RealOp::kTrueDiv, as_real(value_), as_real(to_symbolic(other))));
}

c10::SymNode TracedSymNode::pow(const c10::SymNode& other) {
  const SymbolicValue right = to_symbolic(other);
  const auto* exponent = std::get_if<Expr>(&right);
  if (is_int() && exponent != nullptr && exponent->is_constant() && exponent->constant() >= 0) {
    return make(portwright::pow(std::get<Expr>(value_), exponent->constant()));
  }
  return make(Real::binary(RealOp::kPow, as_real(value_), as_real(right)));
}

c10::SymNode TracedSymNode::compare(const c10::SymNode& other, Relation relation) {
  SymbolicValue right = to_symbolic(other);
  if (is_bool() && std::holds_alternative<Predicate>(right)) {
    const Predicate a = predicate();
    const Predicate b = std::get<Predicate>(right);
    const Predicate same = (a && b) || (!a && !b);
    return make(relation == Relation::kNe ? !same : same);
  }
  if (is_bool())
    return c10::make_intrusive<TracedSymNode>(decided_number(), symbols_)->compare(other, relation);
  if (is_int() && std::holds_alternative<Expr>(right)) {
    return make(Predicate::compare(symbols_->resolve(std::get<Expr>(value_)), relation,
                                   symbols_->resolve(std::get<Expr>(right))));
  }
  return make(Predicate::compare(as_real(value_), relation, as_real(right)));
}

c10::SymNode TracedSymNode::eq(const c10::SymNode& o) { return compare(o, Relation::kEq); }
c10::SymNode TracedSymNode::ne(const c10::SymNode& o) { return compare(o, Relation::kNe); }
c10::SymNode TracedSymNode::gt(const c10::SymNode& o) { return compare(o, Relation::kGt); }
c10::SymNode TracedSymNode::lt(const c10::SymNode& o) { return compare(o, Relation::kLt); }
c10::SymNode TracedSymNode::le(const c10::SymNode& o) { return compare(o, Relation::kLe); }
c10::SymNode TracedSymNode::ge(const c10::SymNode& o) { return compare(o, Relation::kGe); }

c10::SymNode TracedSymNode::sym_and(const c10::SymNode& other) {
  return make(predicate() && as_predicate(to_symbolic(other)));
}

c10::SymNode TracedSymNode::sym_or(const c10::SymNode& other) {
  return make(predicate() || as_predicate(to_symbolic(other)));
}

c10::SymNode TracedSymNode::sym_not() { return make(!predicate()); }

c10::SymNode TracedSymNode::sym_ite(const c10::SymNode& then_value,
                                    const c10::SymNode& else_value) {
  return guard_bool(nullptr, 0) ? then_value : else_value;
}

c10::SymNode TracedSymNode::neg() {
  if (is_int()) return make(-std::get<Expr>(value_));
  return make(Real::unary(RealOp::kNeg, as_real(value_)));
}

c10::SymNode TracedSymNode::round_value(Rounding rounding) {
  if (is_int()) return make(value_);
  return make(round_to_int(as_real(value_), rounding, symbols_.get()));
}

c10::SymNode TracedSymNode::unary_real(RealOp op) { return make(Real::unary(op, as_real(value_))); }

c10::SymNode TracedSymNode::sym_float() {
  return make(as_real(is_bool() ? SymbolicValue(decided_number()) : value_));
}
c10::SymNode TracedSymNode::clone() { return make(value_); }
c10::SymNode TracedSymNode::wrap_int(int64_t value) { return make(Expr(value)); }
c10::SymNode TracedSymNode::wrap_float(double value) { return make(Real(value)); }
c10::SymNode TracedSymNode::wrap_bool(bool value) { return make(Predicate(value)); }

Predicate TracedSymNode::predicate() const { return as_predicate(value_); }

std::optional<bool> TracedSymNode::known(bool assume_sizes) const {
  return symbols_->decide(predicate(), assume_sizes);
}

int64_t TracedSymNode::guard_int(const char*, int64_t) {
  if (is_bool()) return decided_number().constant();
  if (!is_int()) throw Error(ErrorCode::kInternal, "int() of a symbolic float: " + str());
  const Expr expr = symbols_->resolve(std::get<Expr>(value_));
  if (expr.is_constant()) return expr.constant();
  const int64_t value = symbols_->hint(expr);
  const Place place = current_place();
  symbols_->guard(Predicate::compare(expr, Relation::kEq, value), GuardKind::kDecision,
                  place.source, place.module_path);
  return value;
}

bool TracedSymNode::guard_bool(const char* file, int64_t) {
  const Predicate condition = predicate();
  if (auto truth = symbols_->decide(condition, from_operator(file))) return *truth;
  const Place place = current_place();
  return symbols_->guard(condition, GuardKind::kDecision, place.source, place.module_path);
}

// A bool where an int is needed is decided, as by int().
Expr TracedSymNode::decided_number() { return guard_bool(nullptr, 0) ? 1 : 0; }

double TracedSymNode::guard_float(const char*, int64_t) {
  const Real real = symbols_->resolve(as_real(value_));
  if (auto constant = real.maybe_constant()) return *constant;
  const double value = real.evaluate(symbols_->hints());
  const Place place = current_place();
  symbols_->guard(Predicate::compare(real, Relation::kEq, Real(value)), GuardKind::kDecision,
                  place.source, place.module_path);
  return value;
}

bool TracedSymNode::guard_size_oblivious(const char*, int64_t) {
  if (auto truth = known(true)) return *truth;
  return guard_bool(nullptr, 0);
}

bool TracedSymNode::guard_or_false(const char*, int64_t) { return known(true).value_or(false); }
bool TracedSymNode::guard_or_true(const char*, int64_t) { return known(true).value_or(true); }

bool TracedSymNode::statically_known_true(const char*, int64_t) {
  return known(false).value_or(false);
}

bool TracedSymNode::expect_true(const char* file, int64_t) {
  const Predicate condition = predicate();
  if (auto truth = symbols_->decide(condition, from_operator(file))) return *truth;
  const Place place = current_place();
  return symbols_->guard(condition, GuardKind::kRuntimeAssert, place.source, place.module_path);
}

bool TracedSymNode::is_constant() {
  if (is_int()) return constant_int().has_value();
  if (is_bool()) return constant_bool().has_value();
  return false;  // torch's Python side cannot take the value out of a SymFloat
}

std::optional<int64_t> TracedSymNode::constant_int() {
  if (!is_int()) return std::nullopt;
  return symbols_->resolve(std::get<Expr>(value_)).maybe_constant();
}

std::optional<bool> TracedSymNode::constant_bool() {
  if (!is_bool()) return std::nullopt;
  return std::get<Predicate>(value_).maybe_constant();
}

std::string TracedSymNode::str() {
  return std::visit([](const auto& value) { return to_string(value); }, value_);
}

c10::SymNode TracedSymNode::is_contiguous(c10::ArrayRef<c10::SymNode>,
                                          c10::ArrayRef<c10::SymNode>) {
  return wrap_bool(true);
}

c10::SymNode TracedSymNode::is_non_overlapping_and_dense(c10::ArrayRef<c10::SymNode>,
                                                         c10::ArrayRef<c10::SymNode>) {
  return wrap_bool(true);
}

}  // namespace portwright
