// A node that runs its body a number of times: ONNX's Loop with a trip count and no condition.
#pragma once

#include <string>

#include "ir/program.h"

namespace portwright {

// portwright.loop.default(trips, counter, initial, captures) -> (last, stacked)
//   trips: how often; counter: the unbacked symbol that counts the rounds from 0 in the body.
//   initial: what the rounds carry on, before the first; captures: what the body reads besides.
//   body(carried..., captures...) -> (carried..., items...): types of carried values stay the same.
//   last: carried after the last round; stacked: each item of all rounds along a new first dim.
inline const std::string kLoop = "portwright.loop.default";

struct LoopNode {
  const Expr& trips;
  SymbolId counter;
  const ValueList& initial;
  const ValueList& captures;
  const ValueList& last;
  const ValueList& stacked;
  const Graph& body;
};

inline bool is_loop(const Node& node) { return node.op == kLoop; }

inline LoopNode as_loop(const Node& node) {
  return {std::get<Expr>(node.arguments.at(0)),
          *std::get<Expr>(node.arguments.at(1)).symbol(),
          std::get<ValueList>(node.arguments.at(2)),
          std::get<ValueList>(node.arguments.at(3)),
          std::get<ValueList>(node.outputs.at(0)),
          std::get<ValueList>(node.outputs.at(1)),
          node.graphs.at(0)};
}

}  // namespace portwright
