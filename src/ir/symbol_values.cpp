#include "ir/symbol_values.h"

#include <bit>
#include <string>
#include <utility>

#include "ir/data_symbols.h"

namespace portwright {
namespace {

std::string values_of(const Predicate& predicate, const SymbolTable& symbols,
                      std::span<const int64_t> values) {
  std::string text;
  predicate.for_each_symbol([&](SymbolId id) {
    const SymbolInfo& info = symbols.info(id);
    text += (text.empty() ? "" : ", ") + info.name + " = " +
            (info.is_float ? std::to_string(std::bit_cast<double>(values[id]))
                           : std::to_string(values[id]));
    if (!info.origin.empty()) text += " (" + info.origin + ")";
  });
  return text;
}

}  // namespace

void check_guard(const Guard& guard, const SymbolTable& symbols, std::span<const int64_t> values) {
  // An unbacked symbol has its own value from the data, whatever it was found to equal.
  const Predicate predicate = guard.predicate.substitute([&](SymbolId id) {
    return symbols.info(id).unbacked ? std::nullopt : symbols.replacement(id);
  });
  if (predicate.evaluate(values)) return;
  throw Error(ErrorCode::kGuardViolated,
              "the program was captured for inputs with " + to_string(guard.predicate) + ", but " +
                  values_of(predicate, symbols, values),
              guard.source, guard.module_path);
}

SymbolValues::SymbolValues(const SymbolTable& symbols, std::vector<int64_t> values, bool data_known)
    : symbols_(symbols),
      values_(std::move(values)),
      bound_(values_.size()),
      guards_(values_.size()) {
  for (SymbolId id = 0; id < values_.size(); ++id) {
    bound_[id] = data_known || !symbols.info(id).unbacked;
  }
  for (const Guard& guard : symbols.guards()) {
    if (!about_data(guard.predicate, symbols)) continue;
    guard.predicate.for_each_symbol([&](SymbolId id) { guards_[id].push_back(&guard); });
  }
}

void SymbolValues::bind(SymbolId id, int64_t value) {
  values_[id] = value;
  bound_[id] = true;
  for (const Guard* guard : guards_[id]) {
    bool known = true;
    guard->predicate.for_each_symbol([&](SymbolId other) { known = known && bound_[other]; });
    if (known) check_guard(*guard, symbols_, values_);
  }
}

}  // namespace portwright
