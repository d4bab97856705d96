#include "executorch/bounds.h"

#include <algorithm>
#include <utility>

#include "executorch/box_range.h"

namespace portwright {
namespace {

// What one guard says may make more of another.
constexpr int kRounds = 2;

// Numbers from data that nothing is known of count as sizes do: where one is negative after all, a
// tensor's capacity is too small and the runtime refuses.
std::vector<Interval> box_of(const SymbolTable& symbols, const std::vector<int64_t>& upper) {
  std::vector<Interval> box;
  for (SymbolId id = 0; id < symbols.size(); ++id) {
    Interval range = intersect(symbols.info(id).range, {-Interval::kInfinity, upper.at(id)});
    if (range.lo <= -Interval::kInfinity) range.lo = 0;
    box.push_back(range);
  }
  return box;
}

void learn(const Predicate& predicate, BoxRange& ranges) {
  if (predicate.kind() == Predicate::Kind::kAnd) {
    for (const Predicate& operand : predicate.operands()) learn(operand, ranges);
  }
  if (predicate.kind() != Predicate::Kind::kInteger || predicate.relation() == Relation::kNe)
    return;
  ranges.learn_nonnegative(predicate.expr());
  if (predicate.relation() == Relation::kEq) ranges.learn_nonnegative(-predicate.expr());
}

}  // namespace

Bounds::Bounds(const SymbolTable& symbols, std::vector<int64_t> upper)
    : upper_(std::move(upper)),
      ranges_(std::make_shared<BoxRange>(symbols, box_of(symbols, upper_))) {
  for (int round = 0; round < kRounds; ++round) {
    for (const Guard& guard : symbols.guards()) learn(symbols.resolve(guard.predicate), *ranges_);
  }
}

Interval Bounds::range(const Expr& expr) const { return ranges_->range(expr); }

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
