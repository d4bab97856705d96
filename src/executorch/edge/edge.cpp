#include "executorch/edge/edge.h"

#include "executorch/edge/lowering.h"
#include "executorch/kernels.h"
#include "ir/data_symbols.h"
#include "ir/loop_node.h"
#include "ir/missing_operators.h"
#include "ir/strides.h"

namespace portwright {
namespace {

bool is_known(const Node& node) {
  return find_kernel(node.op) != nullptr || find_edge_lowering(node.op) != nullptr ||
         binds_symbol(node) || is_delegate(node) || is_loop(node);
}

// as_strided reads memory as torch lays it out; here every tensor is contiguous: its elements are
// put in torch's order first.
Node in_memory_order(const Graph& graph, const Node& node, EdgeWriter& out) {
  if (node.op != "aten.as_strided.default") return node;
  const ValueId operand = std::get<ValueRef>(node.arguments.at(0)).id;
  const TensorType& type = graph.type(operand);
  if (!type.strides) return node;
  const auto order = memory_order(type);
  if (!order) throw Error(ErrorCode::kUnsupported, "as_strided of a tensor with gaps or overlaps");
  Node ordered = node;
  ordered.arguments[0] = ValueRef{out.permute(out.current(operand), *order)};
  return ordered;
}

void lower_graph(const Program& program, Graph& graph) {
  const std::vector<Node> nodes = std::move(graph.nodes);
  EdgeWriter out(graph, *program.symbols);
  for (const Node& node : nodes) {
    out.begin(node);
    try {
      out.give(in_memory_order(graph, node, out));
    } catch (const std::out_of_range& error) {
      throw Error(ErrorCode::kInternal, node.op + ": " + error.what(), program.source(node),
                  program.module_path(node));
    } catch (const Error& error) {
      if (error.source().known()) throw;
      throw Error(error.code(), "cannot lower " + node.op + " to ExecuTorch: " + error.what(),
                  program.source(node), program.module_path(node));
    }
  }
  for (ValueId& id : graph.outputs) id = out.current(id);
  graph.nodes = out.take();
  for (Node& node : graph.nodes) {
    if (is_delegate(node)) continue;
    for (Graph& body : node.graphs) lower_graph(program, body);
  }
}

}  // namespace

void lower_to_edge(Program& program) {
  check_operators(program,
                  "have no kernel in ExecuTorch " + std::string(kernel_table_version()) +
                      " and no lowering to those it has",
                  is_known, [](const Node& node) { return !is_delegate(node); });
  lower_graph(program, program.graph);
}

}  // namespace portwright
