// Where a symbol has a value: a size of an input everywhere, what data decides after the node that
// binds it, and what a loop's body binds inside that body only.
#pragma once

#include <optional>
#include <vector>

#include "ir/program.h"

namespace portwright {

// A symbol that a node uses where it has no value, if there is one.
std::optional<SymbolId> misplaced_symbol(const Graph& graph, const SymbolTable& symbols);

// The symbols that nodes use, those inside bodies included; some more than once.
std::vector<SymbolId> symbols_used(const Graph& graph);

}  // namespace portwright
