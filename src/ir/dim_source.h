// Where a program reads a symbol's value: a dim of a user input.
#pragma once

#include <optional>

#include "ir/program.h"

namespace portwright {

// A user input's dim that is factor * symbol + offset.
struct DimSource {
  ValueId input = kNoValue;
  int64_t axis = 0;
  int64_t factor = 1;
  int64_t offset = 0;
};

// A dim that is the symbol itself before one that it is derived from; nothing for a symbol that is
// no input's.
std::optional<DimSource> find_source(const Program& program, SymbolId symbol);

}  // namespace portwright
