// Which operators give a tensor that shares memory with an operand. Internal to this folder.
#pragma once

#include "ir/program.h"
#include "pt2/schema.h"

namespace portwright {

enum class Sharing : uint8_t {
  kNone,     // memory of its own
  kView,     // a view of the first operand
  kSame,     // the first operand itself
  kUnknown,  // some operand's, in a way that is not followed
};

// Of a node as it was traced: where that depends on the layout, the types' strides say it.
Sharing sharing(const Node& node, const Schema& schema, const Graph& graph);

}  // namespace portwright
