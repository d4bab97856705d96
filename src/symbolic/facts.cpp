// What is known about symbols: deciding conditions, recording guards, learning from them.
#include <algorithm>
#include <cstdlib>

#include "symbolic/expr_impl.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

// The symbol and sign of `expr` when it is +-symbol + rest and rest does not contain the symbol.
struct Isolated {
  SymbolId symbol;
  Expr value;  // what the symbol equals when expr == 0
};

// A size of an input is never expressed by what data decides, and a value from data never by one
// that is read later, as it may be used in between. A value from data may be a multiple: 8 * u == s
// makes u the quotient, which is whole because the equality holds.
std::vector<Isolated> isolations(const Expr& expr, const SymbolTable& table) {
  std::vector<Isolated> found;
  auto known_later = [&](const Expr& value, SymbolId symbol) {
    const bool from_data = table.info(symbol).unbacked;
    bool any = false;
    for_each_symbol(value, [&](SymbolId id) {
      any = any || (table.info(id).unbacked && (!from_data || id > symbol));
    });
    return any;
  };
  for (const Term& term : expr.node()->terms) {
    if (term.factors.size() != 1 || term.factors[0]->kind != AtomKind::kSymbol) continue;
    const SymbolId symbol = term.factors[0]->symbol;
    const bool from_data = table.info(symbol).unbacked;
    const int64_t factor = term.coefficient;
    if (factor != 1 && factor != -1 && !from_data) continue;
    const Expr rest = expr - Expr(factor) * Expr(term.factors[0]->node);
    if (depends_on(rest, symbol) || known_later(rest, symbol)) continue;
    const Expr numerator = factor > 0 ? -rest : rest;
    found.push_back({symbol, floor_div(numerator, std::abs(factor))});
  }
  return found;
}

std::string at_hints(const Predicate& predicate, const SymbolTable& table) {
  std::string text;
  predicate.for_each_symbol([&](SymbolId id) {
    const SymbolInfo& info = table.info(id);
    text += (text.empty() ? "" : ", ") + info.name + " = " + std::to_string(info.hint);
    if (!info.origin.empty()) text += " (" + info.origin + ")";
  });
  return text;
}

}  // namespace

std::optional<Expr> SymbolTable::replacement(SymbolId id) const {
  return replacements_by_symbol_.at(id);
}

Expr SymbolTable::resolve(const Expr& expr) const {
  if (expr.is_constant() || (expr.node()->symbol_mask & replaced_mask_) == 0) return expr;
  return substitute(expr, [this](SymbolId id) { return replacements_by_symbol_[id]; });
}

Real SymbolTable::resolve(const Real& real) const {
  if (replaced_mask_ == 0) return real;
  return real.substitute([this](SymbolId id) { return replacements_by_symbol_[id]; });
}

Predicate SymbolTable::resolve(const Predicate& predicate) const {
  if (replaced_mask_ == 0 || predicate.maybe_constant()) return predicate;
  return predicate.substitute([this](SymbolId id) { return replacements_by_symbol_[id]; });
}

bool SymbolTable::known_nonnegative(const Expr& expr, bool assume_sizes) const {
  if (range(expr, assume_sizes).lo >= 0) return true;
  for (const Expr& fact : nonnegative_) {
    // Reasoning must not fail where sizes meet "no limit" constants: overflow proves nothing.
    const auto difference = try_combine(expr, -1, fact);
    if (difference && range(*difference, assume_sizes).lo >= 0) return true;
  }
  return false;
}

Expr SymbolTable::known_value(const Expr& expr) const {
  if (expr.is_constant()) return expr;
  const int64_t value = hint(expr);
  const auto above = try_combine(expr, -1, value);
  const auto below = try_combine(value, -1, expr);
  const bool known =
      above && below && known_nonnegative(*above, false) && known_nonnegative(*below, false);
  return known ? Expr(value) : expr;
}

bool SymbolTable::known_negative(const Expr& expr, bool assume_sizes) const {
  const auto reversed = try_combine(-1, -1, expr);
  return reversed && known_nonnegative(*reversed, assume_sizes);
}

bool SymbolTable::known_nonzero(const Expr& expr, bool assume_sizes) const {
  if (!range(expr, assume_sizes).contains(0)) return true;
  const auto less_one = try_combine(expr, -1, 1);
  if (less_one && known_nonnegative(*less_one, assume_sizes)) return true;
  if (known_negative(expr, assume_sizes)) return true;
  return std::any_of(nonzero_.begin(), nonzero_.end(),
                     [&](const Expr& fact) { return fact == expr || fact == -expr; });
}

std::optional<bool> SymbolTable::decide_integer(const Predicate& predicate,
                                                bool assume_sizes) const {
  const Expr& expr = predicate.expr();
  if (predicate.relation() == Relation::kGe) {
    if (known_nonnegative(expr, assume_sizes)) return true;
    if (known_negative(expr, assume_sizes)) return false;
    return std::nullopt;
  }
  const bool wants_zero = predicate.relation() == Relation::kEq;
  if (known_nonzero(expr, assume_sizes)) return !wants_zero;
  const Interval values = range(expr, assume_sizes);
  if (values.is_point()) return (values.lo == 0) == wants_zero;
  // s * (t - 1) == 0 with s known to be nonzero is t - 1 == 0.
  const Factors common = common_factors(expr);
  if (!common.empty()) {
    Expr factors = 1;
    for (const Atom* atom : common) factors = factors * Expr(atom->node);
    if (known_nonzero(factors, assume_sizes)) {
      const Expr rest = divide_by_factors(expr, common);
      return decide_resolved(Predicate::compare(rest, predicate.relation(), 0), assume_sizes);
    }
  }
  return std::nullopt;
}

std::optional<bool> SymbolTable::decide_resolved(const Predicate& predicate,
                                                 bool assume_sizes) const {
  switch (predicate.kind()) {
    case Predicate::Kind::kConstant: return predicate.maybe_constant();
    case Predicate::Kind::kInteger: return decide_integer(predicate, assume_sizes);
    case Predicate::Kind::kReal: break;
    case Predicate::Kind::kNot: {
      const auto truth = decide_resolved(predicate.operands()[0], assume_sizes);
      return truth ? std::optional(!*truth) : std::nullopt;
    }
    case Predicate::Kind::kAnd:
    case Predicate::Kind::kOr: {
      const bool settles = predicate.kind() == Predicate::Kind::kOr;
      const auto a = decide_resolved(predicate.operands()[0], assume_sizes);
      if (a == settles) return settles;
      const auto b = decide_resolved(predicate.operands()[1], assume_sizes);
      if (b == settles) return settles;
      if (a && b) return !settles;
      break;
    }
  }
  for (const Predicate& fact : other_facts_) {
    if (fact == predicate) return true;
    if (fact == !predicate) return false;
  }
  return std::nullopt;
}

std::optional<bool> SymbolTable::decide(const Predicate& predicate, bool assume_sizes) const {
  if (const auto truth = predicate.maybe_constant()) return truth;
  return decide_resolved(resolve(predicate), assume_sizes);
}

bool SymbolTable::guard(const Predicate& predicate, GuardKind kind, const SourceLine& source,
                        const std::string& module_path) {
  const Predicate resolved = resolve(predicate);
  if (const auto truth = decide_resolved(resolved, false)) return *truth;
  const bool truth = resolved.evaluate(hints_);
  record(truth ? resolved : !resolved, kind, source, module_path);
  return truth;
}

void SymbolTable::require(const Predicate& predicate, GuardKind kind, const SourceLine& source,
                          const std::string& module_path) {
  const Predicate resolved = resolve(predicate);
  const auto truth = decide_resolved(resolved, false);
  if (truth == true) return;
  if (truth == false || !resolved.evaluate(hints_)) {
    throw Error(ErrorCode::kGuardViolated,
                to_string(predicate) +
                    " does not hold for the sample inputs: " + at_hints(predicate, *this),
                source, module_path);
  }
  record(resolved, kind, source, module_path);
}

// Two sizes that are equal in the sample inputs and whose equality settles the condition:
// `(s3 - s1) mod 512 == 0` of a mask and the ids that it masks means s3 == s1. Simpler to state,
// and what follows from it is known as well.
std::optional<Predicate> SymbolTable::settling_equality(const Predicate& predicate) const {
  if (predicate.kind() != Predicate::Kind::kInteger || predicate.relation() != Relation::kEq) {
    return std::nullopt;
  }
  std::vector<SymbolId> sizes;
  predicate.for_each_symbol([&](SymbolId id) {
    if (!info(id).unbacked && !info(id).from_user) sizes.push_back(id);
  });
  for (size_t i = 0; i < sizes.size(); ++i) {
    for (size_t j = i + 1; j < sizes.size(); ++j) {
      if (hints_[sizes[i]] != hints_[sizes[j]]) continue;
      const Expr first = symbol_exprs_[sizes[i]];
      const Predicate merged = predicate.substitute([&](SymbolId id) -> std::optional<Expr> {
        return id == sizes[j] ? std::optional(first) : std::nullopt;
      });
      if (decide_resolved(merged, false) != true) continue;
      return Predicate::compare(first, Relation::kEq, symbol_exprs_[sizes[j]]);
    }
  }
  return std::nullopt;
}

void SymbolTable::record(const Predicate& stated, GuardKind kind, const SourceLine& source,
                         const std::string& module_path) {
  const Predicate predicate = settling_equality(stated).value_or(stated);
  for (const Guard& guard : guards_) {
    if (guard.predicate == predicate) return;
  }
  guards_.push_back({predicate, kind, source, module_path});
  const Guard guard = guards_.back();
  learn(predicate, guard);
}

void SymbolTable::learn(const Predicate& predicate, const Guard& guard) {
  switch (predicate.kind()) {
    case Predicate::Kind::kConstant: return;
    case Predicate::Kind::kAnd:
      for (const Predicate& operand : predicate.operands()) learn(operand, guard);
      return;
    case Predicate::Kind::kInteger: break;
    default: other_facts_.push_back(predicate); return;
  }
  switch (predicate.relation()) {
    case Relation::kEq: learn_equality(predicate.expr(), guard); return;
    case Relation::kNe: nonzero_.push_back(predicate.expr()); return;
    default: learn_nonnegative(predicate.expr(), guard); return;
  }
}

// expr >= 0; c * s + k >= 0 also narrows s.
void SymbolTable::learn_nonnegative(const Expr& expr, const Guard& guard) {
  if (expr.node()->only_symbols &&
      std::find(nonnegative_.begin(), nonnegative_.end(), -expr) != nonnegative_.end()) {
    // a >= b and b >= a.
    const Guard equal{Predicate::compare(expr, Relation::kEq, 0), GuardKind::kEquality,
                      guard.source, guard.module_path};
    learn_equality(expr, equal);
    return;
  }
  nonnegative_.push_back(expr);
  const Expr variable = without_constant(expr);
  const auto& terms = variable.node()->terms;
  if (terms.size() != 1 || terms[0].factors.size() != 1) return;
  const int64_t factor = terms[0].coefficient;
  const int64_t constant = constant_term(expr);
  Interval range;
  if (factor > 0) {
    range.lo = -floor_quotient(constant, factor);  // s >= ceil(-k / c)
  } else {
    range.hi = floor_quotient(constant, -factor);
  }
  const Atom& atom = *terms[0].factors[0];
  if (atom.kind == AtomKind::kSymbol) {
    narrow_learnt(atom.symbol, range, guard);
  } else {
    narrow_compound(atom, range, guard);
  }
}

// What the range of a compound says of its operands: min(a, b) >= 3 means a >= 3 and b >= 3, and
// floordiv(a, 4) >= 3 means a >= 12. Not of data: expressions are simplified by ranges, the guard
// that says this among them, and a program checks ranges of sizes only.
void SymbolTable::narrow_compound(const Atom& atom, Interval range, const Guard& guard) {
  bool about_data = false;
  for_each_symbol(Expr(atom.node), [&](SymbolId id) { about_data |= symbols_[id].unbacked; });
  if (about_data) return;
  const bool above = range.lo != -Interval::kInfinity;
  const Expr bound = above ? range.lo : range.hi;
  auto learn_side = [&](const Expr& operand, const Expr& limit) {
    const auto difference =
        above ? try_combine(operand, -1, limit) : try_combine(limit, -1, operand);
    if (difference && !difference->is_constant()) learn_nonnegative(*difference, guard);
  };
  if (atom.kind == (above ? AtomKind::kMin : AtomKind::kMax)) {
    learn_side(atom.a, bound);
    learn_side(atom.b, bound);
  } else if (atom.kind == AtomKind::kFloorDiv && atom.b.is_constant() && atom.b.constant() > 0) {
    const auto limit = try_combine(above ? 0 : atom.b.constant() - 1, atom.b.constant(), bound);
    if (limit) learn_side(atom.a, *limit);
  }
}

void SymbolTable::narrow_learnt(SymbolId id, Interval range, const Guard& guard) {
  const Interval before = symbols_[id].range;
  narrow(id, range);
  const Interval after = symbols_[id].range;
  if (!(before == after)) narrowings_.push_back({id, before, after, guard});
}

// Whether `a` is the better one of two symbols to express by the other.
bool SymbolTable::rather_replace(SymbolId a, SymbolId b) const {
  if (symbols_[a].from_user != symbols_[b].from_user) return !symbols_[a].from_user;
  if (symbols_[a].unbacked != symbols_[b].unbacked) return symbols_[a].unbacked;
  return a > b;
}

// Whether the value is known wherever the symbol is: sizes of inputs are known from the start, the
// data's from where they are read, in the order in which they were added.
bool SymbolTable::known_with(SymbolId id, const Expr& value) const {
  bool known = true;
  for_each_symbol(value, [&](SymbolId other) {
    known = known && (!symbols_[other].unbacked || (symbols_[id].unbacked && other < id));
  });
  return known;
}

void SymbolTable::learn_equality(const Expr& difference, const Guard& guard) {
  const std::vector<Isolated> found = isolations(difference, *this);
  const Isolated* best = nullptr;
  for (const Isolated& candidate : found) {
    if (!known_with(candidate.symbol, candidate.value)) continue;
    if (best == nullptr || rather_replace(candidate.symbol, best->symbol)) best = &candidate;
  }
  if (best == nullptr) {
    nonnegative_.push_back(difference);
    nonnegative_.push_back(-difference);
    return;
  }
  replace(best->symbol, best->value, guard);
}

void SymbolTable::replace(SymbolId id, const Expr& value, const Guard& guard) {
  const Interval own = symbols_[id].range;
  const Interval other = range(value);
  if (value.is_constant()) {
    narrow_learnt(id, Interval::point(value.constant()), guard);
  } else {
    narrow_learnt(id, other, guard);
    if (const auto target = value.symbol()) narrow_learnt(*target, own, guard);
  }
  replacements_by_symbol_[id] = value;
  replacements_.push_back(id);
  replaced_mask_ |= uint64_t{1} << (id % 64);
  ++generation_;
  // Keep all replacements resolved, and the facts in terms of what is left.
  for (SymbolId other_id : replacements_) {
    replacements_by_symbol_[other_id] = resolve(*replacements_by_symbol_[other_id]);
  }
  auto keep_resolved = [this](std::vector<Expr>& facts) {
    for (Expr& fact : facts) fact = resolve(fact);
    std::erase_if(facts, [](const Expr& fact) { return fact.is_constant(); });
  };
  keep_resolved(nonnegative_);
  keep_resolved(nonzero_);
  for (Predicate& fact : other_facts_) fact = resolve(fact);
}

std::vector<SymbolId> SymbolTable::narrowed_user_symbols() const {
  std::vector<SymbolId> found;
  for (const Narrowing& narrowing : narrowings_) {
    if (!symbols_[narrowing.symbol].from_user) continue;
    if (std::find(found.begin(), found.end(), narrowing.symbol) == found.end()) {
      found.push_back(narrowing.symbol);
    }
  }
  return found;
}

}  // namespace portwright
