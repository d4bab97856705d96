#include "pt2/sympy_functions.h"

#include <limits>
#include <map>

namespace portwright {
namespace {

constexpr int64_t kMaxExponent = 16;
constexpr int64_t kMaxShift = 62;

using Result = std::optional<Number>;
using Function = Result (*)(const Numbers& operands, SymbolTable& table);

std::optional<Real> as_real(const Number& number) {
  if (const auto* real = std::get_if<Real>(&number)) return *real;
  if (const auto* expr = std::get_if<Expr>(&number)) return Real::ratio(*expr);
  return std::nullopt;
}

const Expr* whole(const Number& number) { return std::get_if<Expr>(&number); }

// A constant integer in [0, most].
std::optional<int64_t> small_constant(const Number& number, int64_t most) {
  const Expr* expr = whole(number);
  const auto value = expr == nullptr ? std::nullopt : expr->maybe_constant();
  if (!value || *value < 0 || *value > most) return std::nullopt;
  return value;
}

Result on_floats(RealOp op, const Number& a, const Number& b) {
  const auto x = as_real(a);
  const auto y = as_real(b);
  if (!x || !y) return std::nullopt;
  return Real::binary(op, *x, *y);
}

using WholeFunction = Expr (*)(const Expr&, const Expr&);
Expr add(const Expr& a, const Expr& b) { return a + b; }
Expr subtract(const Expr& a, const Expr& b) { return a - b; }
Expr multiply(const Expr& a, const Expr& b) { return a * b; }

// Exact on two integers, else on floats; of one operand and more.
template <WholeFunction kWhole, RealOp kReal>
Result fold(const Numbers& operands, SymbolTable&) {
  Result total = operands[0];
  for (size_t i = 1; i < operands.size() && total; ++i) {
    const Expr* a = whole(*total);
    const Expr* b = whole(operands[i]);
    total = a != nullptr && b != nullptr ? Result(kWhole(*a, *b))
                                         : on_floats(kReal, *total, operands[i]);
  }
  return total;
}

template <WholeFunction kWhole>
Result of_whole(const Numbers& operands, SymbolTable&) {
  const Expr* a = whole(operands[0]);
  const Expr* b = whole(operands[1]);
  if (a == nullptr || b == nullptr) return std::nullopt;
  return kWhole(*a, *b);
}

template <RealOp kReal>
Result of_floats(const Numbers& operands, SymbolTable&) {
  if (operands.size() == 2) return on_floats(kReal, operands[0], operands[1]);
  const auto x = as_real(operands[0]);
  if (!x) return std::nullopt;
  return Real::unary(kReal, *x);
}

template <Rounding kRounding>
Result rounded(const Numbers& operands, SymbolTable& table) {
  if (whole(operands[0]) != nullptr) return operands[0];
  const auto x = as_real(operands[0]);
  if (!x) return std::nullopt;
  return round_to_int(*x, kRounding, &table);
}

Result divided(const Numbers& operands, SymbolTable&) {
  const Expr* a = whole(operands[0]);
  const Expr* b = whole(operands[1]);
  if (a != nullptr && b != nullptr) return Real::ratio(*a, *b);
  return on_floats(RealOp::kTrueDiv, operands[0], operands[1]);
}

Result power(const Numbers& operands, SymbolTable&) {
  const Expr* base = whole(operands[0]);
  if (base == nullptr || whole(operands[1]) == nullptr) {
    return on_floats(RealOp::kPow, operands[0], operands[1]);
  }
  const auto exponent = small_constant(operands[1], kMaxExponent);
  if (!exponent) return std::nullopt;
  return pow(*base, *exponent);
}

Result negated(const Numbers& operands, SymbolTable&) {
  if (const Expr* expr = whole(operands[0])) return -*expr;
  const auto x = as_real(operands[0]);
  if (!x) return std::nullopt;
  return Real::unary(RealOp::kNeg, *x);
}

Result absolute(const Numbers& operands, SymbolTable& table) {
  const Result opposite = negated(operands, table);
  if (!opposite) return std::nullopt;
  return fold<&max, RealOp::kMax>({operands[0], *opposite}, table);
}

// ModularIndexing(x, divisor, modulus).
Result modular_indexing(const Numbers& operands, SymbolTable& table) {
  const Result quotient = of_whole<&floor_div>({operands[0], operands[1]}, table);
  if (!quotient) return std::nullopt;
  return of_whole<&mod>({*quotient, operands[2]}, table);
}

Result shifted_left(const Numbers& operands, SymbolTable&) {
  const auto places = small_constant(operands[1], kMaxShift);
  if (whole(operands[0]) == nullptr || !places) return std::nullopt;
  return *whole(operands[0]) * Expr(int64_t{1} << *places);
}

Result shifted_right(const Numbers& operands, SymbolTable&) {
  const auto places = small_constant(operands[1], kMaxShift);
  if (whole(operands[0]) == nullptr || !places) return std::nullopt;
  return floor_div(*whole(operands[0]), Expr(int64_t{1} << *places));
}

Result to_float(const Numbers& operands, SymbolTable&) {
  const auto x = as_real(operands[0]);
  if (!x) return std::nullopt;
  return *x;
}

Result same(const Numbers& operands, SymbolTable&) { return operands[0]; }

template <Relation kRelation>
Result compared(const Numbers& operands, SymbolTable&) {
  const Expr* a = whole(operands[0]);
  const Expr* b = whole(operands[1]);
  if (a != nullptr && b != nullptr) return Predicate::compare(*a, kRelation, *b);
  const auto x = as_real(operands[0]);
  const auto y = as_real(operands[1]);
  if (!x || !y) return std::nullopt;
  return Predicate::compare(*x, kRelation, *y);
}

template <bool kAll>
Result joined(const Numbers& operands, SymbolTable&) {
  const auto* a = std::get_if<Predicate>(&operands[0]);
  const auto* b = std::get_if<Predicate>(&operands[1]);
  if (a == nullptr || b == nullptr) return std::nullopt;
  return kAll ? *a && *b : *a || *b;
}

Result inverted(const Numbers& operands, SymbolTable&) {
  const auto* condition = std::get_if<Predicate>(&operands[0]);
  if (condition == nullptr) return std::nullopt;
  return !*condition;
}

// 1 where the condition holds, else 0.
std::optional<Expr> indicator(const Predicate& condition) {
  if (const auto constant = condition.maybe_constant()) return Expr(*constant ? 1 : 0);
  if (condition.kind() == Predicate::Kind::kInteger) {
    const Expr& expr = condition.expr();
    if (condition.relation() == Relation::kGe) return min(1, max(0, expr + 1));
    const Expr differs = min(1, max(expr, -expr));
    return condition.relation() == Relation::kNe ? differs : 1 - differs;
  }
  if (condition.kind() == Predicate::Kind::kReal) return std::nullopt;
  std::vector<Expr> parts;
  for (const Predicate& operand : condition.operands()) {
    const auto part = indicator(operand);
    if (!part) return std::nullopt;
    parts.push_back(*part);
  }
  if (condition.kind() == Predicate::Kind::kNot) return 1 - parts[0];
  if (condition.kind() == Predicate::Kind::kAnd) return parts[0] * parts[1];
  return 1 - (1 - parts[0]) * (1 - parts[1]);
}

// Where(condition, then, otherwise).
Result chosen(const Numbers& operands, SymbolTable&) {
  const auto* condition = std::get_if<Predicate>(&operands[0]);
  if (condition == nullptr) return std::nullopt;
  if (const auto constant = condition->maybe_constant()) return operands[*constant ? 1 : 2];
  const auto* yes = std::get_if<Predicate>(&operands[1]);
  const auto* no = std::get_if<Predicate>(&operands[2]);
  if (yes != nullptr && no != nullptr) return (*condition && *yes) || (!*condition && *no);
  const auto share = indicator(*condition);
  const Expr* a = whole(operands[1]);
  const Expr* b = whole(operands[2]);
  if (!share || a == nullptr || b == nullptr) return std::nullopt;
  return *b + *share * (*a - *b);
}

struct Row {
  size_t least, most;  // operands
  Function function;
};
constexpr size_t kAny = std::numeric_limits<size_t>::max();

// torch/utils/_sympy: functions.py has what srepr writes, printers.py how guards are written. Not
// here, and refused: bitwise functions, Piecewise of srepr, trigonometry, and log2, RoundDecimal.
const std::map<std::string_view, Row>& functions() {
  static const std::map<std::string_view, Row> kTable = {
      {"Add", {1, kAny, &fold<&add, RealOp::kAdd>}},
      {"+", {2, 2, &fold<&add, RealOp::kAdd>}},
      {"-", {2, 2, &fold<&subtract, RealOp::kSub>}},
      {"Mul", {1, kAny, &fold<&multiply, RealOp::kMul>}},
      {"*", {2, 2, &fold<&multiply, RealOp::kMul>}},
      {"Min", {1, kAny, &fold<&min, RealOp::kMin>}},
      {"min", {1, kAny, &fold<&min, RealOp::kMin>}},
      {"Max", {1, kAny, &fold<&max, RealOp::kMax>}},
      {"max", {1, kAny, &fold<&max, RealOp::kMax>}},
      {"negative", {1, 1, &negated}},
      {"Abs", {1, 1, &absolute}},
      {"abs", {1, 1, &absolute}},
      {"FloorDiv", {2, 2, &fold<&floor_div, RealOp::kFloorDiv>}},
      {"CleanDiv", {2, 2, &fold<&floor_div, RealOp::kFloorDiv>}},
      {"//", {2, 2, &fold<&floor_div, RealOp::kFloorDiv>}},
      {"CeilDiv", {2, 2, &of_whole<&ceil_div>}},
      {"Mod", {2, 2, &fold<&mod, RealOp::kMod>}},
      {"PythonMod", {2, 2, &fold<&mod, RealOp::kMod>}},
      {"%", {2, 2, &fold<&mod, RealOp::kMod>}},
      {"ModularIndexing", {3, 3, &modular_indexing}},
      {"LShift", {2, 2, &shifted_left}},
      {"RShift", {2, 2, &shifted_right}},
      {"IntTrueDiv", {2, 2, &divided}},
      {"FloatTrueDiv", {2, 2, &divided}},
      {"Rational", {2, 2, &divided}},
      {"/", {2, 2, &divided}},
      {"Pow", {2, 2, &power}},
      {"PowByNatural", {2, 2, &power}},
      {"FloatPow", {2, 2, &of_floats<RealOp::kPow>}},
      {"**", {2, 2, &power}},
      {"FloorToInt", {1, 1, &rounded<Rounding::kFloor>}},
      {"math.floor", {1, 1, &rounded<Rounding::kFloor>}},
      {"CeilToInt", {1, 1, &rounded<Rounding::kCeil>}},
      {"math.ceil", {1, 1, &rounded<Rounding::kCeil>}},
      {"TruncToInt", {1, 1, &rounded<Rounding::kTrunc>}},
      {"math.trunc", {1, 1, &rounded<Rounding::kTrunc>}},
      {"RoundToInt", {1, 1, &rounded<Rounding::kHalfEven>}},
      {"round", {1, 1, &rounded<Rounding::kHalfEven>}},
      {"TruncToFloat", {1, 1, &of_floats<RealOp::kTrunc>}},
      {"ToFloat", {1, 1, &to_float}},
      {"torch.sym_float", {1, 1, &to_float}},
      {"OpaqueUnaryFn_sqrt", {1, 1, &of_floats<RealOp::kSqrt>}},
      {"torch._sym_sqrt", {1, 1, &of_floats<RealOp::kSqrt>}},
      {"OpaqueUnaryFn_exp", {1, 1, &of_floats<RealOp::kExp>}},
      {"OpaqueUnaryFn_log", {1, 1, &of_floats<RealOp::kLog>}},
      {"Identity", {1, 1, &same}},
      {"Where", {3, 3, &chosen}},
      {"==", {2, 2, &compared<Relation::kEq>}},
      {"!=", {2, 2, &compared<Relation::kNe>}},
      {"<", {2, 2, &compared<Relation::kLt>}},
      {"<=", {2, 2, &compared<Relation::kLe>}},
      {">", {2, 2, &compared<Relation::kGt>}},
      {">=", {2, 2, &compared<Relation::kGe>}},
      {"Equality", {2, 2, &compared<Relation::kEq>}},
      {"Unequality", {2, 2, &compared<Relation::kNe>}},
      {"StrictLessThan", {2, 2, &compared<Relation::kLt>}},
      {"LessThan", {2, 2, &compared<Relation::kLe>}},
      {"StrictGreaterThan", {2, 2, &compared<Relation::kGt>}},
      {"GreaterThan", {2, 2, &compared<Relation::kGe>}},
      {"and", {2, 2, &joined<true>}},
      {"or", {2, 2, &joined<false>}},
      {"not", {1, 1, &inverted}},
  };
  return kTable;
}

}  // namespace

std::optional<Number> apply_function(std::string_view name, const Numbers& operands,
                                     SymbolTable& table) {
  const auto found = functions().find(name);
  if (found == functions().end()) return std::nullopt;
  const Row& row = found->second;
  if (operands.size() < row.least || operands.size() > row.most) return std::nullopt;
  return row.function(operands, table);
}

std::optional<Number> find_constant(std::string_view word) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  static const std::map<std::string_view, Number> kConstants = {{"True", Predicate(true)},
                                                                {"False", Predicate(false)},
                                                                {"inf", Real(kInfinity)},
                                                                {"math.inf", Real(kInfinity)}};
  const auto found = kConstants.find(word);
  if (found == kConstants.end()) return std::nullopt;
  return found->second;
}

}  // namespace portwright
