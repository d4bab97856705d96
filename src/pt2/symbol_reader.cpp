#include "pt2/symbol_reader.h"

#include "ir/strides.h"
#include "pt2/format.h"
#include "pt2/sympy_reader.h"
#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

Real as_real(const NamedValue& value) {
  if (const auto* real = std::get_if<Real>(&value)) return *real;
  if (const auto* expr = std::get_if<Expr>(&value)) return Real::ratio(*expr);
  corrupt("arithmetic on something that is no number");
}

struct Arithmetic {
  Expr (*whole)(const Expr&, const Expr&);
  RealOp real;
};
const std::map<std::string_view, Arithmetic> kArithmetic = {
    {"_operator.add", {[](const Expr& a, const Expr& b) { return a + b; }, RealOp::kAdd}},
    {"_operator.sub", {[](const Expr& a, const Expr& b) { return a - b; }, RealOp::kSub}},
    {"_operator.mul", {[](const Expr& a, const Expr& b) { return a * b; }, RealOp::kMul}},
    {"_operator.floordiv", {&floor_div, RealOp::kFloorDiv}},
    {"_operator.mod", {&mod, RealOp::kMod}},
    {"torch.sym_min", {&min, RealOp::kMin}},
    {"torch.sym_max", {&max, RealOp::kMax}},
};
const std::map<std::string_view, RealOp> kFloatOnly = {{"_operator.truediv", RealOp::kTrueDiv},
                                                       {"_operator.pow", RealOp::kPow}};
const std::map<std::string_view, Relation> kRelations = {
    {"_operator.eq", Relation::kEq}, {"_operator.ne", Relation::kNe},
    {"_operator.lt", Relation::kLt}, {"_operator.le", Relation::kLe},
    {"_operator.gt", Relation::kGt}, {"_operator.ge", Relation::kGe}};
const std::map<std::string_view, Rounding> kRoundings = {{"math.floor", Rounding::kFloor},
                                                         {"math.ceil", Rounding::kCeil},
                                                         {"math.trunc", Rounding::kTrunc},
                                                         {"torch.sym_int", Rounding::kTrunc}};

const Predicate& as_predicate(const NamedValue& value) {
  const auto* predicate = std::get_if<Predicate>(&value);
  if (predicate == nullptr) corrupt("logic on something that is no condition");
  return *predicate;
}

[[noreturn]] void unsupported(const std::string& target) {
  throw Error(ErrorCode::kUnsupported, "'" + target + "' on sizes in a .pt2 file is not supported");
}

NamedValue apply_unary(const std::string& target, const NamedValue& value, SymbolTable& symbols) {
  const auto* expr = std::get_if<Expr>(&value);
  if (target == "torch.sym_not") return !as_predicate(value);
  if (target == "torch.sym_float") return as_real(value);
  if (target == "torch.sym_sqrt") return Real::unary(RealOp::kSqrt, as_real(value));
  if (target == "_operator.neg") {
    if (expr != nullptr) return -*expr;
    return Real::unary(RealOp::kNeg, as_real(value));
  }
  const auto rounding = kRoundings.find(target);
  if (rounding == kRoundings.end()) unsupported(target);
  if (expr != nullptr) return *expr;
  return round_to_int(as_real(value), rounding->second, &symbols);
}

}  // namespace

NamedValue SymbolReader::apply(const std::string& target, const std::vector<NamedValue>& operands,
                               SymbolTable& symbols) {
  if (operands.size() == 1) return apply_unary(target, operands[0], symbols);
  if (operands.size() != 2) unsupported(target);
  const auto* a = std::get_if<Expr>(&operands[0]);
  const auto* b = std::get_if<Expr>(&operands[1]);
  const bool whole = a != nullptr && b != nullptr;
  if (const auto found = kArithmetic.find(target); found != kArithmetic.end()) {
    if (whole) return found->second.whole(*a, *b);
    return Real::binary(found->second.real, as_real(operands[0]), as_real(operands[1]));
  }
  if (const auto found = kRelations.find(target); found != kRelations.end()) {
    if (whole) return Predicate::compare(*a, found->second, *b);
    return Predicate::compare(as_real(operands[0]), found->second, as_real(operands[1]));
  }
  if (target == "_operator.and_") return as_predicate(operands[0]) && as_predicate(operands[1]);
  if (target == "_operator.or_") return as_predicate(operands[0]) || as_predicate(operands[1]);
  if (whole && target == "_operator.truediv") return Real::ratio(*a, *b);
  constexpr int64_t kMaxExponent = 16;
  if (whole && target == "_operator.pow" && b->is_constant() && b->constant() >= 0 &&
      b->constant() <= kMaxExponent) {
    return pow(*a, b->constant());
  }
  if (const auto found = kFloatOnly.find(target); found != kFloatOnly.end()) {
    return Real::binary(found->second, as_real(operands[0]), as_real(operands[1]));
  }
  unsupported(target);
}

void SymbolReader::read_hints(const Json& graph) {
  auto note = [&](const Json& sym_int) {
    const auto [field, value] = union_of(sym_int);
    if (field != "as_expr" || !value.contains("hint") || value.at("hint").is_null()) return;
    const std::string text = value.at("expr_str").get<std::string>();
    constexpr std::string_view kStart = "Symbol('";
    const size_t end = text.find('\'', kStart.size());
    const bool alone = text.starts_with(kStart) && text.find(')') == text.size() - 1;
    const auto [kind, hint] = union_of(value.at("hint"));
    if (!alone || end == std::string::npos || kind != "as_int") return;
    hints_.emplace(text.substr(kStart.size(), end - kStart.size()), hint.get<int64_t>());
  };
  for (const Json& meta : graph.at("tensor_values")) {
    for (const Json& size : meta.at("sizes")) note(size);
  }
}

Expr SymbolReader::symbol(const std::string& name) {
  const auto found = known_.find(name);
  if (found != known_.end()) return found->second;
  SymbolInfo info;
  info.name = name;
  info.unbacked = name.starts_with('u');
  info.origin = "the size '" + name + "' of the .pt2 file";
  const auto range = ranges_.find(name);
  if (range != ranges_.end()) {
    const Json& low = range->at("min_val");
    const Json& high = range->at("max_val");
    if (!low.is_null()) info.range.lo = low.get<int64_t>();
    if (!high.is_null()) info.range.hi = high.get<int64_t>();
  }
  // torch takes sizes to be 2 and more, and accepts all the same 0 and 1.
  if (!info.unbacked && info.range.lo <= pt2::kSmallestSize) info.range.lo = 0;
  if (info.range.empty()) corrupt("'" + name + "' has an empty range");
  const auto hint = hints_.find(name);
  info.hint = hint != hints_.end() ? hint->second : std::max<int64_t>(info.range.lo, 0);
  const Expr expr = program_.symbols->add_symbol(std::move(info));
  known_.emplace(name, expr);
  return expr;
}

Expr SymbolReader::size(const Json& sym_int) {
  const auto [field, value] = union_of(sym_int);
  if (field == "as_int") return value.get<int64_t>();
  if (field != "as_expr") corrupt("a size with the field '" + field + "'");
  return read_sympy(value.at("expr_str").get<std::string>(), *program_.symbols,
                    [this](const std::string& name) { return symbol(name); });
}

TensorType SymbolReader::type(const Json& meta) {
  TensorType type;
  const auto dtype = dtype_of_number(meta.at("dtype").get<int64_t>());
  const auto layout = meta.at("layout").get<int64_t>();
  if (!dtype || layout != number_of(kLayouts, "strided")) {
    throw Error(ErrorCode::kUnsupported, "a tensor of dtype number " + meta.at("dtype").dump() +
                                             " and layout number " + std::to_string(layout) +
                                             " in a .pt2 file is not supported");
  }
  type.dtype = *dtype;
  for (const Json& size : meta.at("sizes")) type.shape.push_back(this->size(size));
  std::vector<Expr> strides;
  for (const Json& stride : meta.at("strides")) strides.push_back(size(stride));
  if (strides.size() != type.rank()) corrupt("a tensor has more or fewer strides than sizes");
  type.strides = std::move(strides);
  return normalized(std::move(type));
}

}  // namespace portwright
