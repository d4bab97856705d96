// The symbols' values while a program runs.
#pragma once

#include <span>
#include <vector>

#include "symbolic/symbol_table.h"

namespace portwright {

// Error(kGuardViolated), with the model's line, when the condition does not hold.
void check_guard(const Guard& guard, const SymbolTable& symbols, std::span<const int64_t> values);

// Sizes of inputs are there from the start; what data decides is bound by nodes as they run, in a
// loop anew in each round. Conditions on such symbols are checked as soon as all are bound.
class SymbolValues {
 public:
  // `values` of all symbols of the table. With `data_known`, those that data decides are bound too.
  SymbolValues(const SymbolTable& symbols, std::vector<int64_t> values, bool data_known);

  std::span<const int64_t> values() const { return values_; }
  // Error(kGuardViolated) when a condition on it does not hold.
  void bind(SymbolId id, int64_t value);
  void unbind(SymbolId id) { bound_[id] = false; }

 private:
  const SymbolTable& symbols_;
  std::vector<int64_t> values_;
  std::vector<bool> bound_;
  std::vector<std::vector<const Guard*>> guards_;  // about data, by each symbol in them
};

}  // namespace portwright
