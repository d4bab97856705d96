// Views, joins and splits.
#include <algorithm>
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr int64_t kEnd = INT64_MAX;

// All operators whose result is the operand in row-major order under another shape.
void reshape(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.reshape(e.tensor(call.arg(0)), call.type(0).shape, call.result().shape));
}

void unsqueeze(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank() + 1);
  call.give(e.unsqueeze(e.tensor(call.arg(0)), {axis}));
}

// Only dims of size 1 go; the others that were named stay. Which ones the result shows: a size may
// be 1 by a condition alone.
void squeeze(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  std::vector<int64_t> asked;
  if (call.node.arguments.size() > 1) {
    asked = constant_dims(call.arg(1), type.rank());
  } else {
    for (size_t i = 0; i < type.rank(); ++i) asked.push_back(static_cast<int64_t>(i));
  }
  const std::vector<Expr>& kept = call.result().shape;
  std::vector<int64_t> axes;
  for (size_t i = 0; i < type.rank(); ++i) {
    const auto axis = static_cast<int64_t>(i);
    const bool named = std::find(asked.begin(), asked.end(), axis) != asked.end();
    const size_t at = i - axes.size();
    const bool stays = at < kept.size() && kept[at] == type.shape[i] && !kept[at].is_constant(1);
    if (named && !stays && axes.size() < type.rank() - kept.size()) axes.push_back(axis);
  }
  call.give(e.squeeze(e.tensor(call.arg(0)), axes));
}

std::vector<int64_t> identity_order(size_t rank) {
  std::vector<int64_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = static_cast<int64_t>(i);
  return order;
}

void transpose(const LoweringCall& call) {
  const size_t rank = call.type(0).rank();
  if (rank == 0) return call.give(call.emit.tensor(call.arg(0)));
  std::vector<int64_t> order = identity_order(rank);
  std::swap(order[constant_dim(call.arg(1), rank)], order[constant_dim(call.arg(2), rank)]);
  call.give(call.emit.transpose(call.emit.tensor(call.arg(0)), order));
}

void t(const LoweringCall& call) {
  if (call.type(0).rank() < 2) return call.give(call.emit.tensor(call.arg(0)));
  call.give(call.emit.transpose(call.emit.tensor(call.arg(0)), {1, 0}));
}

void permute(const LoweringCall& call) {
  const std::vector<int64_t> order = constant_dims(call.arg(1), call.type(0).rank());
  call.give(call.emit.transpose(call.emit.tensor(call.arg(0)), order));
}

void expand(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("Expand", {e.tensor(call.arg(0)), e.shape(call.result().shape)}));
}

void repeat_by(const LoweringCall& call, const IntList& repeats) {
  Emitter& e = call.emit;
  std::string value = e.tensor(call.arg(0));
  std::vector<int64_t> leading;
  for (size_t i = 0; i + call.type(0).rank() < repeats.size(); ++i) {
    leading.push_back(static_cast<int64_t>(i));
  }
  call.give(e.op("Tile", {e.unsqueeze(value, leading), e.shape(repeats)}));
}

void repeat(const LoweringCall& call) { repeat_by(call, std::get<IntList>(call.arg(1))); }

// tile(self, dims): fewer dims than self has are for its last ones.
void tile(const LoweringCall& call) {
  IntList repeats = std::get<IntList>(call.arg(1));
  const size_t rank = call.type(0).rank();
  if (repeats.size() < rank) repeats.insert(repeats.begin(), rank - repeats.size(), Expr(1));
  repeat_by(call, repeats);
}

void cat(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const int64_t axis = constant_dim(call.arg(1), call.result().rank());
  std::vector<std::string> parts;
  for (ValueId id : std::get<ValueList>(call.arg(0))) {
    const TensorType& type = e.type(id);
    if (type.rank() == 1 && type.shape[0].is_constant(0)) continue;  // torch skips these
    parts.push_back(e.cast(e.value(id), type.dtype, dtype));
  }
  call.give(parts.size() == 1 ? parts[0] : e.op("Concat", parts, {{"axis", axis}}));
}

void stack(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const int64_t axis = constant_dim(call.arg(1), call.result().rank());
  std::vector<std::string> parts;
  for (ValueId id : std::get<ValueList>(call.arg(0))) {
    parts.push_back(e.unsqueeze(e.cast(e.value(id), e.type(id).dtype, dtype), {axis}));
  }
  call.give(parts.size() == 1 ? parts[0] : e.op("Concat", parts, {{"axis", axis}}));
}

// slice(self, dim, start, end, step); ONNX clamps the bounds as Python does.
void slice(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  auto bound = [&](size_t i, int64_t fallback) {
    return call.has(i) ? e.dim(std::get<Expr>(call.arg(i))) : e.ints({fallback});
  };
  call.give(e.op(
      "Slice", {e.tensor(call.arg(0)), bound(2, 0), bound(3, kEnd), e.ints({axis}), bound(4, 1)}));
}

// narrow(self, dim, start, length).
void narrow(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  const Expr start = std::get<Expr>(call.arg(2));
  const Expr length = std::get<Expr>(call.arg(3));
  call.give(
      e.op("Slice", {e.tensor(call.arg(0)), e.dim(start), e.dim(start + length), e.ints({axis})}));
}

void select(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  call.give(e.op("Gather", {e.tensor(call.arg(0)), e.scalar_int(std::get<Expr>(call.arg(2)))},
                 {{"axis", axis}}));
}

// Parts with the sizes that the results have along the axis.
void split_as_results(const LoweringCall& call, int64_t axis) {
  Emitter& e = call.emit;
  std::vector<Expr> sizes;
  for (ValueId id : std::get<ValueList>(call.node.outputs.at(0))) {
    sizes.push_back(e.type(id).shape.at(axis));
  }
  if (sizes.size() == 1) return call.give_list({e.tensor(call.arg(0))});
  call.give_list(
      e.ops("Split", {e.tensor(call.arg(0)), e.shape(sizes)}, sizes.size(), {{"axis", axis}}));
}

void split(const LoweringCall& call) {
  split_as_results(call, constant_dim(call.arg(2), call.type(0).rank()));
}

void unbind(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  const size_t count = std::get<ValueList>(call.node.outputs.at(0)).size();
  const std::string operand = e.tensor(call.arg(0));
  std::vector<std::string> parts;
  parts.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    parts.push_back(e.op("Gather", {operand, e.scalar(static_cast<double>(i), DType::kInt64)},
                         {{"axis", axis}}));
  }
  call.give_list(parts);
}

void flip(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::vector<int64_t> axes = constant_dims(call.arg(1), call.type(0).rank());
  const size_t n = axes.size();
  if (n == 0) return call.give(e.tensor(call.arg(0)));
  call.give(e.op("Slice", {e.tensor(call.arg(0)), e.ints(std::vector<int64_t>(n, -1)),
                           e.ints(std::vector<int64_t>(n, -kEnd)), e.ints(axes),
                           e.ints(std::vector<int64_t>(n, -1))}));
}

// roll(self, shifts, dims): for each dim, the last `shift` elements come first.
void roll(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& shifts = std::get<IntList>(call.arg(1));
  const TensorType& type = call.type(0);
  std::vector<int64_t> axes = constant_dims(call.arg(2), type.rank());
  std::string value = e.tensor(call.arg(0));
  const bool flat = axes.empty();
  if (flat) {
    value = e.op("Reshape", {value, e.ints({-1})});
    axes = {0};
  }
  for (size_t i = 0; i < axes.size(); ++i) {
    const Expr cut = -shifts.at(i);
    const std::string at = e.dim(cut);
    const std::string axis = e.ints({axes[i]});
    if (cut.is_constant(0)) continue;
    const std::string tail = e.op("Slice", {value, at, e.ints({kEnd}), axis});
    const std::string head = e.op("Slice", {value, e.ints({0}), at, axis});
    value = e.op("Concat", {tail, head}, {{"axis", axes[i]}});
  }
  call.give(flat ? e.op("Reshape", {value, e.shape(type.shape)}) : value);
}

// Pads in torch's order (pairs from the last dim on) as ONNX's (all begins, all ends).
std::string padded(const LoweringCall& call, const std::string& mode, const std::string& value) {
  Emitter& e = call.emit;
  const auto& pads = std::get<IntList>(call.arg(1));
  const size_t rank = call.type(0).rank();
  std::vector<Expr> order(2 * rank, Expr(0));
  for (size_t i = 0; i + 1 < pads.size(); i += 2) {
    const size_t dim = rank - 1 - i / 2;
    order[dim] = pads[i];
    order[rank + dim] = pads[i + 1];
  }
  std::vector<std::string> operands = {e.tensor(call.arg(0)), e.shape(order)};
  if (!value.empty()) operands.push_back(value);
  return e.op("Pad", operands, {{"mode", mode}});
}

void constant_pad(const LoweringCall& call) {
  call.give(padded(call, "constant", call.emit.tensor(call.arg(2), call.result().dtype)));
}

void pad(const LoweringCall& call) {
  const std::string& mode = std::get<std::string>(call.arg(2));
  if (mode == "constant") {
    const Argument fill = call.has(3) ? call.arg(3) : Argument(0.0);
    return call.give(padded(call, mode, call.emit.tensor(fill, call.result().dtype)));
  }
  const std::string onnx_mode = mode == "replicate" ? "edge" : mode == "circular" ? "wrap" : mode;
  call.give(padded(call, onnx_mode, ""));
}

}  // namespace

std::span<const Lowering> shape_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.view.default", reshape},
      Lowering{"aten.reshape.default", reshape},
      Lowering{"aten._unsafe_view.default", reshape},
      Lowering{"aten._reshape_alias.default", reshape},
      Lowering{"aten.flatten.using_ints", reshape},
      Lowering{"aten.unflatten.int", reshape},
      Lowering{"aten.unsqueeze.default", unsqueeze},
      Lowering{"aten.squeeze.default", squeeze},
      Lowering{"aten.squeeze.dim", squeeze},
      Lowering{"aten.squeeze.dims", squeeze},
      Lowering{"aten.transpose.int", transpose},
      Lowering{"aten.t.default", t},
      Lowering{"aten.permute.default", permute},
      Lowering{"aten.expand.default", expand},
      Lowering{"aten.repeat.default", repeat},
      Lowering{"aten.tile.default", tile},
      Lowering{"aten.cat.default", cat},
      Lowering{"aten.stack.default", stack},
      Lowering{"aten.slice.Tensor", slice},
      Lowering{"aten.narrow.default", narrow},
      Lowering{"aten.select.int", select},
      Lowering{"aten.split.Tensor", split},
      Lowering{"aten.split_with_sizes.default", split},
      Lowering{"aten.chunk.default", split},
      Lowering{"aten.tensor_split.sections", split},
      Lowering{"aten.unbind.int", unbind},
      Lowering{"aten.flip.default", flip},
      Lowering{"aten.roll.default", roll},
      Lowering{"aten.pad.default", pad},
      Lowering{"aten.constant_pad_nd.default", constant_pad},
  };
  return kRows;
}

}  // namespace portwright
