// Values of expressions, and expressions with symbols replaced.
#include <set>

#include "base/error.h"
#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

int64_t evaluate_atom(const Atom& atom, std::span<const int64_t> values);

double rounded(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::kFloor: return __builtin_floor(value);
    case Rounding::kCeil: return __builtin_ceil(value);
    case Rounding::kTrunc: return __builtin_trunc(value);
    case Rounding::kHalfEven: return __builtin_nearbyint(value);
  }
  return value;
}

int64_t to_integer(double value) {
  if (!(value > -9.2e18 && value < 9.2e18)) {
    throw Error(ErrorCode::kOverflow,
                "a size of " + std::to_string(value) + " is no 64-bit integer");
  }
  return static_cast<int64_t>(value);
}

int64_t evaluate_atom(const Atom& atom, std::span<const int64_t> values) {
  if (atom.kind == AtomKind::kSymbol) {
    if (atom.symbol >= values.size()) {
      throw Error(ErrorCode::kInternal, "no value for symbol " + std::to_string(atom.symbol));
    }
    return values[atom.symbol];
  }
  if (atom.kind == AtomKind::kFromReal) {
    return to_integer(rounded(atom.real->evaluate(values), atom.rounding));
  }
  const int64_t a = evaluate(atom.a, values);
  const int64_t b = evaluate(atom.b, values);
  switch (atom.kind) {
    case AtomKind::kMin: return std::min(a, b);
    case AtomKind::kMax: return std::max(a, b);
    default: break;
  }
  if (b == 0) throw_division_by_zero(atom.a);
  if (b == -1) {
    if (atom.kind == AtomKind::kMod) return 0;
    if (a == INT64_MIN) throw_overflow(atom.a, "//", atom.b);
    return -a;
  }
  return atom.kind == AtomKind::kFloorDiv ? floor_quotient(a, b) : floor_remainder(a, b);
}

void collect(const Expr& expr, std::set<SymbolId>& symbols) {
  if (expr.is_constant()) return;
  for (const Term& term : expr.node()->terms) {
    for (const Atom* atom : term.factors) {
      if (atom->kind == AtomKind::kSymbol) {
        symbols.insert(atom->symbol);
      } else if (atom->kind == AtomKind::kFromReal) {
        atom->real->for_each_symbol([&](SymbolId id) { symbols.insert(id); });
      } else {
        collect(atom->a, symbols);
        collect(atom->b, symbols);
      }
    }
  }
}

Expr substitute_atom(const Atom& atom,
                     const std::function<std::optional<Expr>(SymbolId)>& replacement) {
  switch (atom.kind) {
    case AtomKind::kSymbol: return replacement(atom.symbol).value_or(Expr(atom.node));
    case AtomKind::kFloorDiv:
      return floor_div(substitute(atom.a, replacement), substitute(atom.b, replacement));
    case AtomKind::kMod:
      return mod(substitute(atom.a, replacement), substitute(atom.b, replacement));
    case AtomKind::kMin:
      return min(substitute(atom.a, replacement), substitute(atom.b, replacement));
    case AtomKind::kMax:
      return max(substitute(atom.a, replacement), substitute(atom.b, replacement));
    case AtomKind::kFromReal: break;
  }
  return round_to_int(atom.real->substitute(replacement), atom.rounding, atom.node->table);
}

}  // namespace

int64_t evaluate(const Expr& expr, std::span<const int64_t> values) {
  if (expr.is_constant()) return expr.constant();
  int64_t sum = 0;
  for (const Term& term : expr.node()->terms) {
    int64_t product = term.coefficient;
    for (const Atom* atom : term.factors) {
      if (__builtin_mul_overflow(product, evaluate_atom(*atom, values), &product)) {
        throw Error(ErrorCode::kOverflow, to_string(expr) + " leaves the 64-bit range");
      }
    }
    if (__builtin_add_overflow(sum, product, &sum)) {
      throw Error(ErrorCode::kOverflow, to_string(expr) + " leaves the 64-bit range");
    }
  }
  return sum;
}

void for_each_symbol(const Expr& expr, const std::function<void(SymbolId)>& visit) {
  std::set<SymbolId> symbols;
  collect(expr, symbols);
  for (SymbolId id : symbols) visit(id);
}

bool depends_on(const Expr& expr, SymbolId symbol) {
  if (expr.is_constant() || (expr.node()->symbol_mask >> (symbol % 64) & 1) == 0) return false;
  std::set<SymbolId> symbols;
  collect(expr, symbols);
  return symbols.contains(symbol);
}

Expr substitute(const Expr& expr, const std::function<std::optional<Expr>(SymbolId)>& replacement) {
  if (expr.is_constant()) return expr;
  Expr sum = 0;
  for (const Term& term : expr.node()->terms) {
    Expr product = term.coefficient;
    for (const Atom* atom : term.factors) product = product * substitute_atom(*atom, replacement);
    sum = sum + product;
  }
  return sum;
}

}  // namespace portwright
