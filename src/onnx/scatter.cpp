// Writing by index.
#include <array>
#include <cmath>

#include "onnx/index_list.h"

namespace portwright {
namespace {

constexpr int64_t kEnd = INT64_MAX;

// A mask for the leading dims with one value: a selection.
bool is_selection(const LoweringCall& call, const ValueList& list) {
  return list.size() == 1 && call.emit.type(list[0]).dtype == DType::kBool &&
         call.type(2).shape.empty() && !(call.has(3) && flag(call.arg(3)));
}

void select_by_mask(const LoweringCall& call, ValueId mask) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const DType compute = dtype == DType::kBool ? DType::kUInt8 : dtype;  // no Where of bools
  std::vector<int64_t> trailing;
  for (size_t i = e.type(mask).rank(); i < call.type(0).rank(); ++i) {
    trailing.push_back(static_cast<int64_t>(i));
  }
  const std::string chosen =
      e.op("Where", {e.unsqueeze(e.value(mask), trailing), e.tensor(call.arg(2), compute),
                     e.tensor(call.arg(0), compute)});
  call.give(e.cast(chosen, compute, dtype));
}

// index_put(self, indices, values, accumulate).
void index_put(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& given = std::get<ValueList>(call.arg(1));
  if (is_selection(call, given)) return select_by_mask(call, given[0]);
  const DType dtype = call.result().dtype;
  const size_t rank = call.type(0).rank();
  const IndexList list = index_list(call);
  const size_t result_rank = rank - list.dims.size() + list.common_rank;
  std::string values = e.op("Expand", {e.tensor(call.arg(2), dtype), list.result_shape(call)});
  values = reordered(e, values, list.from_position(result_rank));
  const std::vector<int64_t> to_front = list.to_front(rank);
  std::vector<int64_t> back(rank);
  for (size_t i = 0; i < rank; ++i) back[to_front[i]] = static_cast<int64_t>(i);
  const bool accumulate = call.has(3) && flag(call.arg(3));
  const std::string written =
      e.op("ScatterND", {reordered(e, e.tensor(call.arg(0)), to_front), list.places, values},
           {{"reduction", std::string(accumulate ? "add" : "none")}});
  call.give(reordered(e, written, back));
}

// What is scattered, with the shape of the index: a number, or the leading part of a tensor.
std::string scattered_source(const LoweringCall& call, const Argument& source, DType dtype) {
  Emitter& e = call.emit;
  const TensorType& index = call.type(2);
  std::string value = e.tensor(source, dtype);
  const auto* ref = std::get_if<ValueRef>(&source);
  if (ref == nullptr) return e.op("Expand", {value, e.shape(index.shape)});
  if (e.type(ref->id).shape == index.shape) return value;
  std::vector<int64_t> axes, starts;
  for (size_t i = 0; i < index.rank(); ++i) {
    axes.push_back(static_cast<int64_t>(i));
    starts.push_back(0);
  }
  return e.op("Slice", {value, e.ints(starts), e.shape(index.shape), e.ints(axes)});
}

std::string scatter_into(const LoweringCall& call, const std::string& self,
                         const std::string& source, const std::string& reduction) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  const std::string index = e.cast(e.tensor(call.arg(2)), call.type(2).dtype, DType::kInt64);
  return e.op("ScatterElements", {self, index, source}, {{"axis", axis}, {"reduction", reduction}});
}

// scatter(self, dim, index, src or value) and scatter_add.
template <bool kAdd>
void scatter(const LoweringCall& call) {
  const DType dtype = call.result().dtype;
  call.give(scatter_into(call, call.emit.tensor(call.arg(0)),
                         scattered_source(call, call.arg(3), dtype), kAdd ? "add" : "none"));
}

// How torch's reductions are called there, and what changes nothing in them.
struct Reduction {
  std::string_view torch;
  const char* onnx;
  double neutral;
};

const Reduction& reduction_of(const std::string& name) {
  static constexpr std::array kReductions = {
      Reduction{"add", "add", 0},          Reduction{"sum", "add", 0},
      Reduction{"multiply", "mul", 1},     Reduction{"prod", "mul", 1},
      Reduction{"amax", "max", -INFINITY}, Reduction{"amin", "min", INFINITY},
      Reduction{"mean", "add", 0},
  };
  for (const Reduction& row : kReductions) {
    if (row.torch == name) return row;
  }
  throw Error(ErrorCode::kUnsupported, "scatter with the reduction '" + name + "'");
}

std::string neutral_of(Emitter& e, const Reduction& reduction, DType dtype) {
  if (is_floating_point(dtype) || std::isfinite(reduction.neutral)) {
    return e.scalar(reduction.neutral, dtype);
  }
  const double bits = static_cast<double>(8 * element_size(dtype) - 1);
  const double bound = std::exp2(std::min(bits, 53.0));
  return e.scalar(reduction.neutral < 0 ? -bound : bound - 1, dtype);
}

// scatter_reduce(self, dim, index, src, reduce, include_self); scatter(..., reduce=) has no last
// one.
void scatter_reduce(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string& name = std::get<std::string>(call.arg(4));
  const Reduction& reduction = reduction_of(name);
  const bool include_self = call.node.arguments.size() < 6 || flag(call.arg(5));
  std::string self = e.tensor(call.arg(0));
  const std::string source = scattered_source(call, call.arg(3), dtype);
  if (!include_self) {
    const std::string neutral =
        e.op("Expand", {neutral_of(e, reduction, dtype), e.op("Shape", {source})});
    self = scatter_into(call, self, neutral, "none");
  }
  std::string result = scatter_into(call, self, source, reduction.onnx);
  if (name == "mean") {
    const std::string none =
        e.op("Expand", {e.scalar(include_self ? 1 : 0, dtype), e.op("Shape", {self})});
    const std::string ones = e.op("Expand", {e.scalar(1, dtype), e.op("Shape", {source})});
    const std::string counts =
        e.op("Max", {scatter_into(call, none, ones, "add"), e.scalar(1, dtype)});
    result = e.op("Div", {result, counts});
    if (is_floating_point(dtype)) return call.give(result);
  }
  call.give(result);
}

// An index [n] for one dim, in the shape of what is written there.
std::string along_dim(const LoweringCall& call, std::span<const Expr> shape) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  std::vector<int64_t> around;
  for (int64_t i = 0; i < static_cast<int64_t>(shape.size()); ++i) {
    if (i != axis) around.push_back(i);
  }
  const std::string index = e.cast(e.tensor(call.arg(2)), call.type(2).dtype, DType::kInt64);
  return e.op("Expand",
              {e.unsqueeze(index, call.type(2).rank() == 0 ? std::vector<int64_t>{} : around),
               e.shape(shape)});
}

// index_add(self, dim, index, source, alpha) and index_copy(self, dim, index, source).
template <bool kAdd>
void index_write(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  std::string source = e.tensor(call.arg(3), dtype);
  if (kAdd && constant_number(call.arg(4)) != 1.0) {
    source = e.op("Mul", {source, e.tensor(call.arg(4), dtype)});
  }
  call.give(e.op("ScatterElements",
                 {e.tensor(call.arg(0)), along_dim(call, call.type(3).shape), source},
                 {{"axis", axis}, {"reduction", std::string(kAdd ? "add" : "none")}}));
}

// index_fill(self, dim, index, value).
void index_fill(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  std::vector<Expr> shape = call.type(0).shape;
  shape.at(axis) = call.type(2).rank() == 0 ? Expr(1) : call.type(2).shape.at(0);
  const std::string value =
      e.op("Expand", {e.tensor(call.arg(3), call.result().dtype), e.shape(shape)});
  call.give(e.op("ScatterElements", {e.tensor(call.arg(0)), along_dim(call, shape), value},
                 {{"axis", axis}}));
}

// masked_scatter(self, mask, source): the first elements of source go to the true positions.
void masked_scatter(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string shape = e.shape(call.result().shape);
  const std::string flat = e.ints({-1});
  auto flattened = [&](size_t i) {
    return e.op("Reshape", {e.op("Expand", {e.tensor(call.arg(i)), shape}), flat});
  };
  const std::string places = e.transpose(e.op("NonZero", {flattened(1)}), {1, 0});
  const std::string count = e.op("Shape", {places}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
  const std::string source = e.op(
      "Slice", {e.op("Reshape", {e.tensor(call.arg(2)), flat}), e.ints({0}), count, e.ints({0})});
  call.give(e.op("Reshape", {e.op("ScatterND", {flattened(0), places, source}), shape},
                 {{"allowzero", int64_t{1}}}));
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

}  // namespace

std::span<const Lowering> scatter_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.index_put.default", index_put},
      Lowering{"aten._unsafe_index_put.default", index_put},
      Lowering{"aten.scatter.src", scatter<false>},
      Lowering{"aten.scatter.value", scatter<false>},
      Lowering{"aten.scatter_add.default", scatter<true>},
      Lowering{"aten.scatter.reduce", scatter_reduce},
      Lowering{"aten.scatter.value_reduce", scatter_reduce},
      Lowering{"aten.scatter_reduce.two", scatter_reduce},
      Lowering{"aten.index_add.default", index_write<true>},
      Lowering{"aten.index_copy.default", index_write<false>},
      Lowering{"aten.index_fill.int_Scalar", index_fill},
      Lowering{"aten.index_fill.int_Tensor", index_fill},
      Lowering{"aten.masked_scatter.default", masked_scatter},
      Lowering{"aten.slice_scatter.default", slice_scatter},
      Lowering{"aten.select_scatter.default", select_scatter},
  };
  return kRows;
}

}  // namespace portwright
