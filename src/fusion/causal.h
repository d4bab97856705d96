// What an attention mask is known to say.
#pragma once

#include <optional>
#include <variant>

#include "fusion/pattern.h"

namespace portwright {

// How far behind its position in the query a query stands: an int, or a scalar tensor.
using Offset = std::variant<Expr, ValueId>;

struct MaskFacts {
  // Set when no query sees a key that lies after it: key j is hidden unless j <= i + offset.
  std::optional<Offset> causal;
  // The mask hides nothing else.
  bool only_causal = false;
};

// Of a bool mask, True where a key is seen.
MaskFacts facts_of(const Definitions& definitions, const Argument& mask);

// Whether a bool tensor is known to be True everywhere.
bool hides_nothing(const Definitions& definitions, const Argument& mask);

// The offset when the tensor counts up along `axis` (from the end, -1 or -2): offset, offset + 1,
// ... and its other dims only repeat that.
std::optional<Offset> counts_along(const Definitions& definitions, const Argument& tensor,
                                   int64_t axis);

}  // namespace portwright
