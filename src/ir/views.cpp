#include "ir/views.h"

#include <string_view>
#include <unordered_map>

#include "ir/strides.h"

namespace portwright {
namespace {

// Writes `part`, the new elements of a view, back into `whole`, the view's operand. kNoValue when
// that cannot be done.
using WriteBack = ValueId (*)(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step);

TensorType contiguous(DType dtype, std::vector<Expr> shape) {
  return {dtype, std::move(shape), std::nullopt};
}

// A new value in place of `whole`.
ValueId replaced(ViewGraph& graph, ValueId whole, const std::string& op,
                 std::vector<Argument> arguments) {
  const TensorType& type = graph.type(whole);
  return graph.add(op, std::move(arguments), contiguous(type.dtype, type.shape));
}

ValueId reshaped(ViewGraph& graph, ValueId value, const IntList& shape) {
  return graph.add("aten.reshape.default", {ValueRef{value}, shape},
                   contiguous(graph.type(value).dtype, shape));
}

size_t position(const Expr& dim, size_t rank) {
  const auto constant = dim.maybe_constant();
  const auto count = static_cast<int64_t>(rank);
  if (!constant || *constant < -count || *constant >= count) {
    throw Error(ErrorCode::kInvalidArgument, "a view of the dim " + to_string(dim) +
                                                 " of a tensor with " + std::to_string(rank) +
                                                 " dims");
  }
  return static_cast<size_t>(*constant < 0 ? *constant + count : *constant);
}

size_t position(const Argument& dim, size_t rank) { return position(std::get<Expr>(dim), rank); }

ValueId back_by_reshape(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep&) {
  return reshaped(graph, part, graph.type(whole).shape);
}

ValueId back_by_transpose(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  return replaced(graph, whole, "aten.transpose.int",
                  {ValueRef{part}, step.arguments[1], step.arguments[2]});
}

// t and mT.
ValueId back_by_swapped_ends(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep&) {
  if (graph.type(whole).rank() < 2) return part;
  return replaced(graph, whole, "aten.transpose.int", {ValueRef{part}, Expr(-2), Expr(-1)});
}

ValueId back_by_permute(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  const auto& dims = std::get<IntList>(step.arguments[1]);
  IntList inverse(dims.size());
  for (size_t i = 0; i < dims.size(); ++i) {
    inverse[position(dims[i], dims.size())] = static_cast<int64_t>(i);
  }
  return replaced(graph, whole, "aten.permute.default", {ValueRef{part}, inverse});
}

ValueId back_by_slice_scatter(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  const auto& a = step.arguments;
  return replaced(graph, whole, "aten.slice_scatter.default",
                  {ValueRef{whole}, ValueRef{part}, a[1], a[2], a[3], a[4]});
}

ValueId back_by_select_scatter(ViewGraph& graph, ValueId whole, ValueId part,
                               const ViewStep& step) {
  return replaced(graph, whole, "aten.select_scatter.default",
                  {ValueRef{whole}, ValueRef{part}, step.arguments[1], step.arguments[2]});
}

ValueId back_by_diagonal_scatter(ViewGraph& graph, ValueId whole, ValueId part,
                                 const ViewStep& step) {
  const auto& a = step.arguments;
  return replaced(graph, whole, "aten.diagonal_scatter.default",
                  {ValueRef{whole}, ValueRef{part}, a[1], a[2], a[3]});
}

ValueId back_by_as_strided_scatter(ViewGraph& graph, ValueId whole, ValueId part,
                                   const ViewStep& step) {
  const auto& a = step.arguments;
  // It writes to memory, whose order is that of the type.
  if (!graph.type(whole).strides) {
    whole = replaced(graph, whole, "aten.clone.default",
                     {ValueRef{whole}, MemoryFormat{"contiguous_format"}});
  }
  return replaced(graph, whole, "aten.as_strided_scatter.default",
                  {ValueRef{whole}, ValueRef{part}, a[1], a[2], a[3]});
}

ValueId back_by_unbind(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  return replaced(graph, whole, "aten.select_scatter.default",
                  {ValueRef{whole}, ValueRef{part}, step.arguments[1],
                   Expr(static_cast<int64_t>(step.output))});
}

// split.Tensor(self, size, dim), split_with_sizes(self, sizes, dim).
ValueId back_by_split(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  Expr start = 0;
  if (const auto* sizes = std::get_if<IntList>(&step.arguments[1])) {
    for (uint32_t i = 0; i < step.output; ++i) start = start + sizes->at(i);
  } else {
    start = std::get<Expr>(step.arguments[1]) * Expr(step.output);
  }
  const std::vector<Expr>& shape = graph.type(part).shape;
  const size_t dim = position(step.arguments[2], shape.size());
  const Expr end = start + shape[dim];
  return replaced(graph, whole, "aten.slice_scatter.default",
                  {ValueRef{whole}, ValueRef{part}, Expr(dim), start, end, Expr(1)});
}

ValueId back_unchanged(ViewGraph&, ValueId, ValueId part, const ViewStep&) { return part; }

ValueId back_by_view_as_complex(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep&) {
  return replaced(graph, whole, "aten.view_as_complex.default", {ValueRef{part}});
}

ValueId back_by_view_as_real(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep&) {
  return replaced(graph, whole, "aten.view_as_real.default", {ValueRef{part}});
}

// Any view without overlap: the same view of the elements' positions says where they go.
ValueId back_by_positions(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  const DType dtype = graph.type(whole).dtype;
  const IntList shape = graph.type(whole).shape;
  const IntList flat = {product(shape)};
  const IntList flat_part = {product(graph.type(part).shape)};
  const ValueId positions =
      graph.add("aten.arange.default", {flat[0], DType::kInt64, None{}, None{}, None{}},
                contiguous(DType::kInt64, flat));
  const ValueId places =
      reshaped(graph, graph.replay(step, reshaped(graph, positions, shape)), flat_part);
  const ValueId written = graph.add("aten.scatter.src",
                                    {ValueRef{reshaped(graph, whole, flat)}, Expr(0),
                                     ValueRef{places}, ValueRef{reshaped(graph, part, flat_part)}},
                                    contiguous(dtype, flat));
  return reshaped(graph, written, shape);
}

// unfold(self, dim, size, step): windows that overlap take no writes, as in eager.
ValueId back_by_unfold(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  const Predicate apart = Predicate::compare(std::get<Expr>(step.arguments[2]), Relation::kLe,
                                             std::get<Expr>(step.arguments[3]));
  if (!graph.holds(apart)) return kNoValue;
  return back_by_positions(graph, whole, part, step);
}

// An expanded dim has one element in several places and takes no writes, as in eager.
ValueId back_by_expand(ViewGraph& graph, ValueId whole, ValueId part, const ViewStep& step) {
  const Predicate same = Predicate::compare(product(graph.type(whole).shape), Relation::kEq,
                                            product(graph.type(part).shape));
  if (!graph.holds(same)) return kNoValue;
  return back_by_reshape(graph, whole, part, step);
}

const std::unordered_map<std::string_view, WriteBack>& write_backs() {
  static const std::unordered_map<std::string_view, WriteBack> kTable = {
      {"aten.slice.Tensor", back_by_slice_scatter},
      {"aten.select.int", back_by_select_scatter},
      {"aten.transpose.int", back_by_transpose},
      {"aten.swapaxes.default", back_by_transpose},
      {"aten.swapdims.default", back_by_transpose},
      {"aten.t.default", back_by_swapped_ends},
      {"aten.mT.default", back_by_swapped_ends},
      {"aten.permute.default", back_by_permute},
      {"aten.movedim.int", back_by_positions},
      {"aten.movedim.intlist", back_by_positions},
      {"aten.moveaxis.int", back_by_positions},
      {"aten.moveaxis.intlist", back_by_positions},
      {"aten.numpy_T.default", back_by_positions},
      {"aten.view.default", back_by_reshape},
      {"aten.view_as.default", back_by_reshape},
      {"aten.reshape.default", back_by_reshape},
      {"aten.reshape_as.default", back_by_reshape},
      {"aten.ravel.default", back_by_reshape},
      {"aten._unsafe_view.default", back_by_reshape},
      {"aten._reshape_alias.default", back_by_reshape},
      {"aten.flatten.using_ints", back_by_reshape},
      {"aten.unflatten.int", back_by_reshape},
      {"aten.unsqueeze.default", back_by_reshape},
      {"aten.squeeze.default", back_by_reshape},
      {"aten.squeeze.dim", back_by_reshape},
      {"aten.squeeze.dims", back_by_reshape},
      {"aten.diagonal.default", back_by_diagonal_scatter},
      {"aten.linalg_diagonal.default", back_by_positions},
      {"aten.as_strided.default", back_by_as_strided_scatter},
      {"aten.narrow.default", back_by_positions},
      {"aten.unbind.int", back_by_unbind},
      {"aten.split.Tensor", back_by_split},
      {"aten.split.sizes", back_by_split},
      {"aten.split_with_sizes.default", back_by_split},
      {"aten.expand.default", back_by_expand},
      {"aten.expand_as.default", back_by_expand},
      {"aten.broadcast_to.default", back_by_expand},
      {"aten.unfold.default", back_by_unfold},
      {"aten.chunk.default", back_by_positions},
      {"aten.tensor_split.sections", back_by_positions},
      {"aten.tensor_split.indices", back_by_positions},
      {"aten.hsplit.int", back_by_positions},
      {"aten.hsplit.array", back_by_positions},
      {"aten.vsplit.int", back_by_positions},
      {"aten.vsplit.array", back_by_positions},
      {"aten.dsplit.int", back_by_positions},
      {"aten.dsplit.array", back_by_positions},
      {"aten.alias.default", back_unchanged},
      {"aten.view_as_real.default", back_by_view_as_complex},
      {"aten.view_as_complex.default", back_by_view_as_real},
  };
  return kTable;
}

// The chain from the base to the view, in that order.
std::vector<const ViewStep*> chain_of(const ViewStep* last) {
  std::vector<const ViewStep*> chain;
  for (const ViewStep* step = last; step != nullptr; step = step->parent.get()) {
    chain.insert(chain.begin(), step);
  }
  return chain;
}

ValueId filled(ViewGraph& graph, const Argument& like, const Argument& value) {
  return replaced(graph, std::get<ValueRef>(like).id, "aten.full_like.default",
                  {like, value, None{}, None{}, None{}, None{}, None{}});
}

using StatedWrite = ValueId (*)(ViewGraph& graph, const std::vector<Argument>& arguments);
const std::unordered_map<std::string_view, StatedWrite>& stated_writes() {
  static const StatedWrite kOperand = [](ViewGraph& graph, const std::vector<Argument>& arguments) {
    const auto* tensor = std::get_if<ValueRef>(&arguments.at(1));
    return tensor != nullptr ? tensor->id : filled(graph, arguments[0], arguments[1]);
  };
  static const std::unordered_map<std::string_view, StatedWrite> kTable = {
      {"aten.copy_.default", kOperand},
      {"aten.fill_.Tensor", kOperand},
      {"aten.fill_.Scalar", kOperand},
      {"aten.zero_.default",
       [](ViewGraph& graph, const std::vector<Argument>& arguments) {
         return filled(graph, arguments.at(0), Expr(0));
       }},
  };
  return kTable;
}

}  // namespace

ValueId replay_chain(ViewGraph& graph, const ViewStep* last, ValueId base) {
  for (const ViewStep* step : chain_of(last)) base = graph.replay(*step, base);
  return base;
}

ValueId write_through(ViewGraph& graph, const ViewStep* last, ValueId base, ValueId part) {
  const std::vector<const ViewStep*> chain = chain_of(last);
  std::vector<ValueId> wholes;
  for (const ViewStep* step : chain) {
    wholes.push_back(base);
    if (step != chain.back()) base = graph.replay(*step, base);
  }
  for (size_t i = chain.size(); i-- > 0;) {
    const auto found = write_backs().find(chain[i]->op);
    part =
        found == write_backs().end() ? kNoValue : found->second(graph, wholes[i], part, *chain[i]);
    if (part == kNoValue) graph.refuse_write(chain[i]->op);
  }
  return part;
}

std::optional<ValueId> stated_write(ViewGraph& graph, const std::string& op,
                                    const std::vector<Argument>& arguments) {
  const auto found = stated_writes().find(op);
  if (found == stated_writes().end()) return std::nullopt;
  return found->second(graph, arguments);
}

bool states_what_it_writes(const std::string& op) { return stated_writes().contains(op); }

ValueId conform(ViewGraph& graph, ValueId value, const TensorType& target) {
  if (graph.type(value).dtype != target.dtype) {
    value = graph.add("aten._to_copy.default",
                      {ValueRef{value}, target.dtype, None{}, None{}, None{}, false, None{}},
                      contiguous(target.dtype, graph.type(value).shape));
  }
  if (graph.type(value).shape == target.shape) return value;
  return graph.add("aten.expand.default", {ValueRef{value}, IntList(target.shape), false},
                   contiguous(target.dtype, target.shape));
}

}  // namespace portwright
