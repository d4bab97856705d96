// Reading and writing by index.
#include <algorithm>
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr int64_t kEnd = INT64_MAX;

// embedding(weight, indices, ...).
void embedding(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("Gather", {e.tensor(call.arg(0)), e.tensor(call.arg(1))}, {{"axis", int64_t{0}}}));
}

void index_select(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  call.give(e.op("Gather", {e.tensor(call.arg(0)), e.tensor(call.arg(2))}, {{"axis", axis}}));
}

void gather(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  call.give(
      e.op("GatherElements", {e.tensor(call.arg(0)), e.tensor(call.arg(2))}, {{"axis", axis}}));
}

// The indexed dims of an index operand, in order.
std::vector<int64_t> indexed_dims(const ValueList& list) {
  std::vector<int64_t> dims;
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] != kNoValue) dims.push_back(static_cast<int64_t>(i));
  }
  return dims;
}

bool is_mask(const LoweringCall& call, ValueId id) {
  return id != kNoValue && call.emit.type(id).dtype == DType::kBool;
}

void refuse_masks(const LoweringCall& call, const ValueList& list) {
  for (ValueId id : list) {
    if (is_mask(call, id)) {
      throw Error(ErrorCode::kUnsupported,
                  "a bool mask beside other indices, or to write through, is not lowered");
    }
  }
}

// x[:, mask]: the masked dims go to the front, where GatherND takes the true positions, and the
// dim that they become goes back to where the mask stood.
void index_by_mask(const LoweringCall& call, size_t position, ValueId mask) {
  Emitter& e = call.emit;
  const size_t rank = call.type(0).rank();
  const size_t masked = e.type(mask).rank();
  std::vector<int64_t> to_front, back;
  for (size_t i = 0; i < masked; ++i) to_front.push_back(static_cast<int64_t>(position + i));
  for (size_t i = 0; i < rank; ++i) {
    if (i < position || i >= position + masked) to_front.push_back(static_cast<int64_t>(i));
  }
  for (size_t i = 0; i < position; ++i) back.push_back(static_cast<int64_t>(i) + 1);
  back.push_back(0);
  for (size_t i = position + 1; i < rank - masked + 1; ++i) back.push_back(static_cast<int64_t>(i));
  const std::string x = e.tensor(call.arg(0));
  const std::string front = position == 0 ? x : e.transpose(x, to_front);
  const std::string places = e.transpose(e.op("NonZero", {e.value(mask)}), {1, 0});
  const std::string taken = e.op("GatherND", {front, places});
  call.give(position == 0 ? taken : e.transpose(taken, back));
}

// The common shape of the index tensors.
std::vector<Expr> common_shape(const LoweringCall& call, const ValueList& list) {
  std::vector<Expr> shape;
  for (ValueId id : list) {
    if (id == kNoValue) continue;
    const std::vector<Expr>& own = call.emit.type(id).shape;
    if (own.size() > shape.size()) shape.insert(shape.begin(), own.size() - shape.size(), Expr(1));
    for (size_t i = 0; i < own.size(); ++i) {
      Expr& size = shape[shape.size() - own.size() + i];
      if (size.is_constant(1)) size = own[i];
    }
  }
  return shape;
}

// The index tensors broadcast together and stacked as GatherND's and ScatterND's indices.
std::string stacked_indices(const LoweringCall& call, const ValueList& list,
                            const std::vector<Expr>& common) {
  Emitter& e = call.emit;
  std::vector<std::string> parts;
  for (ValueId id : list) {
    if (id == kNoValue) continue;
    std::string index = e.cast(e.value(id), e.type(id).dtype, DType::kInt64);
    if (e.type(id).shape != common) index = e.op("Expand", {index, e.shape(common)});
    parts.push_back(e.unsqueeze(index, {static_cast<int64_t>(common.size())}));
  }
  return parts.size() == 1 ? parts[0]
                           : e.op("Concat", parts, {{"axis", static_cast<int64_t>(common.size())}});
}

// index(self, indices): the indexed dims come first, are gathered, and move back to where the first
// of them stood when they are adjacent (numpy's advanced indexing).
void index(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& list = std::get<ValueList>(call.arg(1));
  const std::vector<int64_t> dims = indexed_dims(list);
  if (dims.size() == 1 && is_mask(call, list[dims[0]])) {
    return index_by_mask(call, static_cast<size_t>(dims[0]), list[dims[0]]);
  }
  refuse_masks(call, list);
  const TensorType& type = call.type(0);
  const std::string self = e.tensor(call.arg(0));
  if (dims.size() == 1) {
    const ValueId id = list[dims[0]];
    const std::string index = e.cast(e.value(id), e.type(id).dtype, DType::kInt64);
    return call.give(e.op("Gather", {self, index}, {{"axis", dims[0]}}));
  }
  std::vector<int64_t> order = dims;
  for (size_t i = 0; i < type.rank(); ++i) {
    if (std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) == dims.end()) {
      order.push_back(static_cast<int64_t>(i));
    }
  }
  const std::vector<Expr> common = common_shape(call, list);
  const std::string front =
      std::is_sorted(order.begin(), order.end()) ? self : e.transpose(self, order);
  std::string result = e.op("GatherND", {front, stacked_indices(call, list, common)});
  const bool adjacent = dims.back() - dims.front() + 1 == static_cast<int64_t>(dims.size());
  if (adjacent && dims.front() > 0) {
    // [common..., before..., after...] -> [before..., common..., after...]
    const auto inner = static_cast<int64_t>(common.size());
    std::vector<int64_t> back;
    back.reserve(call.result().rank());
    for (int64_t i = 0; i < dims.front(); ++i) back.push_back(inner + i);
    for (int64_t i = 0; i < inner; ++i) back.push_back(i);
    for (size_t i = back.size(); i < call.result().rank(); ++i) {
      back.push_back(static_cast<int64_t>(i));
    }
    result = e.transpose(result, back);
  }
  call.give(result);
}

// index_put(self, indices, values, accumulate) with indices for the leading dims; a single bool
// mask with a scalar value is a selection.
void index_put(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& list = std::get<ValueList>(call.arg(1));
  const DType dtype = call.result().dtype;
  const bool accumulate = call.has(3) && flag(call.arg(3));
  if (list.size() == 1 && e.type(list[0]).dtype == DType::kBool && call.type(2).shape.empty()) {
    const TensorType& mask = e.type(list[0]);
    std::vector<int64_t> trailing;
    for (size_t i = mask.rank(); i < call.type(0).rank(); ++i) {
      trailing.push_back(static_cast<int64_t>(i));
    }
    return call.give(e.op("Where", {e.unsqueeze(e.value(list[0]), trailing),
                                    e.tensor(call.arg(2), dtype), e.tensor(call.arg(0))}));
  }
  refuse_masks(call, list);
  const std::vector<int64_t> dims = indexed_dims(list);
  if (dims.back() + 1 != static_cast<int64_t>(dims.size())) {
    throw Error(ErrorCode::kUnsupported, "index_put that skips leading dims");
  }
  const std::vector<Expr> common = common_shape(call, list);
  std::vector<Expr> values_shape = common;
  const TensorType& type = call.type(0);
  values_shape.insert(values_shape.end(), type.shape.begin() + static_cast<int64_t>(dims.size()),
                      type.shape.end());
  std::string values = e.tensor(call.arg(2), dtype);
  if (call.type(2).shape != values_shape) values = e.op("Expand", {values, e.shape(values_shape)});
  call.give(e.op("ScatterND", {e.tensor(call.arg(0)), stacked_indices(call, list, common), values},
                 {{"reduction", std::string(accumulate ? "add" : "none")}}));
}

// scatter(self, dim, index, src or value) and scatter_add.
template <bool kAdd>
void scatter(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const TensorType& index = call.type(2);
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  std::string source = e.tensor(call.arg(3), dtype);
  if (!call.is_tensor(3)) {
    source = e.op("Expand", {source, e.shape(index.shape)});
  } else if (call.type(3).shape != index.shape) {
    std::vector<int64_t> axes, starts;
    for (size_t i = 0; i < index.rank(); ++i) {
      axes.push_back(static_cast<int64_t>(i));
      starts.push_back(0);
    }
    source = e.op("Slice", {source, e.ints(starts), e.shape(index.shape), e.ints(axes)});
  }
  call.give(e.op("ScatterElements", {e.tensor(call.arg(0)), e.tensor(call.arg(2)), source},
                 {{"axis", axis}, {"reduction", std::string(kAdd ? "add" : "none")}}));
}

// The parts of `self` before and after [start, end) of an axis around `source`.
std::string between(Emitter& e, const std::string& self, const std::string& source,
                    const std::string& start, const std::string& end, int64_t axis) {
  const std::string at = e.ints({axis});
  const std::string before = e.op("Slice", {self, e.ints({0}), start, at});
  const std::string after = e.op("Slice", {self, end, e.ints({kEnd}), at});
  return e.op("Concat", {before, source, after}, {{"axis", axis}});
}

// slice_scatter(self, src, dim, start, end, step).
void slice_scatter(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  const DType dtype = call.result().dtype;
  const int64_t axis = constant_dim(call.arg(2), type.rank());
  const Expr size = type.shape.at(axis);
  const Expr step = std::get<Expr>(call.arg(5));
  const std::string self = e.tensor(call.arg(0));
  const std::string source = e.tensor(call.arg(1), dtype);
  if (step.is_constant(1)) {
    std::string start = call.has(3) ? e.dim(std::get<Expr>(call.arg(3))) : e.ints({0});
    if (call.has(3) && e.program().symbols->range(std::get<Expr>(call.arg(3))).lo < 0) {
      const std::string wrapped = e.op("Add", {start, e.dim(size)});
      start = e.op("Where", {e.op("Less", {start, e.ints({0})}), wrapped, start});
    }
    const std::string end = e.op("Add", {start, e.dim(call.type(1).shape.at(axis))});
    return call.give(between(e, self, source, start, end, axis));
  }
  // Every step-th position: write by position along the axis.
  const std::string start =
      call.has(3) ? e.scalar_int(std::get<Expr>(call.arg(3))) : e.scalar(0, DType::kInt64);
  const std::string positions =
      e.op("Range", {start,
                     e.op("Add", {start, e.op("Mul", {e.scalar_int(call.type(1).shape.at(axis)),
                                                      e.scalar_int(step)})}),
                     e.scalar_int(step)});
  std::vector<int64_t> around;
  for (size_t i = 0; i < type.rank(); ++i) {
    if (static_cast<int64_t>(i) != axis) around.push_back(static_cast<int64_t>(i));
  }
  const std::string index =
      e.op("Expand", {e.unsqueeze(positions, around), e.shape(call.type(1).shape)});
  call.give(e.op("ScatterElements", {self, index, source}, {{"axis", axis}}));
}

// select_scatter(self, src, dim, index).
void select_scatter(const LoweringCall& call) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  const int64_t axis = constant_dim(call.arg(2), type.rank());
  const Expr size = type.shape.at(axis);
  Expr at = std::get<Expr>(call.arg(3));
  if (e.program().symbols->range(at).hi < 0) at = at + size;
  const std::string source = e.unsqueeze(e.tensor(call.arg(1), call.result().dtype), {axis});
  const std::string start = e.dim(at);
  const std::string end = e.dim(at + Expr(1));
  call.give(between(e, e.tensor(call.arg(0)), source, start, end, axis));
}

template <bool kUpper>
void triangle(const LoweringCall& call) {
  Emitter& e = call.emit;
  call.give(e.op("Trilu", {e.tensor(call.arg(0)), e.scalar_int(std::get<Expr>(call.arg(1)))},
                 {{"upper", int64_t{kUpper}}}));
}

// one_hot(self, num_classes) with a known number of classes.
void one_hot(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string values = e.ints({0, 1});
  call.give(e.op("OneHot", {e.tensor(call.arg(0)), e.dim(std::get<Expr>(call.arg(1))), values},
                 {{"axis", int64_t{-1}}}));
}

}  // namespace

std::span<const Lowering> indexing_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.embedding.default", embedding},
      Lowering{"aten.index_select.default", index_select},
      Lowering{"aten.gather.default", gather},
      Lowering{"aten.index.Tensor", index},
      Lowering{"aten.index_put.default", index_put},
      Lowering{"aten.scatter.src", scatter<false>},
      Lowering{"aten.scatter.value", scatter<false>},
      Lowering{"aten.scatter_add.default", scatter<true>},
      Lowering{"aten.slice_scatter.default", slice_scatter},
      Lowering{"aten.select_scatter.default", select_scatter},
      Lowering{"aten.tril.default", triangle<false>},
      Lowering{"aten.triu.default", triangle<true>},
      Lowering{"aten.one_hot.default", one_hot},
  };
  return kRows;
}

}  // namespace portwright
