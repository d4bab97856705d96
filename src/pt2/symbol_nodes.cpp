#include "pt2/symbol_nodes.h"

#include <array>
#include <string_view>

#include "ir/data_symbols.h"
#include "pt2/sympy_text.h"

namespace portwright {
namespace {

// The last part of "_operator.add" or "torch.sym_max" names the node.
std::string base_name(const std::string& target) { return target.substr(target.rfind('.') + 1); }

Json expression(const std::string& text, Json hint) {
  return {{"as_expr", {{"expr_str", text}, {"hint", std::move(hint)}}}};
}

const char* relation_target(Relation relation) {
  static constexpr std::array kTargets = {"_operator.eq", "_operator.ne", "_operator.lt",
                                          "_operator.le", "_operator.gt", "_operator.ge"};
  return kTargets.at(static_cast<size_t>(relation));
}

struct RealTarget {
  RealOp op;
  const char* target;
};
constexpr std::array kRealTargets = {
    RealTarget{RealOp::kAdd, "_operator.add"},
    RealTarget{RealOp::kSub, "_operator.sub"},
    RealTarget{RealOp::kMul, "_operator.mul"},
    RealTarget{RealOp::kTrueDiv, "_operator.truediv"},
    RealTarget{RealOp::kMod, "_operator.mod"},
    RealTarget{RealOp::kFloorDiv, "_operator.floordiv"},
    RealTarget{RealOp::kPow, "_operator.pow"},
    RealTarget{RealOp::kMin, "torch.sym_min"},
    RealTarget{RealOp::kMax, "torch.sym_max"},
    RealTarget{RealOp::kNeg, "_operator.neg"},
    RealTarget{RealOp::kSqrt, "torch.sym_sqrt"},
};

}  // namespace

void SymbolNodes::add_source(const std::string& tensor, size_t dim, const Expr& size) {
  if (size.is_constant()) return;
  Source source{tensor, dim, 0, 0};
  SymbolId id = 0;
  for (const Term& term : size.node()->terms) {
    if (term.factors.empty()) {
      source.offset = term.coefficient;
    } else if (source.factor == 0 && term.factors.size() == 1 &&
               term.factors[0]->kind == AtomKind::kSymbol) {
      source.factor = term.coefficient;
      id = term.factors[0]->symbol;
    } else {
      return;
    }
  }
  const bool plain = source.factor == 1 && source.offset == 0;
  if (plain) {
    sources_[id] = source;
  } else {
    sources_.try_emplace(id, source);
  }
}

void SymbolNodes::bind(SymbolId id, const std::string& name) {
  const std::string text = to_sympy(const_cast<SymbolTable&>(symbols_).symbol(id), symbols_);
  const bool is_float = symbols_.info(id).is_float;
  (is_float ? graph_.sym_float_values : graph_.sym_int_values)[name] = expression(text, nullptr);
  bound_[id] = {{{is_float ? "as_sym_float" : "as_sym_int", {{"as_name", name}}}}, text, nullptr};
}

void SymbolNodes::bind_size(SymbolId id, const std::string& tensor, size_t dim) {
  const std::string text = to_sympy(const_cast<SymbolTable&>(symbols_).symbol(id), symbols_);
  bound_[id] = size_node(tensor, dim, text, nullptr);
}

Json SymbolNodes::int_hint(const Expr& expr) const {
  bool from_data = false;
  for_each_symbol(expr, [&](SymbolId id) { from_data = from_data || symbols_.info(id).unbacked; });
  if (from_data) return nullptr;
  return {{"as_int", evaluate(expr, hints_)}};
}

Json SymbolNodes::sym_int(const Expr& expr) const {
  if (expr.is_constant()) return {{"as_int", expr.constant()}};
  const auto [found, added] = sizes_.try_emplace(expr);
  if (added) found->second = expression(to_sympy(expr, symbols_), int_hint(expr));
  return found->second;
}

SymbolNodes::Operand SymbolNodes::node(Kind kind, const std::string& target,
                                       const std::vector<Operand>& operands, std::string text,
                                       Json hint) {
  static constexpr std::array kFields = {"as_sym_int", "as_sym_float", "as_sym_bool"};
  static constexpr std::array kParameters = {"a", "b"};
  const std::string name = graph_.names.fresh(base_name(target));
  Json inputs = Json::array();
  for (size_t i = 0; i < operands.size(); ++i) {
    inputs.push_back(named_argument(kParameters.at(i), operands[i].argument));
  }
  Json argument = {{kFields.at(static_cast<size_t>(kind)), {{"as_name", name}}}};
  graph_.add_node(target, std::move(inputs), Json::array({argument}), name);
  Json& values = kind == Kind::kInt     ? graph_.sym_int_values
                 : kind == Kind::kFloat ? graph_.sym_float_values
                                        : graph_.sym_bool_values;
  values[name] = expression(text, hint);
  return {std::move(argument), std::move(text), std::move(hint)};
}

SymbolNodes::Operand SymbolNodes::size_node(const std::string& tensor, size_t dim, std::string text,
                                            Json hint) {
  const std::string name = graph_.names.fresh("sym_size_int");
  Json argument = {{"as_sym_int", {{"as_name", name}}}};
  graph_.add_node("torch.ops.aten.sym_size.int",
                  Json::array({named_argument("self", {{"as_tensor", {{"name", tensor}}}}),
                               named_argument("dim", {{"as_int", dim}})}),
                  Json::array({argument}), name);
  graph_.sym_int_values[name] = expression(text, hint);
  return {std::move(argument), std::move(text), std::move(hint)};
}

SymbolNodes::Operand SymbolNodes::symbol(SymbolId id) {
  const auto bound = bound_.find(id);
  if (bound != bound_.end()) return bound->second;
  const auto found = sources_.find(id);
  if (found == sources_.end()) {
    throw Error(ErrorCode::kUnsupported,
                "the size '" + symbols_.info(id).name + "' (" + symbols_.info(id).origin +
                    ") can be read from no input, so a .pt2 file cannot hold the program");
  }
  const Source& source = found->second;
  SymbolTable& table = const_cast<SymbolTable&>(symbols_);
  const Expr size = table.symbol(id) * Expr(source.factor) + Expr(source.offset);
  Operand value = size_node(source.tensor, source.dim, to_sympy(size, symbols_), int_hint(size));
  auto with = [&](const char* target, int64_t number, const Expr& result) {
    if (number == (base_name(target) == "sub" ? 0 : 1)) return;
    const std::vector<Operand> operands = {value, {{{"as_int", number}}, "", nullptr}};
    value = node(Kind::kInt, target, operands, to_sympy(result, symbols_), int_hint(result));
  };
  with("_operator.sub", source.offset, size - Expr(source.offset));
  with("_operator.floordiv", source.factor, table.symbol(id));
  bound_[id] = value;
  return value;
}

SymbolNodes::Operand SymbolNodes::rounded(const Atom& atom) {
  // As Python rounds; torch's reader takes these functions as they are.
  static constexpr std::array kTargets = {"math.floor", "math.ceil", "math.trunc"};
  if (atom.rounding == Rounding::kHalfEven) {
    throw Error(
        ErrorCode::kUnsupported,
        "round() of a size has no counterpart in the .pt2 format: " + to_string(*atom.real));
  }
  const Expr whole(atom.node);
  return node(Kind::kInt, kTargets.at(static_cast<size_t>(atom.rounding)),
              {float_operand(*atom.real)}, to_sympy(whole, symbols_), int_hint(whole));
}

SymbolNodes::Operand SymbolNodes::atom(const Atom& atom) {
  if (atom.kind == AtomKind::kSymbol) return symbol(atom.symbol);
  if (atom.kind == AtomKind::kFromReal) return rounded(atom);
  const Expr whole(atom.node);
  const auto known = known_.find(whole);
  if (known != known_.end()) return known->second;
  static constexpr std::array kTargets = {"", "_operator.floordiv", "_operator.mod",
                                          "torch.sym_min", "torch.sym_max"};
  const std::vector<Operand> operands = {sum(atom.a), sum(atom.b)};
  Operand value = node(Kind::kInt, kTargets.at(static_cast<size_t>(atom.kind)), operands,
                       to_sympy(whole, symbols_), int_hint(whole));
  known_.emplace(whole, value);
  return value;
}

// The product of a term's factors and its coefficient.
SymbolNodes::Operand SymbolNodes::product(const Term& term) {
  Operand value = {{{"as_int", term.coefficient}},
                   std::to_string(term.coefficient),
                   {{"as_int", term.coefficient}}};
  bool first = term.coefficient == 1;
  for (const Atom* factor : term.factors) {
    Operand next = atom(*factor);
    if (first) {
      value = std::move(next);
      first = false;
      continue;
    }
    const std::string text = "(" + value.text + ")*(" + next.text + ")";
    Json hint = nullptr;
    if (!value.hint.is_null() && !next.hint.is_null()) {
      hint = {{"as_int", value.hint["as_int"].get<int64_t>() * next.hint["as_int"].get<int64_t>()}};
    }
    value = node(Kind::kInt, "_operator.mul", {next, value}, text, std::move(hint));
  }
  return value;
}

SymbolNodes::Operand SymbolNodes::sum(const Expr& expr) {
  if (expr.is_constant()) {
    return {{{"as_int", expr.constant()}},
            std::to_string(expr.constant()),
            {{"as_int", expr.constant()}}};
  }
  const auto known = known_.find(expr);
  if (known != known_.end()) return known->second;
  const std::vector<Term>& terms = expr.node()->terms;
  Operand value = product(terms.back());  // the constant term, which comes first, is added last
  for (size_t i = terms.size() - 1; i-- > 0;) {
    const Operand next = product(terms[i]);
    const std::string text = value.text + " + " + next.text;
    Json hint = nullptr;
    if (!value.hint.is_null() && !next.hint.is_null()) {
      hint = {{"as_int", value.hint["as_int"].get<int64_t>() + next.hint["as_int"].get<int64_t>()}};
    }
    value = node(Kind::kInt, "_operator.add", {value, next}, text, std::move(hint));
  }
  known_.emplace(expr, value);
  return value;
}

SymbolNodes::Operand SymbolNodes::float_operand(const Real& real) {
  const std::string text = to_sympy(real, symbols_);
  if (const auto value = real.maybe_constant())
    return {{{"as_float", float_json(*value)}}, text, nullptr};
  if (real.op() == RealOp::kFromData) return symbol(*real.numerator().symbol());
  bool from_data = false;
  real.for_each_symbol([&](SymbolId id) { from_data = from_data || symbols_.info(id).unbacked; });
  Json hint = nullptr;
  if (!from_data) hint = {{"as_float", float_json(real.evaluate(hints_))}};
  if (real.op() == RealOp::kRatio) {
    const Operand numerator = sum(real.numerator());
    if (real.denominator().is_constant(1)) {
      return node(Kind::kFloat, "torch.sym_float", {numerator}, text, std::move(hint));
    }
    return node(Kind::kFloat, "_operator.truediv", {numerator, sum(real.denominator())}, text,
                std::move(hint));
  }
  for (const RealTarget& entry : kRealTargets) {
    if (entry.op != real.op()) continue;
    std::vector<Operand> operands;
    for (const Real& operand : real.operands()) operands.push_back(float_operand(operand));
    return node(Kind::kFloat, entry.target, operands, text, std::move(hint));
  }
  throw Error(
      ErrorCode::kUnsupported,
      "a size is computed by floats in a way that .pt2 files do not hold: " + to_string(real));
}

SymbolNodes::Operand SymbolNodes::comparison(const Predicate& predicate) {
  // Comparisons are there to be asserted. Of an equality on data torch is told that it holds: it
  // would solve it for a symbol, and then miss that symbol where it is bound.
  const bool solvable = predicate.relation() == Relation::kEq && about_data(predicate, symbols_);
  const std::string text = solvable ? "true" : to_sympy(predicate, symbols_);
  const char* target = relation_target(predicate.relation());
  if (predicate.kind() == Predicate::Kind::kReal) {
    return node(Kind::kBool, target,
                {float_operand(predicate.left()), float_operand(predicate.right())}, text);
  }
  // The constant, which is the first term, goes to the right: size >= 2, not size - 2 >= 0.
  const Expr& expr = predicate.expr();
  const Term& first = expr.node()->terms.front();
  const int64_t constant = first.factors.empty() ? first.coefficient : 0;
  return node(Kind::kBool, target, {sum(expr - Expr(constant)), sum(-constant)}, text);
}

SymbolNodes::Operand SymbolNodes::bool_operand(const Predicate& predicate) {
  switch (predicate.kind()) {
    case Predicate::Kind::kConstant:
      return {{{"as_bool", *predicate.maybe_constant()}}, to_sympy(predicate, symbols_), nullptr};
    case Predicate::Kind::kInteger:
    case Predicate::Kind::kReal: return comparison(predicate);
    case Predicate::Kind::kNot:
      return node(Kind::kBool, "torch.sym_not", {bool_operand(predicate.operands()[0])},
                  to_sympy(predicate, symbols_));
    case Predicate::Kind::kAnd:
    case Predicate::Kind::kOr: break;
  }
  const bool both = predicate.kind() == Predicate::Kind::kAnd;
  return node(Kind::kBool, both ? "_operator.and_" : "_operator.or_",
              {bool_operand(predicate.operands()[0]), bool_operand(predicate.operands()[1])},
              to_sympy(predicate, symbols_));
}

}  // namespace portwright
