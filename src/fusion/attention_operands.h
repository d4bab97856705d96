// Operands of attention without what models write around them.
#pragma once

#include "fusion/pattern.h"

namespace portwright {

// The heads before each was repeated for its group of query heads (Transformers' repeat_kv):
// reshape(expand(unsqueeze(x, 2))). Others are given back.
ValueId before_repeating(const Definitions& definitions, ValueId id);

// A mask without the expansion over batch, heads and queries that broadcasting does anyway.
Argument before_expanding(const Definitions& definitions, const Argument& mask);

}  // namespace portwright
