// Symbolic sizes at run time: each symbol is read off the shape of an input, once; polynomials
// become small integer arithmetic on tensors of one element.
#include "onnx/emitter.h"

#include <algorithm>

#include "ir/dim_source.h"

namespace portwright {
namespace {

const char* rounding_op(Rounding rounding) {
  switch (rounding) {
    case Rounding::kCeil: return "Ceil";
    case Rounding::kHalfEven: return "Round";
    default: return "Floor";
  }
}

}  // namespace

// A symbol whose binding node went as dead code is still a size of what was computed.
std::optional<std::string> Emitter::dim_of_lowered(SymbolId symbol) {
  const Expr wanted = program_.symbols->symbol(symbol);
  for (size_t i = scopes_.size(); i-- > 0;) {
    const Scope& scope = scopes_[i];
    for (ValueId id = 0; id < scope.graph->values.size(); ++id) {
      const auto lowered = scope.values.find(id);
      if (lowered == scope.values.end()) continue;
      const std::vector<Expr>& shape = scope.graph->type(id).shape;
      const auto found = std::find(shape.begin(), shape.end(), wanted);
      if (found == shape.end()) continue;
      const int64_t axis = found - shape.begin();
      return op("Shape", {lowered->second}, {{"start", axis}, {"end", axis + 1}});
    }
  }
  return std::nullopt;
}

std::string Emitter::symbol_dim(SymbolId symbol) {
  if (const std::string* found = known(&Scope::data_symbols, symbol)) return *found;
  const auto source = find_source(program_, symbol);
  if (!source) {
    if (auto dim = dim_of_lowered(symbol)) return *dim;
    throw Error(ErrorCode::kUnsupported,
                "the size '" + program_.symbols->info(symbol).name +
                    "' is used but is no dim of an input, so ONNX cannot compute it");
  }
  std::string dim = op("Shape", {scopes_.front().values.at(source->input)},
                       {{"start", source->axis}, {"end", source->axis + 1}});
  if (source->offset != 0) dim = op("Sub", {dim, ints({source->offset})});
  if (source->factor != 1) dim = op("Div", {dim, ints({source->factor})});
  return dim;
}

std::string Emitter::atom_dim(const Atom& atom) {
  switch (atom.kind) {
    case AtomKind::kSymbol: return symbol_dim(atom.symbol);
    case AtomKind::kMin: return op("Min", {dim(atom.a), dim(atom.b)});
    case AtomKind::kMax: return op("Max", {dim(atom.a), dim(atom.b)});
    case AtomKind::kMod: return op("Mod", {dim(atom.a), dim(atom.b)});
    case AtomKind::kFloorDiv: {
      const Interval a = program_.symbols->range(atom.a);
      const Interval b = program_.symbols->range(atom.b);
      if (a.lo >= 0 && b.lo >= 0) return op("Div", {dim(atom.a), dim(atom.b)});
      // ONNX truncates: floor(a / b) = (a - mod(a, b)) / b, exactly.
      const std::string remainder = op("Mod", {dim(atom.a), dim(atom.b)});
      return op("Div", {op("Sub", {dim(atom.a), remainder}), dim(atom.b)});
    }
    case AtomKind::kFromReal: {
      std::string real = real_value(*atom.real);
      if (atom.rounding != Rounding::kTrunc) {
        real = op(rounding_op(atom.rounding), {real});  // a cast truncates by itself
      }
      return unsqueeze(op("Cast", {real}, {{"to", onnx_dtype(DType::kInt64)}}), {0});
    }
  }
  throw Error(ErrorCode::kInternal, "unknown atom");
}

std::string Emitter::term_dim(const Term& term) {
  std::string product;
  for (const Atom* atom : term.factors) {
    const std::string factor = dim(Expr(atom->node));
    product = product.empty() ? factor : op("Mul", {product, factor});
  }
  if (product.empty()) return ints({term.coefficient});
  return term.coefficient == 1 ? product : op("Mul", {product, ints({term.coefficient})});
}

std::string Emitter::dim(const Expr& given) {
  const Expr expr = program_.symbols->resolve(given);
  if (expr.is_constant()) return ints({expr.constant()});
  if (const std::string* found = known(&Scope::dims, expr)) return *found;
  // Sizes belong to the graph, not to the module that happens to ask first.
  const std::string prefix = prefix_;
  prefix_ = "/sizes";
  const auto& terms = expr.node()->terms;
  std::string result;
  if (terms.size() == 1 && terms[0].coefficient == 1 && terms[0].factors.size() == 1) {
    result = atom_dim(*terms[0].factors[0]);
  } else {
    for (const Term& term : terms) {
      const std::string part = term_dim(term);
      result = result.empty() ? part : op("Add", {result, part});
    }
  }
  prefix_ = prefix;
  scopes_.back().dims.emplace(expr, result);
  return result;
}

void Emitter::bind_symbol(SymbolId symbol, std::string dim) {
  scopes_.back().data_symbols[symbol] = std::move(dim);
}

std::string Emitter::scalar_int(const Expr& expr) {
  if (expr.is_constant()) return tensor(Argument(expr), DType::kInt64);
  return squeeze(dim(expr), {0});
}

std::string Emitter::shape(std::span<const Expr> exprs) {
  std::vector<std::string> parts;
  std::vector<int64_t> run;
  auto end_run = [&] {
    if (!run.empty()) parts.push_back(ints(run));
    run.clear();
  };
  for (const Expr& given : exprs) {
    const Expr expr = program_.symbols->resolve(given);
    if (expr.is_constant()) {
      run.push_back(expr.constant());
    } else {
      end_run();
      parts.push_back(dim(expr));
    }
  }
  if (parts.empty()) return ints(run);
  end_run();
  if (parts.size() == 1) return parts[0];
  std::string key;
  for (const std::string& part : parts) key += part + "|";
  if (const std::string* found = known(&Scope::shapes, key)) return *found;
  return scopes_.back().shapes[key] = op("Concat", parts, {{"axis", int64_t{0}}});
}

std::string Emitter::reshape(const std::string& value, std::span<const Expr> from,
                             std::span<const Expr> to) {
  std::vector<int64_t> target;
  int64_t open = 0;
  bool has_zero = false;
  for (size_t i = 0; i < to.size(); ++i) {
    const Expr size = program_.symbols->resolve(to[i]);
    if (size.is_constant()) {
      has_zero = has_zero || size.constant() == 0;
      target.push_back(size.constant());
    } else if (i < from.size() && program_.symbols->resolve(from[i]) == size) {
      target.push_back(0);  // "as in the operand"
    } else {
      target.push_back(-1);
      ++open;
    }
  }
  if (open <= 1 && !has_zero) return op("Reshape", {value, ints(target)});
  const std::string result = op("Reshape", {value, shape(to)}, {{"allowzero", int64_t{1}}});
  computed_shapes_.insert(result);
  return result;
}

// A symbolic float in double precision, 0-D.
std::string Emitter::real_value(const Real& real) {
  auto integer = [this](const Expr& expr) {
    return cast(scalar_int(expr), DType::kInt64, DType::kFloat64);
  };
  if (auto constant = real.maybe_constant()) return scalar(*constant, DType::kFloat64);
  if (real.op() == RealOp::kRatio) {
    std::string numerator = integer(real.numerator());
    if (real.denominator().is_constant(1)) return numerator;
    return op("Div", {numerator, integer(real.denominator())});
  }
  std::vector<std::string> operands;
  for (const Real& operand : real.operands()) operands.push_back(real_value(operand));
  switch (real.op()) {
    case RealOp::kAdd: return op("Add", operands);
    case RealOp::kSub: return op("Sub", operands);
    case RealOp::kMul: return op("Mul", operands);
    case RealOp::kTrueDiv: return op("Div", operands);
    case RealOp::kFloorDiv: return op("Floor", {op("Div", operands)});
    case RealOp::kPow: return op("Pow", operands);
    case RealOp::kMin: return op("Min", operands);
    case RealOp::kMax: return op("Max", operands);
    case RealOp::kNeg: return op("Neg", operands);
    case RealOp::kSqrt: return op("Sqrt", operands);
    case RealOp::kLog: return op("Log", operands);
    case RealOp::kExp: return op("Exp", operands);
    case RealOp::kFloor: return op("Floor", operands);
    case RealOp::kCeil: return op("Ceil", operands);
    default: break;
  }
  throw Error(ErrorCode::kUnsupported, "ONNX cannot compute the size " + to_string(real));
}

std::string Emitter::scalar_real(const Real& real, DType dtype) {
  return cast(real_value(real), DType::kFloat64, dtype);
}

std::string Emitter::condition(const Predicate& predicate) {
  if (const auto constant = predicate.maybe_constant())
    return scalar(*constant ? 1 : 0, DType::kBool);
  std::vector<std::string> operands;
  for (const Predicate& operand : predicate.operands()) operands.push_back(condition(operand));
  switch (predicate.kind()) {
    case Predicate::Kind::kAnd: return op("And", operands);
    case Predicate::Kind::kOr: return op("Or", operands);
    case Predicate::Kind::kNot: return op("Not", operands);
    case Predicate::Kind::kInteger:
      operands = {scalar_int(predicate.expr()), scalar_int(Expr(0))};
      break;
    default: operands = {real_value(predicate.left()), real_value(predicate.right())}; break;
  }
  switch (predicate.relation()) {
    case Relation::kEq: return op("Equal", operands);
    case Relation::kNe: return op("Not", {op("Equal", operands)});
    case Relation::kLt: return op("Less", operands);
    case Relation::kLe: return op("LessOrEqual", operands);
    case Relation::kGt: return op("Greater", operands);
    case Relation::kGe: break;
  }
  return op("GreaterOrEqual", operands);
}

}  // namespace portwright
