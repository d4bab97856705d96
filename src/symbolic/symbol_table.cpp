// Symbols, ranges and the hash-consing of nodes. facts.cpp holds what is learnt about symbols.
#include "symbolic/symbol_table.h"

#include <algorithm>
#include <utility>

#include "symbolic/expr_impl.h"

namespace portwright {
namespace {

size_t mix(size_t seed, size_t value) {
  return (seed ^ value) * 0x9e3779b97f4a7c15ULL + (seed >> 7);
}

size_t hash_terms(const Terms& terms) {
  size_t hash = terms.size();
  for (const Term& term : terms) {
    hash = mix(hash, static_cast<size_t>(term.coefficient));
    for (const Atom* atom : term.factors) hash = mix(hash, atom->id + 1);
  }
  return hash;
}

bool same_terms(const Terms& a, const Terms& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Term& x, const Term& y) {
    return x.coefficient == y.coefficient && x.factors == y.factors;
  });
}

uint64_t mask_of(const Expr& expr) { return expr.is_constant() ? 0 : expr.node()->symbol_mask; }

}  // namespace

SymbolTable::SymbolTable() : remembered_(kRememberedCount) {}
SymbolTable::~SymbolTable() = default;

Expr SymbolTable::add_symbol(SymbolInfo info) {
  const auto id = static_cast<SymbolId>(symbols_.size());
  if (info.name.empty()) info.name = (info.unbacked ? "u" : "s") + std::to_string(id);
  if (!names_.emplace(info.name, id).second) {
    throw Error(ErrorCode::kInvalidArgument, "a symbol named '" + info.name + "' exists already");
  }
  hints_.push_back(info.hint);
  typical_.push_back(typical_size(info));
  symbols_.push_back(std::move(info));
  replacements_by_symbol_.emplace_back();
  Atom atom;
  atom.kind = AtomKind::kSymbol;
  atom.symbol = id;
  atom.symbol_mask = uint64_t{1} << (id % 64);
  const Atom* added = add_atom(atom, mix(17, id));
  symbol_exprs_.emplace_back(added->node);
  return symbol_exprs_.back();
}

Expr SymbolTable::symbol(SymbolId id) { return symbol_exprs_.at(id); }

std::optional<SymbolId> SymbolTable::find(std::string_view name) const {
  auto found = names_.find(std::string(name));
  if (found == names_.end()) return std::nullopt;
  return found->second;
}

void SymbolTable::set_hint(SymbolId id, int64_t hint) {
  symbols_.at(id).hint = hint;
  hints_.at(id) = hint;
  typical_.at(id) = typical_size(symbols_[id]);
}

int64_t SymbolTable::typical_size(const SymbolInfo& info) const {
  const bool small = info.is_size && (info.hint == 0 || info.hint == 1);
  return small && info.range.hi >= 2 ? std::max<int64_t>(info.range.lo, 2) : info.hint;
}

void SymbolTable::set_range(SymbolId id, Interval range) {
  symbols_[id].range = range;
  typical_[id] = typical_size(symbols_[id]);
  ++generation_;
}

void SymbolTable::narrow(SymbolId id, Interval range) {
  const Interval narrowed = intersect(symbols_.at(id).range, range);
  if (narrowed.empty()) {
    throw Error(ErrorCode::kGuardViolated, "'" + symbols_[id].name + "' in " +
                                               to_string(symbols_[id].range) + " cannot be in " +
                                               to_string(range));
  }
  if (!(narrowed == symbols_[id].range)) set_range(id, narrowed);
}

const Atom* SymbolTable::add_atom(Atom atom, size_t hash) {
  atom.id = static_cast<uint32_t>(atoms_.size());
  atoms_.push_back(atom);
  Atom& stored = atoms_.back();
  atom_index_.insert(hash, &stored);
  Terms terms(1);
  terms[0].coefficient = 1;
  terms[0].factors.push_back(&stored);
  stored.node = intern(std::move(terms)).node();
  return &stored;
}

Expr SymbolTable::intern(std::vector<Term> terms) {
  const size_t hash = hash_terms(terms);
  const Polynomial* found = polynomial_index_.find(
      hash, [&](const Polynomial& other) { return same_terms(other.terms, terms); });
  if (found != nullptr) return Expr(found);
  Polynomial polynomial;
  polynomial.table = this;
  polynomial.terms = std::move(terms);
  polynomial.hash = hash;
  for (const Term& term : polynomial.terms) {
    for (const Atom* atom : term.factors) {
      polynomial.symbol_mask |= atom->symbol_mask;
      polynomial.only_symbols = polynomial.only_symbols && atom->kind == AtomKind::kSymbol;
      polynomial.has_mod = polynomial.has_mod || atom->kind == AtomKind::kMod;
      polynomial.has_floor_div = polynomial.has_floor_div || atom->kind == AtomKind::kFloorDiv;
    }
  }
  polynomials_.push_back(std::move(polynomial));
  polynomial_index_.insert(hash, &polynomials_.back());
  return Expr(&polynomials_.back());
}

const Atom* SymbolTable::intern_atom(AtomKind kind, const Expr& a, const Expr& b) {
  const size_t hash = mix(mix(static_cast<size_t>(kind) + 101, a.hash()), b.hash());
  const Atom* found = atom_index_.find(
      hash, [&](const Atom& atom) { return atom.kind == kind && atom.a == a && atom.b == b; });
  if (found != nullptr) return found;
  Atom atom;
  atom.kind = kind;
  atom.a = a;
  atom.b = b;
  atom.symbol_mask = mask_of(a) | mask_of(b);
  return add_atom(atom, hash);
}

const Atom* SymbolTable::intern_atom(const Real& real, Rounding rounding) {
  const size_t hash = mix(mix(211, real.hash()), static_cast<size_t>(rounding));
  const Atom* found = atom_index_.find(hash, [&](const Atom& atom) {
    return atom.kind == AtomKind::kFromReal && atom.rounding == rounding && *atom.real == real;
  });
  if (found != nullptr) return found;
  reals_.push_back(real);
  Atom atom;
  atom.kind = AtomKind::kFromReal;
  atom.real = &reals_.back();
  atom.rounding = rounding;
  real.for_each_symbol([&](SymbolId id) { atom.symbol_mask |= uint64_t{1} << (id % 64); });
  return add_atom(atom, hash);
}

Interval SymbolTable::symbol_range(SymbolId id, bool assume_sizes) const {
  const SymbolInfo& info = symbols_[id];
  Interval range = info.range;
  if (assume_sizes && info.is_size && range.hi >= 2) {
    range.lo = std::max<int64_t>(range.lo, 2);
  }
  return range;
}

Interval SymbolTable::compound_range(const Atom& atom, bool assume_sizes) const {
  if (atom.kind == AtomKind::kFromReal) {
    // Only what is sure without an interval arithmetic of floats: a root is not negative.
    return atom.real->op() == RealOp::kSqrt ? Interval{0, Interval::kInfinity} : Interval{};
  }
  const Interval a = range(atom.a, assume_sizes);
  const Interval b = range(atom.b, assume_sizes);
  switch (atom.kind) {
    case AtomKind::kFloorDiv: return floor_div(a, b);
    case AtomKind::kMod: return mod(a, b);
    case AtomKind::kMin: return min(a, b);
    default: return max(a, b);
  }
}

Interval SymbolTable::atom_range(const Atom& atom, bool assume_sizes) const {
  if (atom.kind == AtomKind::kSymbol) return symbol_range(atom.symbol, assume_sizes);
  Atom::CachedRange& cached = atom.cached_range[assume_sizes ? 1 : 0];
  if (cached.generation != generation_) {
    cached.range = compound_range(atom, assume_sizes);
    cached.generation = generation_;
  }
  return cached.range;
}

Interval SymbolTable::term_range(const Term& term, int64_t coefficient, bool assume_sizes) const {
  Interval product = Interval::point(coefficient);
  for (size_t i = 0; i < term.factors.size(); ++i) {
    Interval factor = atom_range(*term.factors[i], assume_sizes);
    if (i + 1 < term.factors.size() && term.factors[i + 1] == term.factors[i]) {
      factor = factor * factor;  // a square is not negative
      factor.lo = std::max<int64_t>(factor.lo, 0);
      ++i;
    }
    product = product * factor;
  }
  return product;
}

Interval SymbolTable::range(const Expr& expr, bool assume_sizes) const {
  if (expr.is_constant()) return Interval::point(expr.constant());
  Interval sum = Interval::point(0);
  for (const Term& term : expr.node()->terms) {
    sum = sum + term_range(term, term.coefficient, assume_sizes);
  }
  return sum;
}

Interval SymbolTable::range_of_difference(const Expr& a, const Expr& b, bool assume_sizes) const {
  const auto difference = try_combine(a, -1, b);
  return difference ? range(*difference, assume_sizes) : Interval{};
}

}  // namespace portwright
