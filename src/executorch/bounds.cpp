#include "executorch/bounds.h"

#include <algorithm>
#include <utility>

namespace portwright {
namespace {

constexpr size_t kMostCorners = 6;

}  // namespace

Bounds::Bounds(const SymbolTable& symbols, std::vector<int64_t> upper)
    : symbols_(symbols), upper_(std::move(upper)) {}

Interval Bounds::range(const Expr& expr) const {
  if (expr.is_constant()) return Interval::point(expr.constant());
  Interval sum = Interval::point(0);
  for (const Term& term : expr.node()->terms) {
    Interval product = Interval::point(term.coefficient);
    for (const Atom* atom : term.factors) product = product * range(*atom);
    sum = sum + product;
  }
  return intersect(sum, symbols_.range(expr));
}

// Numbers from data that nothing is known of count as sizes do: where one is negative after all, a
// tensor's capacity is too small and the runtime refuses.
Interval Bounds::symbol_range(SymbolId id) const {
  Interval range = intersect(symbols_.info(id).range, {-Interval::kInfinity, upper_.at(id)});
  if (range.lo <= -Interval::kInfinity) range.lo = 0;
  return range;
}

// Sizes that would divide by zero are none that the program runs at.
Interval Bounds::divisor(const Expr& expr) const {
  Interval found = range(expr);
  if (found.lo == 0) found.lo = 1;
  return found;
}

Interval Bounds::range(const Atom& atom) const {
  switch (atom.kind) {
    case AtomKind::kSymbol: return symbol_range(atom.symbol);
    case AtomKind::kFloorDiv: return floor_div(range(atom.a), divisor(atom.b));
    case AtomKind::kMod: return mod(range(atom.a), divisor(atom.b));
    case AtomKind::kMin: return min(range(atom.a), range(atom.b));
    case AtomKind::kMax: return max(range(atom.a), range(atom.b));
    case AtomKind::kFromReal: return rounded(atom);
  }
  throw Error(ErrorCode::kInternal, "an atom of an unknown kind");
}

// What is rounded from floats is taken to be largest and smallest at corners of its symbols'
// ranges: models round quotients, roots and products of sizes. Where that is wrong, a tensor's
// capacity is too small and the runtime refuses the size.
Interval Bounds::rounded(const Atom& atom) const {
  std::vector<SymbolId> ids;
  atom.real->for_each_symbol([&](SymbolId id) { ids.push_back(id); });
  if (ids.size() > kMostCorners) return symbols_.range(Expr(atom.node));
  Interval found{Interval::kInfinity, -Interval::kInfinity};
  std::vector<int64_t> values(symbols_.hints().begin(), symbols_.hints().end());
  for (size_t corner = 0; corner < (size_t{1} << ids.size()); ++corner) {
    for (size_t i = 0; i < ids.size(); ++i) {
      const Interval range = intersect(symbols_.info(ids[i]).range, {1, upper_.at(ids[i])});
      values[ids[i]] = (corner >> i & 1) != 0 ? range.hi : range.lo;
    }
    const int64_t value = evaluate(Expr(atom.node), values);
    found = {std::min(found.lo, value), std::max(found.hi, value)};
  }
  return found;
}

int64_t Bounds::upper(const Expr& expr) const {
  const Interval found = range(expr);
  if (found.hi < Interval::kInfinity) return std::max<int64_t>(found.hi, 0);
  throw Error(ErrorCode::kUnsupported,
              "the size " + to_string(expr) + " has no upper bound, for which memory is planned");
}

std::vector<int64_t> Bounds::upper(const std::vector<Expr>& shape) const {
  std::vector<int64_t> sizes;
  sizes.reserve(shape.size());
  for (const Expr& size : shape) sizes.push_back(upper(size));
  return sizes;
}

}  // namespace portwright
