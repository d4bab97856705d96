// A node that runs its body a number of times: ONNX's Loop with a trip count and no condition.
#pragma once

#include <string>
#include <vector>

#include "ir/program.h"

namespace portwright {

// portwright.loop.default(trips, counter, initial, captures, dims) -> (last, stacked, joined)
//   trips: how often; counter: the unbacked symbol that counts the rounds from 0 in the body.
//   initial: what the rounds carry on, before the first; captures: what the body reads besides.
//   body(carried..., captures...) -> (carried..., stacked items..., joined items...): types of
//   carried values stay the same. Its binding nodes bind their symbols anew in each round; no
//   symbol of a round is known outside.
//   last: carried after the last round; stacked: each item of all rounds along a new first dim;
//   joined: each item of all rounds along its dim of dims, in which rounds may differ.
inline const std::string kLoop = "portwright.loop.default";

struct LoopNode {
  const Expr& trips;
  SymbolId counter;
  const ValueList& initial;
  const ValueList& captures;
  const IntList& dims;
  const ValueList& last;
  const ValueList& stacked;
  const ValueList& joined;
  const Graph& body;
};

inline bool is_loop(const Node& node) { return node.op == kLoop; }

inline LoopNode as_loop(const Node& node) {
  return {std::get<Expr>(node.arguments.at(0)),
          *std::get<Expr>(node.arguments.at(1)).symbol(),
          std::get<ValueList>(node.arguments.at(2)),
          std::get<ValueList>(node.arguments.at(3)),
          std::get<IntList>(node.arguments.at(4)),
          std::get<ValueList>(node.outputs.at(0)),
          std::get<ValueList>(node.outputs.at(1)),
          std::get<ValueList>(node.outputs.at(2)),
          node.graphs.at(0)};
}

// The symbols that have a value of their own in each round: the counter and what the body binds,
// loops inside included.
std::vector<SymbolId> round_symbols(const LoopNode& loop);

// The loop without what is not needed to bind the symbols of its rounds and for the last `lengths`
// of what it stacks, which are then all that it stacks.
Node reading_part(const Node& node, size_t lengths);

}  // namespace portwright
