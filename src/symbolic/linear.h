// Linear forms of one symbol, as derived Dims are.
#pragma once

#include <optional>

#include "symbolic/expr.h"

namespace portwright {

// factor * symbol + offset, with factor != 0.
struct Linear {
  SymbolId symbol = 0;
  int64_t factor = 1;
  int64_t offset = 0;
};

// The expression as a linear form of its one symbol; nothing when it is anything else.
std::optional<Linear> as_linear(const Expr& expr);

}  // namespace portwright
