// Our SymNodeImpl: what torch.SymInt, SymFloat and SymBool hold while a model is traced.
//
// The values are the torch-free expressions of src/symbolic. Turning one into a plain Python number
// (`int(n)`, `if n > 4:`) is a decision of the model: it is taken at the hints and recorded as a
// guard with the model's source line.
#pragma once

#include <c10/core/SymBool.h>
#include <c10/core/SymFloat.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymNodeImpl.h>

#include <memory>
#include <variant>

#include "symbolic/symbol_table.h"

namespace portwright {

using SymbolicValue = std::variant<Expr, Real, Predicate>;

class TracedSymNode final : public c10::SymNodeImpl {
 public:
  TracedSymNode(SymbolicValue value, std::shared_ptr<SymbolTable> symbols)
      : value_(std::move(value)), symbols_(std::move(symbols)) {}

  const SymbolicValue& value() const { return value_; }
  const std::shared_ptr<SymbolTable>& symbols() const { return symbols_; }

  bool is_int() override { return std::holds_alternative<Expr>(value_); }
  bool is_float() override { return std::holds_alternative<Real>(value_); }
  bool is_bool() override { return std::holds_alternative<Predicate>(value_); }

  c10::SymNode add(const c10::SymNode& other) override;
  c10::SymNode sub(const c10::SymNode& other) override;
  c10::SymNode mul(const c10::SymNode& other) override;
  c10::SymNode truediv(const c10::SymNode& other) override;
  c10::SymNode pow(const c10::SymNode& other) override;
  c10::SymNode floordiv(const c10::SymNode& other) override;
  c10::SymNode mod(const c10::SymNode& other) override;
  c10::SymNode sym_min(const c10::SymNode& other) override;
  c10::SymNode sym_max(const c10::SymNode& other) override;
  c10::SymNode eq(const c10::SymNode& other) override;
  c10::SymNode ne(const c10::SymNode& other) override;
  c10::SymNode gt(const c10::SymNode& other) override;
  c10::SymNode lt(const c10::SymNode& other) override;
  c10::SymNode le(const c10::SymNode& other) override;
  c10::SymNode ge(const c10::SymNode& other) override;
  c10::SymNode sym_and(const c10::SymNode& other) override;
  c10::SymNode sym_or(const c10::SymNode& other) override;
  c10::SymNode sym_not() override;
  c10::SymNode sym_ite(const c10::SymNode& then_value, const c10::SymNode& else_value) override;
  c10::SymNode neg() override;
  c10::SymNode ceil() override { return round_value(Rounding::kCeil); }
  c10::SymNode floor() override { return round_value(Rounding::kFloor); }
  c10::SymNode sym_float() override;
  c10::SymNode clone() override;
  c10::SymNode wrap_int(int64_t value) override;
  c10::SymNode wrap_float(double value) override;
  c10::SymNode wrap_bool(bool value) override;

  // torch.SymFloat's __trunc__, __round__ and math.sqrt; torch._C._SymNode has no binding for them,
  // so Python reaches them through portwright._core.
  c10::SymNode round_value(Rounding rounding);
  c10::SymNode unary_real(RealOp op);

  int64_t guard_int(const char* file, int64_t line) override;
  bool guard_bool(const char* file, int64_t line) override;
  double guard_float(const char* file, int64_t line) override;
  bool guard_size_oblivious(const char* file, int64_t line) override;
  bool guard_or_false(const char* file, int64_t line) override;
  bool guard_or_true(const char* file, int64_t line) override;
  bool statically_known_true(const char* file, int64_t line) override;
  bool expect_true(const char* file, int64_t line) override;
  int64_t int_() override { return guard_int(nullptr, 0); }
  bool bool_() override { return guard_bool(nullptr, 0); }

  bool has_hint() override { return true; }
  bool is_constant() override;
  bool is_symbolic() override { return true; }
  std::optional<int64_t> constant_int() override;
  std::optional<bool> constant_bool() override;
  std::optional<int64_t> maybe_as_int() override { return constant_int(); }
  std::string str() override;

  // Contiguity questions arrive here only for strides that torch computed itself from our sizes,
  // which are contiguous; a traced tensor answers for its own strides.
  c10::SymNode is_contiguous(c10::ArrayRef<c10::SymNode>, c10::ArrayRef<c10::SymNode>) override;
  c10::SymNode is_non_overlapping_and_dense(c10::ArrayRef<c10::SymNode>,
                                            c10::ArrayRef<c10::SymNode>) override;

  // Truth of a condition for all sizes; of operators' rules where `assume_sizes`.
  std::optional<bool> known(bool assume_sizes) const;

 private:
  c10::SymNode make(SymbolicValue value) const;
  c10::SymNode compare(const c10::SymNode& other, Relation relation);
  Expr decided_number();
  // Integer arithmetic when both are ints, else `op` on floats.
  template <typename IntegerOp>
  c10::SymNode arithmetic(const c10::SymNode& other, IntegerOp integer_op, RealOp real_op);
  Predicate predicate() const;

  SymbolicValue value_;
  std::shared_ptr<SymbolTable> symbols_;
};

// Whether this thread's Python code decides conditions like operators do, for which 0 and 1 are
// like any size: for code whose branches are ways to one result. Returns what was set before.
bool set_read_as_operator(bool on);
bool reads_as_operator();

// The expression behind a torch symbolic (or plain) number. A SymNode of another tracer that is not
// constant is Error(kInternal).
Expr to_expr(const c10::SymInt& value);
Real to_real(const c10::SymFloat& value);
Predicate to_predicate(const c10::SymBool& value);
SymbolicValue to_symbolic(const c10::SymNode& node);

c10::SymInt to_sym_int(const Expr& expr, const std::shared_ptr<SymbolTable>& symbols);
c10::SymBool to_sym_bool(const Predicate& predicate, const std::shared_ptr<SymbolTable>& symbols);

}  // namespace portwright
