#include "pt2/sharing.h"

#include <map>
#include <string_view>

#include "ir/strides.h"

namespace portwright {
namespace {

using Rule = Sharing (*)(const Node& node, const Graph& graph);

const TensorType& operand(const Node& node, const Graph& graph) {
  return graph.type(std::get<ValueRef>(node.arguments.at(0)).id);
}

Sharing same(const Node&, const Graph&) { return Sharing::kSame; }
Sharing unknown(const Node&, const Graph&) { return Sharing::kUnknown; }

// conj and what undoes it: nothing on real numbers.
Sharing same_if_real(const Node& node, const Graph& graph) {
  return is_complex(operand(node, graph).dtype) ? Sharing::kUnknown : Sharing::kSame;
}

Sharing same_if_laid_out_so(const Node& node, const Graph& graph) {
  const TensorType& result = graph.type(node.result());
  const TensorType& from = operand(node, graph);
  return from.dtype == result.dtype && from.strides == result.strides ? Sharing::kSame
                                                                      : Sharing::kNone;
}

// to(..., copy, memory_format): a copy only where something changes.
Sharing same_if_unchanged(const Node& node, const Graph& graph) {
  const size_t count = node.arguments.size();
  if (node.arguments.at(count - 2) == Argument(true)) return Sharing::kNone;
  const auto* format = std::get_if<MemoryFormat>(&node.arguments.back());
  if (format != nullptr && format->name != "preserve_format") {
    return same_if_laid_out_so(node, graph);
  }
  return operand(node, graph).dtype == graph.type(node.result()).dtype ? Sharing::kSame
                                                                       : Sharing::kNone;
}

Sharing same_if_of_this_dtype(const Node& node, const Graph& graph) {
  return operand(node, graph).dtype == graph.type(node.result()).dtype ? Sharing::kSame
                                                                       : Sharing::kNone;
}

// reshape and its like: a view where the layout allows one, else a copy.
Sharing view_if_possible(const Node& node, const Graph& graph) {
  return view_strides(operand(node, graph), graph.type(node.result()).shape) ? Sharing::kView
                                                                             : Sharing::kNone;
}

// dropout(input, p, train).
Sharing same_if_it_drops_nothing(const Node& node, const Graph&) {
  const bool trains = node.arguments.at(2) == Argument(true);
  return trains && node.arguments.at(1) != Argument(0.0) ? Sharing::kNone : Sharing::kSame;
}

// einsum and cartesian_prod of one tensor give a view of it.
Sharing unknown_if_alone(const Node& node, const Graph&) {
  size_t tensors = 0;
  for (const Argument& argument : node.arguments) {
    for_each_value(argument, [&](ValueId) { ++tensors; });
  }
  return tensors == 1 ? Sharing::kUnknown : Sharing::kNone;
}

// Where the schema's marks are not all: it marks both what is always a view and what may be one,
// and marks nothing for the last rows.
const std::map<std::string_view, Rule>& rules() {
  static const std::map<std::string_view, Rule> kTable = {
      {"aten.alias.default", &same},
      {"aten.detach.default", &same},
      {"aten.lift_fresh.default", &same},
      {"aten.positive.default", &same},
      {"aten.pin_memory.default", &unknown},
      {"aten.conj.default", &same_if_real},
      {"aten.resolve_conj.default", &same_if_real},
      {"aten.resolve_neg.default", &same_if_real},
      {"aten._autocast_to_full_precision.default", &same_if_of_this_dtype},
      {"aten._autocast_to_reduced_precision.default", &same_if_of_this_dtype},
      {"aten.contiguous.default", &same_if_laid_out_so},
      {"aten.to.device", &same_if_unchanged},
      {"aten.to.dtype", &same_if_unchanged},
      {"aten.to.dtype_layout", &same_if_unchanged},
      {"aten.to.other", &same_if_unchanged},
      {"aten.reshape.default", &view_if_possible},
      {"aten.reshape_as.default", &view_if_possible},
      {"aten.flatten.using_ints", &view_if_possible},
      {"aten.ravel.default", &view_if_possible},
      {"aten.type_as.default", &same_if_of_this_dtype},
      {"aten.dropout.default", &same_if_it_drops_nothing},
      {"aten.alpha_dropout.default", &same_if_it_drops_nothing},
      {"aten.feature_dropout.default", &same_if_it_drops_nothing},
      {"aten.feature_alpha_dropout.default", &same_if_it_drops_nothing},
      {"aten.atleast_1d.default", &unknown},
      {"aten.atleast_1d.Sequence", &unknown},
      {"aten.atleast_2d.default", &unknown},
      {"aten.atleast_2d.Sequence", &unknown},
      {"aten.atleast_3d.default", &unknown},
      {"aten.atleast_3d.Sequence", &unknown},
      {"aten.broadcast_tensors.default", &unknown},
      {"aten.meshgrid.default", &unknown},
      {"aten.meshgrid.indexing", &unknown},
      {"aten.sum_to_size.default", &unknown},
      {"aten.einsum.default", &unknown_if_alone},
      {"aten.cartesian_prod.default", &unknown_if_alone},
  };
  return kTable;
}

}  // namespace

Sharing sharing(const Node& node, const Schema& schema, const Graph& graph) {
  const auto rule = rules().find(node.op);
  if (rule == rules().end()) return schema.makes_view ? Sharing::kView : Sharing::kNone;
  return rule->second(node, graph);
}

}  // namespace portwright
