// Minimum and maximum: flattened, sorted, without operands that ranges decide.
#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "symbolic/expr.h"
#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

using Operation = SymbolTable::Operation;

// Whether a is never on the losing side of b.
bool wins(const Expr& a, const Expr& b, bool want_min, const SymbolTable& table) {
  return want_min ? table.range_of_difference(b, a).lo >= 0
                  : table.range_of_difference(a, b).lo >= 0;
}

// The operands of nested atoms of this kind, in order: min(a, min(b, c) + 1) has a, b + 1, c + 1.
// False when a constant leaves 64 bits.
bool flatten(const Expr& expr, AtomKind kind, int64_t offset, std::vector<Expr>* operands) {
  const std::optional<Expr> moved = try_combine(expr, 1, offset);
  if (!moved) return false;
  const Expr bare = moved->is_constant() ? *moved : without_constant(*moved);
  const bool single = !bare.is_constant() && bare.node()->terms.size() == 1 &&
                      bare.node()->terms[0].coefficient == 1 &&
                      bare.node()->terms[0].factors.size() == 1;
  const Atom* atom = single ? bare.node()->terms[0].factors[0] : nullptr;
  if (atom == nullptr || atom->kind != kind) {
    operands->push_back(*moved);
    return true;
  }
  const int64_t constant = constant_term(*moved);
  return flatten(atom->a, kind, constant, operands) && flatten(atom->b, kind, constant, operands);
}

void drop_losers(std::vector<Expr>* operands, bool want_min, const SymbolTable& table) {
  std::vector<Expr> kept;
  for (const Expr& candidate : *operands) {
    const auto beats = [&](const Expr& other) { return wins(other, candidate, want_min, table); };
    if (std::any_of(kept.begin(), kept.end(), beats)) continue;
    std::erase_if(kept, [&](const Expr& other) { return wins(candidate, other, want_min, table); });
    kept.push_back(candidate);
  }
  *operands = std::move(kept);
}

// Makes the constant term of the first operand that is no constant zero by moving it out of all
// operands: max(s - 1, 0) becomes max(s, 1) - 1. Returns what was moved out.
int64_t shift_out_constant(std::vector<Expr>* operands) {
  std::vector<Expr> shifted;
  int64_t shift = 0;
  const Expr* pivot = nullptr;
  for (const Expr& operand : *operands) {
    if (operand.is_constant()) continue;
    if (pivot == nullptr ||
        compare_exprs(without_constant(operand), without_constant(*pivot)) < 0) {
      pivot = &operand;
    }
  }
  if (pivot != nullptr) shift = constant_term(*pivot);
  if (shift == 0 || shift == std::numeric_limits<int64_t>::min()) return 0;
  for (const Expr& operand : *operands) {
    std::optional<Expr> moved = try_combine(operand, -1, shift);
    if (!moved) return 0;
    shifted.push_back(*std::move(moved));
  }
  *operands = std::move(shifted);
  return shift;
}

Expr extremum_nodes(const Expr& a, const Expr& b, AtomKind kind) {
  const bool want_min = kind == AtomKind::kMin;
  SymbolTable* table = common_table(a, b);
  if (wins(a, b, want_min, *table)) return a;
  if (wins(b, a, want_min, *table)) return b;
  std::vector<Expr> operands;
  if (!flatten(a, kind, 0, &operands) || !flatten(b, kind, 0, &operands)) operands = {a, b};
  drop_losers(&operands, want_min, *table);
  const int64_t shift = operands.size() > 1 ? shift_out_constant(&operands) : 0;
  std::sort(operands.begin(), operands.end(),
            [](const Expr& x, const Expr& y) { return compare_exprs(x, y) < 0; });
  Expr result = operands.back();
  for (size_t i = operands.size() - 1; i-- > 0;) {
    result = Expr(table->intern_atom(kind, operands[i], result)->node);
  }
  return result + shift;
}

Expr extremum(const Expr& a, const Expr& b, AtomKind kind) {
  const bool want_min = kind == AtomKind::kMin;
  if (a == b) return a;
  if (a.is_constant() && b.is_constant()) return (a.constant() < b.constant()) == want_min ? a : b;
  // The ends of the 64-bit range bound everything: s[1:] ends at min(s, 2**63 - 1).
  const int64_t neutral =
      want_min ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
  if (a.is_constant(neutral)) return b;
  if (b.is_constant(neutral)) return a;
  const Operation operation = want_min ? Operation::kMin : Operation::kMax;
  return common_table(a, b)->remember(operation, a, b, [&] { return extremum_nodes(a, b, kind); });
}

}  // namespace

Expr min(const Expr& a, const Expr& b) { return extremum(a, b, AtomKind::kMin); }
Expr max(const Expr& a, const Expr& b) { return extremum(a, b, AtomKind::kMax); }

}  // namespace portwright
