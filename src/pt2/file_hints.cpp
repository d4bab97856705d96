#include "pt2/file_hints.h"

#include <algorithm>
#include <optional>

#include "ir/data_symbols.h"
#include "pt2/guards.h"

namespace portwright {
namespace {

constexpr int kRounds = 64;     // conditions that are mended, one after the other
constexpr int64_t kReach = 64;  // how far a size is raised for one

std::vector<SymbolId> symbols_of(const Predicate& predicate) {
  std::vector<SymbolId> found;
  predicate.for_each_symbol([&](SymbolId id) { found.push_back(id); });
  return found;
}

// Raises one size until the condition holds.
bool mend(const Predicate& predicate, const SymbolTable& symbols, std::vector<int64_t>& values) {
  for (int64_t step = 1; step <= kReach; ++step) {
    for (SymbolId id : symbols_of(predicate)) {
      const int64_t before = values[id];
      values[id] = before + step;
      if (values[id] <= symbols.info(id).range.hi && predicate.evaluate(values)) return true;
      values[id] = before;
    }
  }
  return false;
}

}  // namespace

std::vector<int64_t> file_hints(const SymbolTable& symbols) {
  const auto typical = symbols.typical();
  std::vector<int64_t> start(typical.begin(), typical.end());
  std::vector<Predicate> conditions;
  for (const Guard& guard : symbols.guards()) {
    Predicate predicate = resolved(guard, symbols);
    if (!predicate.maybe_constant() && !about_data(predicate, symbols)) {
      conditions.push_back(std::move(predicate));
    }
  }
  std::vector<int64_t> values = start;
  for (int round = 0; round < kRounds; ++round) {
    const auto broken = std::find_if(conditions.begin(), conditions.end(),
                                     [&](const Predicate& p) { return !p.evaluate(values); });
    if (broken == conditions.end()) return values;
    if (!mend(*broken, symbols, values)) return start;
  }
  return start;
}

}  // namespace portwright
