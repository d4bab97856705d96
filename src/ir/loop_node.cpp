#include "ir/loop_node.h"

#include "ir/data_symbols.h"

namespace portwright {

std::vector<SymbolId> round_symbols(const LoopNode& loop) {
  std::vector<SymbolId> found = {loop.counter};
  for (const Node& node : loop.body.nodes) {
    if (binds_symbol(node)) found.push_back(bound_symbol(node));
    if (!is_loop(node)) continue;
    const std::vector<SymbolId> inner = round_symbols(as_loop(node));
    found.insert(found.end(), inner.begin(), inner.end());
  }
  return found;
}

Node reading_part(const Node& node, size_t lengths) {
  const LoopNode loop = as_loop(node);
  const Graph& body = loop.body;
  const size_t carried = loop.initial.size();
  const size_t first_length = carried + loop.stacked.size() - lengths;
  std::vector<bool> needed(body.values.size());
  std::vector<bool> kept(body.nodes.size());
  for (size_t i = 0; i < lengths; ++i) needed[body.outputs[first_length + i]] = true;
  // Once more while a value is needed in the next round that was not needed in this one.
  for (bool again = true; again;) {
    for (size_t i = body.nodes.size(); i-- > 0;) {
      const Node& inner = body.nodes[i];
      const bool binds =
          binds_symbol(inner) || (is_loop(inner) && round_symbols(as_loop(inner)).size() > 1);
      kept[i] = kept[i] || binds;
      for_each_output(inner, [&](ValueId id) { kept[i] = kept[i] || needed[id]; });
      if (!kept[i]) continue;
      for (const Argument& argument : inner.arguments) {
        for_each_value(argument, [&](ValueId id) { needed[id] = true; });
      }
    }
    again = false;
    for (size_t i = 0; i < carried; ++i) {
      if (!needed[body.inputs[i]] || needed[body.outputs[i]]) continue;
      needed[body.outputs[i]] = true;
      again = true;
    }
  }

  Graph part;
  part.values = body.values;
  ValueList initial, captures, last, stacked;
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    if (!needed[body.inputs[i]]) continue;
    part.inputs.push_back(body.inputs[i]);
    if (i >= carried) {
      captures.push_back(loop.captures[i - carried]);
      continue;
    }
    initial.push_back(loop.initial[i]);
    last.push_back(loop.last[i]);
    part.outputs.push_back(body.outputs[i]);
  }
  for (size_t i = 0; i < lengths; ++i) {
    stacked.push_back(loop.stacked[loop.stacked.size() - lengths + i]);
    part.outputs.push_back(body.outputs[first_length + i]);
  }
  for (size_t i = 0; i < body.nodes.size(); ++i) {
    if (kept[i]) part.nodes.push_back(body.nodes[i]);
  }
  Node result;
  result.op = node.op;
  result.provenance = node.provenance;
  result.arguments = {node.arguments[0], node.arguments[1], std::move(initial), std::move(captures),
                      IntList{}};
  result.outputs = {std::move(last), std::move(stacked), ValueList{}};
  result.graphs.push_back(std::move(part));
  return result;
}

}  // namespace portwright
