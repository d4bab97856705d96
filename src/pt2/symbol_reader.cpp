#include "pt2/symbol_reader.h"

#include "ir/strides.h"
#include "pt2/format.h"
#include "pt2/sympy_functions.h"
#include "pt2/sympy_reader.h"
#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

constexpr std::string_view kFloatPrefix = "zuf";  // of a symbol that holds a float of data

// Targets of nodes, by what sympy_functions.cpp calls them: _SYM_OPS of torch's serialize.py.
const std::map<std::string_view, std::string_view> kFunctions = {
    {"_operator.add", "+"},         {"_operator.sub", "-"},
    {"_operator.mul", "*"},         {"_operator.floordiv", "//"},
    {"_operator.mod", "%"},         {"_operator.truediv", "/"},
    {"_operator.pow", "**"},        {"_operator.neg", "negative"},
    {"_operator.pos", "Identity"},  {"_operator.lshift", "LShift"},
    {"_operator.rshift", "RShift"}, {"_operator.eq", "=="},
    {"_operator.ne", "!="},         {"_operator.lt", "<"},
    {"_operator.le", "<="},         {"_operator.gt", ">"},
    {"_operator.ge", ">="},         {"_operator.and_", "and"},
    {"_operator.or_", "or"},        {"torch.sym_not", "not"},
    {"torch.sym_min", "min"},       {"torch.sym_max", "max"},
    {"torch.sym_float", "ToFloat"}, {"torch.sym_int", "math.trunc"},
    {"torch.sym_ite", "Where"},     {"torch.sym_sqrt", "torch._sym_sqrt"},
    {"math.floor", "math.floor"},   {"math.ceil", "math.ceil"},
    {"math.trunc", "math.trunc"},   {"round", "round"},
};

Number number_of(const NamedValue& value) {
  return std::visit(
      [](const auto& item) -> Number {
        if constexpr (std::is_same_v<std::decay_t<decltype(item)>, ValueId>) {
          corrupt("arithmetic on a tensor");
        } else {
          return item;
        }
      },
      value);
}

}  // namespace

NamedValue SymbolReader::apply(const std::string& target, const std::vector<NamedValue>& operands,
                               SymbolTable& symbols) {
  Numbers numbers;
  for (const NamedValue& operand : operands) numbers.push_back(number_of(operand));
  const auto function = kFunctions.find(target);
  const auto result = function == kFunctions.end()
                          ? std::nullopt
                          : apply_function(function->second, numbers, symbols);
  if (!result) {
    throw Error(ErrorCode::kUnsupported,
                "'" + target + "' on these sizes in a .pt2 file is not supported");
  }
  return std::visit([](const auto& item) -> NamedValue { return item; }, *result);
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
  info.is_float = name.starts_with(kFloatPrefix);
  info.unbacked = name.starts_with('u') || info.is_float;
  info.is_size = !info.is_float;
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
                    [this](const std::string& name) { return number(name); });
}

std::optional<Number> SymbolReader::unknown(const Json& sym) {
  const auto [field, value] = union_of(sym);
  if (field != "as_expr") return std::nullopt;
  return read_sympy_number(value.at("expr_str").get<std::string>(), *program_.symbols,
                           [this](const std::string& name) { return number(name); });
}

Number SymbolReader::number(const std::string& name) {
  const Expr expr = symbol(name);
  if (name.starts_with(kFloatPrefix)) return Real::from_data(expr);
  return expr;
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
