// Numbers of a method: constants once each, symbolic ones by the runtime's prim operators.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "executorch/emitter.h"
#include "ir/dim_source.h"

namespace portwright {
namespace {

PteOperator operator_named(const std::string& name) {
  const size_t dot = name.rfind('.');
  return {name.substr(0, dot), name.substr(dot + 1)};
}

std::string prim_name(const std::string& name) { return "executorch_prim::" + name + ".Scalar"; }

const char* rounding_prim(Rounding rounding) {
  switch (rounding) {
    case Rounding::kCeil: return "ceil";
    case Rounding::kTrunc: return "trunc";
    case Rounding::kHalfEven: return "round";
    case Rounding::kFloor: break;
  }
  return nullptr;
}

}  // namespace

PteId PteEmitter::integer(int64_t value) {
  const auto [entry, added] = integers_.try_emplace(value, kNoPteValue);
  if (added) entry->second = add(value);
  return entry->second;
}

PteId PteEmitter::boolean(bool value) {
  const auto [entry, added] = booleans_.try_emplace(value, kNoPteValue);
  if (added) entry->second = add(value);
  return entry->second;
}

PteId PteEmitter::floating(double value) {
  const auto [entry, added] = doubles_.try_emplace(std::bit_cast<uint64_t>(value), kNoPteValue);
  if (added) entry->second = add(value);
  return entry->second;
}

PteId PteEmitter::text(const std::string& value) {
  const auto [entry, added] = texts_.try_emplace(value, kNoPteValue);
  if (added) entry->second = add(value);
  return entry->second;
}

PteId PteEmitter::none() {
  if (none_ == kNoPteValue) none_ = add(None{});
  return none_;
}

PteId PteEmitter::int_list(const IntList& list) {
  std::vector<PteId> items;
  for (const Expr& item : list) items.push_back(number(item));
  if (const auto found = known(&Scope::int_lists, items)) return *found;
  return scopes_.back().int_lists[items] = add(PteIntList{items});
}

PteId PteEmitter::prim(const std::string& name, std::vector<PteId> args, PteValue result) {
  const PteId made = add(std::move(result));
  args.push_back(made);
  call(operator_named(name), std::move(args));
  return made;
}

PteId PteEmitter::number(const Expr& given) {
  const Expr expr = program_.symbols->resolve(given);
  if (expr.is_constant()) return integer(expr.constant());
  if (const auto found = known(&Scope::numbers, expr)) return *found;
  PteId sum = kNoPteValue;
  int64_t constant = 0;
  for (const Term& part : expr.node()->terms) {
    if (part.factors.empty()) {
      constant = part.coefficient;
      continue;
    }
    const PteId value = term(part);
    sum = sum == kNoPteValue ? value : prim(prim_name("add"), {sum, value}, int64_t{0});
  }
  if (constant != 0) sum = prim(prim_name("add"), {sum, integer(constant)}, int64_t{0});
  return scopes_.back().numbers[expr] = sum;
}

PteId PteEmitter::term(const Term& part) {
  PteId value = kNoPteValue;
  for (const Atom* factor : part.factors) {
    const PteId next = atom(*factor);
    value = value == kNoPteValue ? next : prim(prim_name("mul"), {value, next}, int64_t{0});
  }
  if (part.coefficient == 1) return value;
  return prim(prim_name("mul"), {value, integer(part.coefficient)}, int64_t{0});
}

// The runtime's remainder has the sign of the dividend, as C++'s.
PteId PteEmitter::modulo(const Expr& a, const Expr& b) {
  const SymbolTable& symbols = *program_.symbols;
  if (symbols.range(a).lo >= 0 && symbols.range(b).lo >= 0)
    return prim(prim_name("mod"), {number(a), number(b)}, int64_t{0});
  const PteId quotient = prim(prim_name("floordiv"), {number(a), number(b)}, int64_t{0});
  const PteId whole = prim(prim_name("mul"), {quotient, number(b)}, int64_t{0});
  return prim(prim_name("sub"), {number(a), whole}, int64_t{0});
}

PteId PteEmitter::atom(const Atom& atom) {
  if (atom.kind == AtomKind::kSymbol) return symbol(atom.symbol);
  const Expr self(atom.node);
  if (const auto found = known(&Scope::numbers, self)) return *found;
  const auto binary = [&](const char* name) {
    return prim(prim_name(name), {number(atom.a), number(atom.b)}, int64_t{0});
  };
  PteId value = kNoPteValue;
  switch (atom.kind) {
    case AtomKind::kFloorDiv: value = binary("floordiv"); break;
    case AtomKind::kMod: value = modulo(atom.a, atom.b); break;
    case AtomKind::kMin: value = binary("sym_min"); break;
    case AtomKind::kMax: value = binary("sym_max"); break;
    case AtomKind::kFromReal: {
      const PteId fraction = real(*atom.real);
      if (const char* name = rounding_prim(atom.rounding)) {
        value = prim(prim_name(name), {fraction}, int64_t{0});
      } else {  // floor(x) is -ceil(-x)
        const PteId negative = prim(prim_name("neg"), {fraction}, 0.0);
        value =
            prim(prim_name("neg"), {prim(prim_name("ceil"), {negative}, int64_t{0})}, int64_t{0});
      }
      break;
    }
    case AtomKind::kSymbol: break;
  }
  return scopes_.back().numbers[self] = value;
}

PteId PteEmitter::size_of(PteId tensor, int64_t axis) {
  return prim("aten::sym_size.int", {tensor, integer(axis)}, int64_t{0});
}

// A symbol whose binding node went as dead code is still a size of what was computed.
std::optional<PteId> PteEmitter::size_of_computed(SymbolId id) {
  const Expr wanted = program_.symbols->symbol(id);
  for (size_t i = scopes_.size(); i-- > 0;) {
    for (const auto& [value, emitted] : scopes_[i].values) {
      const std::vector<Expr>& shape = scopes_[i].graph->type(value).shape;
      const auto found = std::find(shape.begin(), shape.end(), wanted);
      if (found != shape.end()) return size_of(emitted, found - shape.begin());
    }
  }
  return std::nullopt;
}

PteId PteEmitter::symbol(SymbolId id) {
  if (const auto found = known(&Scope::symbols, id)) return *found;
  auto& symbols = scopes_.back().symbols;
  if (const auto source = find_source(program_, id)) {
    PteId value = size_of(scopes_.front().values.at(source->input), source->axis);
    if (source->offset != 0)
      value = prim(prim_name("sub"), {value, integer(source->offset)}, int64_t{0});
    if (source->factor != 1)
      value = prim(prim_name("floordiv"), {value, integer(source->factor)}, int64_t{0});
    return symbols[id] = value;
  }
  if (const auto value = size_of_computed(id)) return symbols[id] = *value;
  throw Error(ErrorCode::kUnsupported, "the size '" + program_.symbols->info(id).name +
                                           "' is used but is no dim of an input, so the program "
                                           "cannot compute it");
}

PteId PteEmitter::real(const Real& value) {
  if (const auto constant = value.maybe_constant()) return floating(*constant);
  const std::span<const Real> operands = value.operands();
  const auto binary = [&](const char* name) {
    return prim(prim_name(name), {real(operands[0]), real(operands[1])}, 0.0);
  };
  switch (value.op()) {
    case RealOp::kRatio:
      return prim(prim_name("truediv"), {number(value.numerator()), number(value.denominator())},
                  0.0);
    case RealOp::kAdd: return binary("add");
    case RealOp::kSub: return binary("sub");
    case RealOp::kMul: return binary("mul");
    case RealOp::kTrueDiv: return binary("truediv");
    case RealOp::kFloorDiv: return binary("floordiv");
    case RealOp::kNeg: return prim(prim_name("neg"), {real(operands[0])}, 0.0);
    default: return real_by_kernel(value);
  }
}

// What the runtime has for tensors only: numbers as tensors of no dims, and back.
PteId PteEmitter::real_by_kernel(const Real& value) {
  static constexpr std::array<std::pair<RealOp, const char*>, 9> kKernels = {{
      {RealOp::kSqrt, "aten::sqrt.out"},
      {RealOp::kLog, "aten::log.out"},
      {RealOp::kExp, "aten::exp.out"},
      {RealOp::kFloor, "aten::floor.out"},
      {RealOp::kCeil, "aten::ceil.out"},
      {RealOp::kTrunc, "aten::trunc.out"},
      {RealOp::kPow, "aten::pow.Tensor_Tensor_out"},
      {RealOp::kMin, "aten::minimum.out"},
      {RealOp::kMax, "aten::maximum.out"},
  }};
  for (const auto& [op, kernel] : kKernels) {
    if (op != value.op()) continue;
    std::vector<PteId> args;
    const TensorType type{DType::kFloat64, {}, {}};
    for (const Real& operand : value.operands()) {
      const PteId tensor = add(described(type));
      call({"aten::scalar_tensor", "out"}, {real(operand), tensor, tensor});
      args.push_back(tensor);
    }
    const PteId result = add(described(type));
    args.insert(args.end(), {result, result});
    call(operator_named(kernel), std::move(args));
    return prim("aten::_local_scalar_dense.", {result}, 0.0);
  }
  throw Error(ErrorCode::kUnsupported,
              "ExecuTorch has no operator on numbers for " + to_string(value));
}

PteId PteEmitter::condition(const Predicate& predicate) {
  if (const auto constant = predicate.maybe_constant()) return boolean(*constant);
  if (predicate.kind() == Predicate::Kind::kNot)
    return prim(prim_name("sym_not"), {condition(predicate.operands()[0])}, false);
  if (predicate.kind() == Predicate::Kind::kInteger) {
    const PteId value = number(predicate.expr());
    switch (predicate.relation()) {
      case Relation::kGe: return prim(prim_name("ge"), {value, integer(0)}, false);
      case Relation::kEq: return prim(prim_name("eq"), {value, integer(0)}, false);
      case Relation::kNe:
        return prim(prim_name("sym_not"), {prim(prim_name("eq"), {value, integer(0)}, false)},
                    false);
      default: break;
    }
  }
  throw Error(ErrorCode::kUnsupported,
              "ExecuTorch has no operator on numbers for " + to_string(predicate));
}

}  // namespace portwright
