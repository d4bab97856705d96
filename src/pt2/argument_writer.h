// Operands as the .pt2 schema writes them. Internal to this folder.
#pragma once

#include <string>
#include <vector>

#include "ir/program.h"
#include "pt2/schema.h"
#include "pt2/symbol_nodes.h"

namespace portwright {

// Names of values by id; empty where a value has none yet.
using ValueNames = std::vector<std::string>;

// One operand for a schema position of this type; nodes that compute symbolic numbers are added.
Json write_argument(const Argument& argument, const std::string& type, const ValueNames& names,
                    SymbolNodes& symbols);

// All operands of a node, without those at the end that are the schema's defaults.
Json write_arguments(const Node& node, const Schema& schema, const ValueNames& names,
                     SymbolNodes& symbols);

}  // namespace portwright
