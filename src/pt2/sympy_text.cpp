#include "pt2/sympy_text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace portwright {
namespace {

std::string call(std::string_view function, const std::string& a, const std::string& b) {
  return std::string(function) + "(" + a + ", " + b + ")";
}

std::string symbol_text(const SymbolTable& symbols, SymbolId id) {
  if (symbols.info(id).is_float) return "Symbol('" + torch_symbol(symbols, id) + "')";
  const char* assumptions =
      symbols.info(id).unbacked ? "', integer=True)" : "', positive=True, integer=True)";
  return "Symbol('" + torch_symbol(symbols, id) + assumptions;
}

const char* rounding_function(Rounding rounding) {
  static constexpr std::array kNames = {"FloorToInt", "CeilToInt", "TruncToInt", "RoundToInt"};
  return kNames.at(static_cast<size_t>(rounding));
}

std::string mod_text(const Atom& atom, const SymbolTable& symbols) {
  // torch's Mod is for operands that are known not to be negative.
  const bool plain = symbols.range(atom.a).lo >= 0 && symbols.range(atom.b).lo >= 1;
  return call(plain ? "Mod" : "PythonMod", to_sympy(atom.a, symbols), to_sympy(atom.b, symbols));
}

std::string atom_text(const Atom& atom, const SymbolTable& symbols) {
  switch (atom.kind) {
    case AtomKind::kSymbol: return symbol_text(symbols, atom.symbol);
    case AtomKind::kFloorDiv:
      return call("FloorDiv", to_sympy(atom.a, symbols), to_sympy(atom.b, symbols));
    case AtomKind::kMod: return mod_text(atom, symbols);
    case AtomKind::kMin: return call("Min", to_sympy(atom.a, symbols), to_sympy(atom.b, symbols));
    case AtomKind::kMax: return call("Max", to_sympy(atom.a, symbols), to_sympy(atom.b, symbols));
    case AtomKind::kFromReal: break;
  }
  return std::string(rounding_function(atom.rounding)) + "(" + to_sympy(*atom.real, symbols) + ")";
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-oo" : "oo";
  std::array<char, 40> buffer{};
  const char* end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  const auto length = static_cast<size_t>(end - buffer.data());
  return "Float('" + std::string(buffer.data(), length) + "', precision=53)";
}

struct RealFunction {
  RealOp op;
  const char* name;
};
constexpr std::array kRealFunctions = {
    RealFunction{RealOp::kTrueDiv, "FloatTrueDiv"},
    RealFunction{RealOp::kPow, "FloatPow"},
    RealFunction{RealOp::kMin, "Min"},
    RealFunction{RealOp::kMax, "Max"},
    RealFunction{RealOp::kSqrt, "sqrt"},
    RealFunction{RealOp::kLog, "log"},
    RealFunction{RealOp::kExp, "exp"},
    RealFunction{RealOp::kTrunc, "TruncToFloat"},
    RealFunction{RealOp::kMod, "PythonMod"},
    RealFunction{RealOp::kFloor, "floor"},
    RealFunction{RealOp::kCeil, "ceiling"},
    RealFunction{RealOp::kFloorDiv, "FloorDiv"},
};

const char* relation_function(Relation relation) {
  static constexpr std::array kNames = {"Eq", "Ne", "Lt", "Le", "Gt", "Ge"};
  return kNames.at(static_cast<size_t>(relation));
}

}  // namespace

std::string torch_symbol(const SymbolTable& symbols, SymbolId id) {
  const SymbolInfo& info = symbols.info(id);
  return (info.is_float ? "zuf" : info.unbacked ? "u" : "s") + std::to_string(id);
}

std::string to_sympy(const Expr& expr, const SymbolTable& symbols) {
  if (expr.is_constant()) return std::to_string(expr.constant());
  std::string text;
  for (const Term& term : expr.node()->terms) {
    std::string product;
    for (const Atom* atom : term.factors) {
      product += (product.empty() ? "" : "*") + atom_text(*atom, symbols);
    }
    if (product.empty() || term.coefficient != 1) {
      if (!product.empty()) product.insert(0, "*");
      product.insert(0, std::to_string(term.coefficient));
    }
    text += (text.empty() ? "" : " + ") + product;
  }
  return text;
}

std::string to_sympy(const Real& real, const SymbolTable& symbols) {
  if (const auto value = real.maybe_constant()) return float_text(*value);
  if (real.op() == RealOp::kRatio) {
    const std::string numerator = to_sympy(real.numerator(), symbols);
    if (real.denominator().is_constant(1)) return "ToFloat(" + numerator + ")";
    return call("IntTrueDiv", numerator, to_sympy(real.denominator(), symbols));
  }
  if (real.op() == RealOp::kFromData) return to_sympy(real.numerator(), symbols);
  const auto operands = real.operands();
  const std::string first = to_sympy(operands[0], symbols);
  if (operands.size() == 1) {
    if (real.op() == RealOp::kNeg) return "-(" + first + ")";
    for (const RealFunction& entry : kRealFunctions) {
      if (entry.op == real.op()) return std::string(entry.name) + "(" + first + ")";
    }
  }
  const std::string second = to_sympy(operands[1], symbols);
  switch (real.op()) {
    case RealOp::kAdd: return "(" + first + ") + (" + second + ")";
    case RealOp::kSub: return "(" + first + ") - (" + second + ")";
    case RealOp::kMul: return "(" + first + ")*(" + second + ")";
    default: break;
  }
  for (const RealFunction& entry : kRealFunctions) {
    if (entry.op == real.op()) return call(entry.name, first, second);
  }
  throw Error(ErrorCode::kInternal, "a float operation without sympy text: " + to_string(real));
}

std::string to_sympy(const Predicate& predicate, const SymbolTable& symbols) {
  switch (predicate.kind()) {
    case Predicate::Kind::kConstant: return *predicate.maybe_constant() ? "true" : "false";
    case Predicate::Kind::kInteger:
      return call(relation_function(predicate.relation()), to_sympy(predicate.expr(), symbols),
                  "0");
    case Predicate::Kind::kReal:
      return call(relation_function(predicate.relation()), to_sympy(predicate.left(), symbols),
                  to_sympy(predicate.right(), symbols));
    case Predicate::Kind::kNot: return "Not(" + to_sympy(predicate.operands()[0], symbols) + ")";
    case Predicate::Kind::kAnd:
    case Predicate::Kind::kOr: {
      const char* function = predicate.kind() == Predicate::Kind::kAnd ? "And" : "Or";
      return call(function, to_sympy(predicate.operands()[0], symbols),
                  to_sympy(predicate.operands()[1], symbols));
    }
  }
  return "";
}

}  // namespace portwright
