// The sizes at which torch's reader computes with the symbols of a .pt2 file. Internal to this
// folder.
#pragma once

#include <cstdint>
#include <vector>

#include "symbolic/symbol_table.h"

namespace portwright {

// A value for each symbol: the sample's sizes, with those of 0 and 1, which torch's reader would
// take for constants, raised to 2, and others raised where a condition on sizes needs it then.
std::vector<int64_t> file_hints(const SymbolTable& symbols);

}  // namespace portwright
