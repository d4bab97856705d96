#include "executorch/xnnpack/prepare.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "executorch/xnnpack/attention.h"
#include "executorch/xnnpack/rows.h"
#include "fusion/rewriter.h"
#include "passes/pass.h"

namespace portwright {
namespace {

// Operators whose operands broadcast.
constexpr std::array<std::string_view, 6> kBroadcasting = {
    "aten.add.Tensor", "aten.sub.Tensor",      "aten.mul.Tensor",
    "aten.div.Tensor", "aten.maximum.default", "aten.minimum.default"};

// An operand that was expanded to what broadcasting with the other one makes of it anyway.
Node without_expansions(const Rewriter& out, Node node) {
  if (std::find(kBroadcasting.begin(), kBroadcasting.end(), node.op) == kBroadcasting.end()) {
    return node;
  }
  for (size_t i = 0; i < 2; ++i) {
    const auto* other = std::get_if<ValueRef>(&node.arguments[1 - i]);
    const Node* expand = out.definitions().of(node.arguments[i], "aten.expand.default");
    const bool needless = expand != nullptr && other != nullptr &&
                          out.type(other->id).shape == out.type(node.result()).shape;
    if (needless) node.arguments[i] = expand->arguments[0];
  }
  return node;
}

}  // namespace

void prepare_program_for_xnnpack(Program& program) {
  Graph& graph = program.graph;
  const std::vector<Node> nodes = std::move(graph.nodes);
  const Definitions definitions(program, graph, nodes);
  Rewriter out(graph, definitions, FusionTarget{});
  AttentionRewriter attention(out, *program.symbols);
  RowFilters filters(program);
  for (const Node& node : nodes) {
    out.begin(node);
    const bool written = attention.rewrite(node) || convolve_rows(out, node, filters);
    if (!written) out.keep(without_expansions(out, node));
  }
  graph.nodes = out.take();
  for (ValueId& id : graph.outputs) id = out.current(id);
  filters.add_inputs();
  fold_constants(program);
  eliminate_dead_code(program);
}

}  // namespace portwright
