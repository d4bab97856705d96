#include "symbolic/dim_fixes.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "symbolic/expr_impl.h"
#include "symbolic/linear.h"

namespace portwright {
namespace {

// The size that `symbol != size` excludes.
std::optional<int64_t> excluded(const Predicate& condition) {
  if (condition.kind() != Predicate::Kind::kInteger || condition.relation() != Relation::kNe) {
    return std::nullopt;
  }
  const auto form = as_linear(condition.expr());
  if (!form || form->offset % form->factor != 0) return std::nullopt;
  return -form->offset / form->factor;
}

bool excludes_only_small(const Predicate& condition) {
  if (const auto size = excluded(condition)) return *size < 2;
  if (condition.kind() != Predicate::Kind::kInteger || condition.relation() != Relation::kGe) {
    return false;
  }
  const auto form = as_linear(condition.expr());
  return form && form->factor > 0 && 2 * form->factor + form->offset >= 0;
}

// `multiple * n - offset` for the symbol of `(symbol + offset) mod multiple == 0`.
struct Multiple {
  SymbolId symbol = 0;
  int64_t multiple = 0;
  int64_t offset = 0;
};

std::optional<Multiple> multiple_in(const Predicate& condition) {
  if (condition.kind() != Predicate::Kind::kInteger || condition.relation() != Relation::kEq) {
    return std::nullopt;
  }
  const Expr& expr = condition.expr();
  const auto& terms = expr.node()->terms;
  if (terms.size() != 1 || terms[0].factors.size() != 1) return std::nullopt;
  const Atom& atom = *terms[0].factors[0];
  if (atom.kind != AtomKind::kMod || !atom.b.is_constant()) return std::nullopt;
  const auto form = as_linear(atom.a);
  const int64_t multiple = atom.b.constant();
  if (!form || form->factor != 1 || multiple < 2) return std::nullopt;
  return Multiple{form->symbol, multiple, floor_remainder(form->offset, multiple)};
}

std::string bounds(Interval range) {
  std::string text;
  if (range.lo > 0) text += ", min=" + std::to_string(range.lo);
  if (range.hi != Interval::kInfinity) text += ", max=" + std::to_string(range.hi);
  return text;
}

std::string declaration(const std::string& name, Interval range) {
  return name + " = Dim('" + name + "'" + bounds(range) + ")";
}

std::string with_offset(const std::string& text, int64_t offset) {
  if (offset == 0) return text;
  return text + (offset > 0 ? " + " : " - ") + std::to_string(std::abs(offset));
}

class Fixes {
 public:
  explicit Fixes(const SymbolTable& symbols) : symbols_(symbols) {}

  std::vector<std::string> all() {
    for (SymbolId id = 0; id < symbols_.size(); ++id) {
      if (symbols_.info(id).from_user) fix(id);
    }
    return std::move(lines_);
  }

 private:
  void fix(SymbolId id) {
    const std::string& name = symbols_.info(id).name;
    if (const auto value = symbols_.replacement(id)) {
      // A Dim can be a number or a growing linear form of one other Dim.
      const auto form = as_linear(*value);
      const bool derived = form && form->factor > 0;
      if (derived) declare_automatic(form->symbol);
      if (value->is_constant() || derived) lines_.push_back(name + " = " + to_string(*value));
      return;
    }
    const Interval range = needed_range(id);
    if (const auto multiple = multiple_of(id)) {
      const std::string root = "_" + name;
      auto quotient = [&](int64_t size) {
        return floor_quotient(size + multiple->offset, multiple->multiple);
      };
      const Interval of_root{-floor_quotient(-range.lo - multiple->offset, multiple->multiple),
                             range.hi == Interval::kInfinity ? range.hi : quotient(range.hi)};
      lines_.push_back(declaration(root, of_root));
      lines_.push_back(
          name + " = " +
          with_offset(std::to_string(multiple->multiple) + "*" + root, -multiple->offset));
    } else if (!(range == declared_range(id))) {
      lines_.push_back(declaration(name, range));
    }
  }

  // The root of a derived Dim has to be one too.
  void declare_automatic(SymbolId id) {
    const SymbolInfo& info = symbols_.info(id);
    const std::string line = declaration(info.name, info.range);
    if (info.from_user || std::find(lines_.begin(), lines_.end(), line) != lines_.end()) return;
    lines_.push_back(line);
  }

  Interval declared_range(SymbolId id) const {
    for (const Narrowing& narrowing : symbols_.narrowings()) {
      if (narrowing.symbol == id) return narrowing.before;
    }
    return symbols_.info(id).range;
  }

  // Sizes that are excluded near an end of the range move it.
  Interval needed_range(SymbolId id) const {
    Interval range = symbols_.info(id).range;
    for (const Guard& guard : symbols_.guards()) {
      const auto size = excluded(symbols_.resolve(guard.predicate));
      if (!size || !mentions(guard.predicate, id)) continue;
      if (*size - range.lo <= 1) range.lo = std::max(range.lo, *size + 1);
      if (*size == range.hi) --range.hi;
    }
    return range;
  }

  bool mentions(const Predicate& predicate, SymbolId id) const {
    bool found = false;
    symbols_.resolve(predicate).for_each_symbol([&](SymbolId other) { found |= other == id; });
    return found;
  }

  std::optional<Multiple> multiple_of(SymbolId id) const {
    for (const Guard& guard : symbols_.guards()) {
      const auto multiple = multiple_in(symbols_.resolve(guard.predicate));
      if (multiple && multiple->symbol == id) return multiple;
    }
    return std::nullopt;
  }

  const SymbolTable& symbols_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<Violation> violations(const SymbolTable& symbols) {
  std::vector<Violation> found;
  for (size_t i = 0; i < symbols.guards().size(); ++i) {
    const Predicate& predicate = symbols.guards()[i].predicate;
    Violation violation{i,
                        predicate.substitute([&](SymbolId id) -> std::optional<Expr> {
                          if (symbols.info(id).from_user) return std::nullopt;
                          return symbols.replacement(id);
                        }),
                        {},
                        false};
    size_t others = 0;
    bool about_data = false;
    violation.condition.for_each_symbol([&](SymbolId id) {
      about_data = about_data || symbols.info(id).unbacked;
      if (symbols.info(id).from_user) {
        violation.dims.push_back(id);
      } else {
        ++others;
      }
    });
    if (violation.dims.empty() || about_data) continue;
    if (violation.condition.maybe_constant() == true) continue;
    const bool alone = violation.dims.size() == 1 && others == 0;
    violation.statable = symbols.resolve(violation.condition).maybe_constant() == true ||
                         (alone && !excludes_only_small(violation.condition));
    found.push_back(std::move(violation));
  }
  return found;
}

std::vector<std::string> suggested_fixes(const SymbolTable& symbols) {
  return Fixes(symbols).all();
}

}  // namespace portwright
