#include "executorch/box_range.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "executorch/real_range.h"

namespace portwright {
namespace {

// Into how many pieces the range of a symbol is cut: up to this many values, each is one.
constexpr int64_t kPieces = 1024;
constexpr double kUnbounded = std::numeric_limits<double>::infinity();

bool by_id(const Atom* a, const Atom* b) { return a->id < b->id; }

// The symbol of an expression that depends on no other.
std::optional<SymbolId> only_symbol(const Expr& expr) {
  if (expr.is_constant() || std::popcount(expr.node()->symbol_mask) != 1) return std::nullopt;
  std::vector<SymbolId> found;
  for_each_symbol(expr, [&](SymbolId id) { found.push_back(id); });
  return found.size() == 1 ? std::optional(found[0]) : std::nullopt;
}

std::optional<SymbolId> only_symbol(const Term& term) {
  std::optional<SymbolId> found;
  for (const Atom* factor : term.factors) {
    const auto symbol = only_symbol(Expr(factor->node));
    if (!symbol || (found && found != symbol)) return std::nullopt;
    found = symbol;
  }
  return found;
}

bool rises(const Expr& expr);

bool rises(const Atom& atom) {
  switch (atom.kind) {
    case AtomKind::kSymbol: return true;
    case AtomKind::kFloorDiv: return atom.b.is_constant() && atom.b.constant() > 0 && rises(atom.a);
    case AtomKind::kMin:
    case AtomKind::kMax: return rises(atom.a) && rises(atom.b);
    default: return false;
  }
}

bool rises(const Term& term) {
  return term.factors.empty() ||
         (term.coefficient > 0 && std::all_of(term.factors.begin(), term.factors.end(),
                                              [](const Atom* atom) { return rises(*atom); }));
}

// Whether an expression of sizes rises with each of them, so that its interval is exact.
bool rises(const Expr& expr) {
  if (expr.is_constant()) return true;
  const auto& terms = expr.node()->terms;
  return std::all_of(terms.begin(), terms.end(), [](const Term& term) { return rises(term); });
}

double to_double(int64_t end) {
  return end >= Interval::kInfinity ? kUnbounded : static_cast<double>(end);
}

int64_t floor_quotient(int64_t a, int64_t b) {  // b > 0
  return a / b - (a % b < 0 ? 1 : 0);
}

}  // namespace

BoxRange::BoxRange(const SymbolTable& symbols, std::vector<Interval> box)
    : symbols_(symbols), box_(std::move(box)) {}

Interval BoxRange::range(const Expr& expr) {
  if (expr.is_constant()) return Interval::point(expr.constant());
  if (is_plain_) return sum(expr);
  if (const auto found = found_.find(expr); found != found_.end()) return found->second;
  Interval result = intersect(sum(expr), symbols_.range(expr));
  if (!rises(expr)) result = intersect(result, by_symbols(expr));
  return found_[expr] = result;
}

Interval BoxRange::sum(const Expr& expr) {
  Interval total = Interval::point(0);
  for (const Term& term : expr.node()->terms) total = total + product(term);
  return total;
}

Interval BoxRange::product(const Term& term) {
  return Interval::point(term.coefficient) * product(term.factors);
}

Interval BoxRange::product(const Factors& factors) {
  Interval result = Interval::point(1);
  for (const Atom* factor : factors) result = result * range(*factor);
  for (const KnownProduct& known : known_) {
    if (!std::includes(factors.begin(), factors.end(), known.factors.begin(), known.factors.end(),
                       by_id))
      continue;
    Interval with_known = known.range;
    Factors rest;
    std::set_difference(factors.begin(), factors.end(), known.factors.begin(), known.factors.end(),
                        std::back_inserter(rest), by_id);
    for (const Atom* factor : rest) with_known = with_known * range(*factor);
    const Interval both = intersect(result, with_known);
    if (both.empty()) return is_impossible_ = true, result;
    result = both;
  }
  return result;
}

Interval BoxRange::range(const Atom& atom) {
  if (atom.kind == AtomKind::kSymbol) return box_.at(atom.symbol);
  if (is_plain_) return compound(atom);
  if (const auto found = found_atoms_.find(&atom); found != found_atoms_.end())
    return found->second;
  Interval result = compound(atom);
  const auto symbol = rises(atom) ? std::nullopt : only_symbol(Expr(atom.node));
  if (symbol) result = intersect(result, over_pieces(*symbol, [&] { return compound(atom); }));
  return found_atoms_[&atom] = result;
}

Interval BoxRange::compound(const Atom& atom) {
  switch (atom.kind) {
    case AtomKind::kSymbol: return box_.at(atom.symbol);
    case AtomKind::kFloorDiv: return quotient(atom.a, atom.b);
    case AtomKind::kMod: return mod(range(atom.a), divisor(atom.b));
    case AtomKind::kMin: return min(range(atom.a), range(atom.b));
    case AtomKind::kMax: return max(range(atom.a), range(atom.b));
    case AtomKind::kFromReal:
      return rounded_range(
          *atom.real, atom.rounding, [this](const Expr& expr) { return range(expr); },
          [this](const Expr& expr) { return divisor(expr); });
  }
  throw Error(ErrorCode::kInternal, "an atom of an unknown kind");
}

// Sizes that would divide by zero are none that the program runs at.
Interval BoxRange::divisor(const Expr& expr) {
  Interval found = range(expr);
  if (found == Interval::point(0)) is_impossible_ = true;
  if (found.lo == 0 && found.hi > 0) found.lo = 1;
  return found;
}

Interval BoxRange::quotient(const Expr& a, const Expr& b) {
  Interval found = floor_div(range(a), divisor(b));
  if (is_plain_ || b.is_constant()) return found;
  // Far more than what doubles are off by.
  const double most = largest_ratio(a, b) * (1 + 1e-9);
  if (most < 1e15) found.hi = std::min(found.hi, static_cast<int64_t>(most));
  return found;
}

// Terms that depend on one and the same symbol are computed together.
Interval BoxRange::by_symbols(const Expr& expr) {
  Interval total = Interval::point(0);
  std::map<SymbolId, std::vector<const Term*>> groups;
  for (const Term& term : expr.node()->terms) {
    if (const auto symbol = only_symbol(term)) {
      groups[*symbol].push_back(&term);
    } else {
      total = total + product(term);
    }
  }
  for (const auto& [symbol, terms] : groups) {
    const auto together = [&, &terms = terms] {
      Interval group = Interval::point(0);
      for (const Term* term : terms) group = group + product(*term);
      return group;
    };
    const bool is_exact = terms.size() == 1 ? terms[0]->factors.size() == 1
                                            : std::all_of(terms.begin(), terms.end(),
                                                          [](auto* term) { return rises(*term); });
    total = total + (is_exact ? together() : over_pieces(symbol, together));
  }
  return total;
}

// Gives `take` what `compute` finds in each piece of the symbol's range that it finds possible.
// False for a range without ends.
template <typename Compute, typename Take>
bool BoxRange::for_each_piece(SymbolId id, Compute compute, Take take) {
  const Interval whole = box_.at(id);
  if (whole.lo <= -Interval::kInfinity || whole.hi >= Interval::kInfinity) return false;
  const int64_t length = (whole.hi - whole.lo) / kPieces + 1;
  is_plain_ = true;
  for (int64_t lo = whole.lo; lo <= whole.hi; lo += length) {
    box_[id] = {lo, std::min(lo + length - 1, whole.hi)};
    is_impossible_ = false;
    const auto found = compute();
    if (!is_impossible_) take(found);
  }
  box_[id] = whole;
  is_plain_ = is_impossible_ = false;
  return true;
}

template <typename Compute>
Interval BoxRange::over_pieces(SymbolId id, Compute compute) {
  Interval all{Interval::kInfinity, -Interval::kInfinity};
  const auto take = [&](Interval piece) {
    all = {std::min(all.lo, piece.lo), std::max(all.hi, piece.hi)};
  };
  return for_each_piece(id, compute, take) && !all.empty() ? all : Interval{};
}

BoxRange::Product BoxRange::as_product(const Term& term) {
  Product product{term.coefficient, {}};
  for (const Atom* factor : term.factors) product.factors.emplace_back(factor->node);
  return product;
}

BoxRange::Product BoxRange::as_product(const Expr& expr) {
  if (expr.is_constant()) return {expr.constant(), {}};
  if (expr.node()->terms.size() == 1) return as_product(expr.node()->terms[0]);
  return {1, {expr}};
}

// What a / b is at most, for a positive b.
double BoxRange::largest_ratio(const Expr& a, const Expr& b) {
  const double whole = largest_ratio(as_product(a), as_product(b));
  if (a.is_constant() || a.node()->terms.size() == 1) return whole;
  double total = 0;
  for (const Term& term : a.node()->terms) total += largest_ratio(as_product(term), as_product(b));
  return std::min(whole, total);
}

// Of products of numbers that are not negative: factors that depend on one and the same symbol are
// divided by each other at each of its values.
double BoxRange::largest_ratio(const Product& above, const Product& below) {
  const auto is_negative = [&](const Expr& expr) { return range(expr).lo < 0; };
  if (below.coefficient < 0 || std::ranges::any_of(below.factors, is_negative) ||
      std::ranges::any_of(above.factors, is_negative))
    return kUnbounded;
  if (above.coefficient <= 0) return 0;
  double ratio = static_cast<double>(above.coefficient) / static_cast<double>(below.coefficient);
  std::map<SymbolId, Fraction> fractions;
  for (const Expr& factor : below.factors) {
    if (const auto symbol = only_symbol(factor)) {
      fractions[*symbol].below.push_back(factor);
    } else {
      ratio /= to_double(divisor(factor).lo);
    }
  }
  for (const Expr& factor : above.factors) {
    const auto symbol = only_symbol(factor);
    if (symbol && fractions.contains(*symbol)) {
      fractions[*symbol].above.push_back(factor);
    } else {
      ratio *= to_double(range(factor).hi);
    }
  }
  for (const auto& [symbol, fraction] : fractions) ratio *= largest(symbol, fraction);
  return std::isnan(ratio) ? kUnbounded : ratio;
}

double BoxRange::largest(SymbolId id, const Fraction& fraction) {
  double most = 0;
  const auto in_box = [&] {
    double ratio = 1;
    for (const Expr& factor : fraction.above) ratio *= to_double(range(factor).hi);
    for (const Expr& factor : fraction.below)
      ratio /= static_cast<double>(std::max<int64_t>(divisor(factor).lo, 1));
    return ratio;
  };
  const bool has_ends =
      for_each_piece(id, in_box, [&](double ratio) { most = std::max(most, ratio); });
  return has_ends ? most : kUnbounded;
}

void BoxRange::learn_nonnegative(const Expr& expr) {
  if (expr.is_constant()) return;
  const auto& terms = expr.node()->terms;
  is_plain_ = true;
  for (const Term& term : terms) {
    const bool is_stated = term.factors.size() == 1 && term.factors[0]->kind == AtomKind::kSymbol;
    if (term.factors.empty() || is_stated) continue;
    Interval rest = Interval::point(0);
    for (const Term& other : terms) {
      if (&other != &term) rest = rest + product(other);
    }
    if (rest.hi < Interval::kInfinity) know(term, rest.hi);
  }
  is_plain_ = is_impossible_ = false;
}

// coefficient * product + rest >= 0.
void BoxRange::know(const Term& term, int64_t rest) {
  Interval known;
  if (term.coefficient > 0) {
    known.lo = -floor_quotient(rest, term.coefficient);
  } else {
    known.hi = floor_quotient(rest, -term.coefficient);
  }
  const Interval before = product(term.factors);
  const Interval both = intersect(before, known);
  if (both == before || both.empty()) return;
  known_.push_back({term.factors, known});
  found_.clear();
  found_atoms_.clear();
}

}  // namespace portwright
