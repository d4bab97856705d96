#include "fusion/rewriter.h"

#include <algorithm>

namespace portwright {
namespace {

void rewrite_graph(const Program& program, Graph& graph, const FusionTarget& target,
                   const std::vector<Fusion>& fusions, std::set<std::string>& notes) {
  std::vector<Node> nodes = std::move(graph.nodes);
  for (Node& node : nodes) {
    for (Graph& body : node.graphs) rewrite_graph(program, body, target, fusions, notes);
  }
  const Definitions definitions(program, graph, nodes);
  Rewriter out(graph, definitions, target);
  for (const Node& node : nodes) {
    out.begin(node);
    const bool single = Definitions::has_one_result(node);
    const bool fused = single && std::any_of(fusions.begin(), fusions.end(),
                                             [&](Fusion fusion) { return fusion(out, node); });
    if (!fused) out.keep(node);
  }
  graph.nodes = out.take();
  for (ValueId& id : graph.outputs) id = out.current(id);
  notes.insert(out.notes().begin(), out.notes().end());
}

}  // namespace

std::set<std::string> rewrite(Program& program, const FusionTarget& target,
                              const std::vector<Fusion>& fusions) {
  std::set<std::string> notes;
  rewrite_graph(program, program.graph, target, fusions, notes);
  return notes;
}

}  // namespace portwright
