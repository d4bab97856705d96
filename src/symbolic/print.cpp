// Text of expressions, floats and conditions; parse.cpp reads it back.
#include <array>
#include <charconv>
#include <cmath>

#include "symbolic/expr_impl.h"
#include "symbolic/real_ops.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

const char* atom_function(const Atom& atom) {
  switch (atom.kind) {
    case AtomKind::kFloorDiv: return "floordiv";
    case AtomKind::kMod: return "mod";
    case AtomKind::kMin: return "min";
    case AtomKind::kMax: return "max";
    default: break;
  }
  switch (atom.rounding) {
    case Rounding::kFloor: return "floor";
    case Rounding::kCeil: return "ceil";
    case Rounding::kTrunc: return "trunc";
    case Rounding::kHalfEven: return "round";
  }
  return "";
}

std::string atom_text(const Atom& atom) {
  if (atom.kind == AtomKind::kSymbol) return atom.node->table->info(atom.symbol).name;
  const std::string function = atom_function(atom);
  if (atom.kind == AtomKind::kFromReal) return function + "(" + to_string(*atom.real) + ")";
  return function + "(" + to_string(atom.a) + ", " + to_string(atom.b) + ")";
}

std::string product_text(const Factors& factors) {
  std::string text;
  for (const Atom* atom : factors) text += (text.empty() ? "" : "*") + atom_text(*atom);
  return text;
}

std::string magnitude(int64_t value) {
  const std::string text = std::to_string(value);
  return value < 0 ? text.substr(1) : text;
}

// Largest terms first, the constant last, as one writes a polynomial.
std::string sum_text(const Terms& terms) {
  std::string text;
  for (size_t i = terms.size(); i-- > 0;) {
    const Term& term = terms[i];
    if (text.empty()) {
      if (term.coefficient < 0) text += '-';
    } else {
      text += term.coefficient < 0 ? " - " : " + ";
    }
    const std::string size = magnitude(term.coefficient);
    if (term.factors.empty()) {
      text += size;
    } else {
      text += (size == "1" ? "" : size + "*") + product_text(term.factors);
    }
  }
  return text.empty() ? "0" : text;
}

const char* relation_text(Relation relation) {
  static constexpr std::array kTexts = {"==", "!=", "<", "<=", ">", ">="};
  return kTexts[static_cast<size_t>(relation)];
}

// Terms with positive coefficients to the left of the relation, the others to the right.
std::string two_sided(const Expr& expr, Relation relation) {
  Terms left, right;
  int64_t constant = 0;
  for (const Term& term : expr.node()->terms) {
    if (term.factors.empty()) {
      constant = term.coefficient;
    } else if (term.coefficient > 0) {
      left.push_back(term);
    } else {
      right.push_back({-term.coefficient, term.factors});
    }
  }
  auto with_constant = [](Terms terms, int64_t value) {
    if (value != 0) terms.insert(terms.begin(), {value, {}});
    return sum_text(terms);
  };
  // seq <= 512 rather than 512 >= seq.
  if (left.empty()) {
    const Relation flipped = relation == Relation::kGe ? Relation::kLe : relation;
    return sum_text(right) + " " + relation_text(flipped) + " " + std::to_string(constant);
  }
  if (right.empty()) {
    return sum_text(left) + " " + relation_text(relation) + " " + std::to_string(-constant);
  }
  if (constant > 0)
    return with_constant(left, constant) + " " + relation_text(relation) + " " + sum_text(right);
  return sum_text(left) + " " + relation_text(relation) + " " + with_constant(right, -constant);
}

}  // namespace

std::string to_string(const Expr& expr) {
  return expr.is_constant() ? std::to_string(expr.constant()) : sum_text(expr.node()->terms);
}

std::string to_string(const Real& real) {
  if (real.op() == RealOp::kConstant) {
    const double value = *real.maybe_constant();
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
    std::array<char, 40> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
    return {buffer.data(), end};
  }
  if (real.op() == RealOp::kRatio) {
    return "ratio(" + to_string(real.numerator()) + ", " + to_string(real.denominator()) + ")";
  }
  if (real.op() == RealOp::kFromData) return "data(" + to_string(real.numerator()) + ")";
  std::string text;
  for (const Real& operand : real.operands())
    text += (text.empty() ? "" : ", ") + to_string(operand);
  return std::string(real_op_name(real.op())) + "(" + text + ")";
}

std::string to_string(const Predicate& predicate) {
  switch (predicate.kind()) {
    case Predicate::Kind::kConstant: return *predicate.maybe_constant() ? "True" : "False";
    case Predicate::Kind::kInteger: return two_sided(predicate.expr(), predicate.relation());
    case Predicate::Kind::kReal:
      return "real(" + to_string(predicate.left()) + ") " + relation_text(predicate.relation()) +
             " real(" + to_string(predicate.right()) + ")";
    case Predicate::Kind::kNot: return "not (" + to_string(predicate.operands()[0]) + ")";
    case Predicate::Kind::kAnd:
    case Predicate::Kind::kOr: {
      const char* word = predicate.kind() == Predicate::Kind::kAnd ? ") and (" : ") or (";
      return "(" + to_string(predicate.operands()[0]) + word + to_string(predicate.operands()[1]) +
             ")";
    }
  }
  return "";
}

}  // namespace portwright
