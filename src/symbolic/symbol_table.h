// The symbols of one program: their ranges and hints, the facts learnt about them, and the nodes of
// all expressions over them. Not thread-safe: a table belongs to one capture or one Program.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "symbolic/expr.h"
#include "symbolic/interval.h"
#include "symbolic/node_index.h"
#include "symbolic/predicate.h"
#include "symbolic/real.h"

namespace portwright {

struct SymbolInfo {
  std::string name;        // unique in its table: "batch", "s0", "u3"
  Interval range;          // what the program accepts at run time
  int64_t hint = 0;        // the size at the sample inputs
  std::string origin;      // "input_ids.size(1)", for messages
  bool unbacked = false;   // the value comes from data, not from an input's shape
  bool is_size = true;     // a tensor dimension; reasoning may assume it is neither 0 nor 1
  bool is_float = false;   // from data: a value is the bits of a double, see Real::from_data
  bool from_user = false;  // an explicit Dim(min, max): a guard that narrows it is an error
};

enum class GuardKind : uint8_t {
  kDecision,       // model code took a branch
  kEquality,       // two dims that must agree, from the operators' own rules
  kRuntimeAssert,  // torch._check and deferred asserts
};

// A condition that must hold for the captured program to be valid, and who asked.
struct Guard {
  Predicate predicate;
  GuardKind kind = GuardKind::kDecision;
  SourceLine source;
  std::string module_path;
};

// A guard that made a symbol's range smaller.
struct Narrowing {
  SymbolId symbol = 0;
  Interval before;
  Interval after;
  Guard guard;
};

class SymbolTable {
 public:
  SymbolTable();
  ~SymbolTable();
  SymbolTable(const SymbolTable&) = delete;
  SymbolTable& operator=(const SymbolTable&) = delete;

  // A new symbol. An empty name gets "s<id>" ("u<id>" when unbacked); a name in use is
  // Error(kInvalidArgument).
  Expr add_symbol(SymbolInfo info);
  size_t size() const { return symbols_.size(); }
  const SymbolInfo& info(SymbolId id) const { return symbols_.at(id); }
  Expr symbol(SymbolId id);
  std::optional<SymbolId> find(std::string_view name) const;
  std::span<const int64_t> hints() const { return hints_; }
  void set_hint(SymbolId id, int64_t hint);
  // The hints, with sizes of 0 and 1 raised to 2 where their range allows it: values at which
  // layouts and operators' rules show what they are for other sizes.
  std::span<const int64_t> typical() const { return typical_; }

  // Narrows a symbol's range; an empty result is Error(kGuardViolated).
  void narrow(SymbolId id, Interval range);

  // The tightest interval that ranges (true) or ranges with sizes taken as >= 2 (assume_sizes)
  // give.
  Interval range(const Expr& expr, bool assume_sizes = false) const;
  Interval range(const Real& real) const = delete;
  // The one value that ranges and guards leave an expression, or the expression.
  Expr known_value(const Expr& expr) const;
  // The range of a - b; unbounded where the difference leaves 64 bits.
  Interval range_of_difference(const Expr& a, const Expr& b, bool assume_sizes = false) const;

  // The truth of a condition, when ranges and facts settle it for every input. With assume_sizes,
  // tensor sizes count as >= 2: the reading of operators' broadcasting and contiguity rules, which
  // run the same at 0 and 1.
  std::optional<bool> decide(const Predicate& predicate, bool assume_sizes = false) const;

  // Takes a branch: decide(), else the value at the hints, recorded as a guard (once) and learnt as
  // a fact. The guard holds the predicate or its negation, whichever is true.
  bool guard(const Predicate& predicate, GuardKind kind, const SourceLine& source,
             const std::string& module_path);

  // States that a condition holds: like guard(), but Error(kGuardViolated) when it is false at the
  // hints or provably false. Equalities merge symbols: see resolve().
  void require(const Predicate& predicate, GuardKind kind, const SourceLine& source,
               const std::string& module_path);

  // The expression with learnt equalities applied (`s2 == s0` replaces the younger by the older
  // symbol, `s3 == 4` replaces by the constant).
  Expr resolve(const Expr& expr) const;
  Real resolve(const Real& real) const;
  Predicate resolve(const Predicate& predicate) const;
  bool has_replacements() const { return !replacements_.empty(); }
  // Grows with every learnt equality: what was resolved at a smaller count may be resolved again.
  size_t replacement_count() const { return replacements_.size(); }
  std::optional<Expr> replacement(SymbolId id) const;

  int64_t hint(const Expr& expr) const { return evaluate(expr, hints_); }
  const std::vector<Guard>& guards() const { return guards_; }
  // Replaces the guards, after a pass has simplified or discharged some.
  void set_guards(std::vector<Guard> guards) { guards_ = std::move(guards); }

  // Every narrowing that guards caused, in order, and the user's symbols among them (each once).
  // The table only records; capture decides whether one is an error.
  const std::vector<Narrowing>& narrowings() const { return narrowings_; }
  std::vector<SymbolId> narrowed_user_symbols() const;

  // Node construction; expr.cpp and real.cpp are the callers.
  Expr intern(std::vector<Term> canonical_terms);
  const Atom* intern_atom(AtomKind kind, const Expr& a, const Expr& b);
  const Atom* intern_atom(const Real& real, Rounding rounding);

  // Memo of recent binary operations, valid until a range changes.
  enum class Operation : uint8_t { kNone, kAdd, kSub, kMul, kFloorDiv, kMod, kMin, kMax };
  template <typename Compute>
  Expr remember(Operation operation, const Expr& a, const Expr& b, Compute&& compute);

 private:
  struct Remembered {
    Operation operation = Operation::kNone;
    uint32_t generation = 0;
    Expr a, b, result;
  };
  static constexpr size_t kRememberedCount = 1024;

  const Atom* add_atom(Atom atom, size_t hash);
  Interval symbol_range(SymbolId id, bool assume_sizes) const;
  Interval atom_range(const Atom& atom, bool assume_sizes) const;
  Interval compound_range(const Atom& atom, bool assume_sizes) const;
  Interval term_range(const Term& term, int64_t coefficient, bool assume_sizes) const;
  void set_range(SymbolId id, Interval range);
  int64_t typical_size(const SymbolInfo& info) const;

  std::optional<bool> decide_resolved(const Predicate& predicate, bool assume_sizes) const;
  std::optional<bool> decide_integer(const Predicate& predicate, bool assume_sizes) const;
  bool known_nonnegative(const Expr& expr, bool assume_sizes) const;
  bool known_negative(const Expr& expr, bool assume_sizes) const;
  bool known_nonzero(const Expr& expr, bool assume_sizes) const;

  std::optional<Predicate> settling_equality(const Predicate& predicate) const;
  void record(const Predicate& stated, GuardKind kind, const SourceLine& source,
              const std::string& module_path);
  void learn(const Predicate& predicate, const Guard& guard);
  void learn_nonnegative(const Expr& expr, const Guard& guard);
  void narrow_compound(const Atom& atom, Interval range, const Guard& guard);
  bool known_with(SymbolId id, const Expr& value) const;
  void learn_equality(const Expr& difference, const Guard& guard);
  void replace(SymbolId id, const Expr& value, const Guard& guard);
  void narrow_learnt(SymbolId id, Interval range, const Guard& guard);
  bool rather_replace(SymbolId a, SymbolId b) const;

  std::vector<SymbolInfo> symbols_;
  std::vector<int64_t> hints_;
  std::vector<int64_t> typical_;
  std::vector<Expr> symbol_exprs_;
  std::unordered_map<std::string, SymbolId> names_;
  std::deque<Atom> atoms_;
  std::deque<Polynomial> polynomials_;
  std::deque<Real> reals_;
  NodeIndex<Atom> atom_index_;
  NodeIndex<Polynomial> polynomial_index_;
  std::vector<Remembered> remembered_;
  uint32_t generation_ = 1;  // grows when a range changes
  std::vector<std::optional<Expr>> replacements_by_symbol_;
  std::vector<SymbolId> replacements_;
  uint64_t replaced_mask_ = 0;          // bit (id % 64) is set for every replaced symbol
  std::vector<Expr> nonnegative_;       // facts: each is >= 0
  std::vector<Expr> nonzero_;           // facts: each is != 0
  std::vector<Predicate> other_facts_;  // facts that are no integer comparison
  std::vector<Guard> guards_;
  std::vector<Narrowing> narrowings_;
};

template <typename Compute>
Expr SymbolTable::remember(Operation operation, const Expr& a, const Expr& b, Compute&& compute) {
  const size_t hash = a.hash() * 31 + b.hash() * 7 + static_cast<size_t>(operation);
  const size_t slot = (hash ^ (hash >> 10) ^ (hash >> 32)) % kRememberedCount;
  const Remembered& entry = remembered_[slot];
  if (entry.operation == operation && entry.generation == generation_ && entry.a == a &&
      entry.b == b) {
    return entry.result;
  }
  const uint32_t generation = generation_;
  Expr result = compute();
  remembered_[slot] = {operation, generation, a, b, result};
  return result;
}

// Reads what to_string() printed, with the table's symbol names. Error(kParse).
Expr parse_expr(std::string_view text, SymbolTable& table);
Real parse_real(std::string_view text, SymbolTable& table);
Predicate parse_predicate(std::string_view text, SymbolTable& table);

}  // namespace portwright
