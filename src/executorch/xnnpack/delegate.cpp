#include "executorch/xnnpack/delegate.h"

#include "executorch/xnnpack/builder.h"
#include "executorch/xnnpack/lowering.h"

namespace portwright {

XnnDelegate lower_to_xnnpack(const Program& program, const Node& delegate, const Bounds& bounds) {
  const XnnScope scope(program, delegate);
  const Graph& body = scope.graph();
  XnnBuilder builder(scope, bounds);
  XnnDelegate made;
  const auto& arguments = std::get<ValueList>(delegate.arguments.at(0));
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (scope.constant(body.inputs.at(i)) != nullptr) continue;
    builder.input(body.inputs[i]);
    made.inputs.push_back(arguments[i]);
  }
  for (const Node& node : body.nodes) {
    const XnnLowering* row = find_xnn_lowering(node.op);
    if (row == nullptr) {
      throw Error(ErrorCode::kInternal, "a delegate holds " + node.op, program.source(node),
                  program.module_path(node));
    }
    row->lower(builder, {scope, node});
  }
  XnnGraph graph = builder.finish(body.outputs);
  made.payload = serialize(graph);
  made.named_data = std::move(graph.constants);
  return made;
}

}  // namespace portwright
