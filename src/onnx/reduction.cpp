// Reductions, cumulative operators and orderings.
#include <array>
#include <cmath>

#include "onnx/lowering.h"

namespace portwright {
namespace {

// The axes of operand `dims` as an ONNX operand; all of them when it is absent or empty.
std::vector<int64_t> axes_of(const LoweringCall& call, size_t dims) {
  const size_t rank = call.type(0).rank();
  std::vector<int64_t> axes;
  if (call.node.arguments.size() > dims) axes = constant_dims(call.arg(dims), rank);
  if (axes.empty()) {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  return axes;
}

bool keeps_dims(const LoweringCall& call) {
  return !call.type(0).shape.empty() && call.result().rank() == call.type(0).rank();
}

std::string reduce(const LoweringCall& call, const std::string& type, const std::string& value,
                   size_t dims) {
  Emitter& e = call.emit;
  const int64_t keep = keeps_dims(call) ? 1 : 0;
  const std::vector<int64_t> axes = axes_of(call, dims);
  if (axes.empty()) return value;  // a scalar
  // Up to opset 17 the axes of most reductions were an attribute; 18 is our oldest.
  return e.op(type, {value, e.ints(axes)}, {{"keepdims", keep}});
}

constexpr char kReduceSum[] = "ReduceSum";
constexpr char kReduceMean[] = "ReduceMean";
constexpr char kReduceMax[] = "ReduceMax";
constexpr char kReduceMin[] = "ReduceMin";
constexpr char kReduceProd[] = "ReduceProd";
constexpr char kReduceLogSumExp[] = "ReduceLogSumExp";

// (self, dims, keepdim, ...) or (self): dims at 1 when present.
template <const char* kType>
void over_dims(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType result = call.result().dtype;
  const DType compute = result == DType::kBool ? DType::kInt32 : result;
  const std::string value = e.tensor(call.arg(0), compute);
  call.give(e.cast(reduce(call, kType, value, 1), compute, result));
}

// sum.default(self, dtype), mean.default(self, dtype), max.default(self): all dims.
template <const char* kType>
void over_all(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType result = call.result().dtype;
  const DType compute = result == DType::kBool ? DType::kInt32 : result;
  const std::string value = e.tensor(call.arg(0), compute);
  call.give(e.cast(reduce(call, kType, value, call.node.arguments.size()), compute, result));
}

template <const char* kType>
void truth_over_dims(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string truth = e.tensor(call.arg(0), DType::kBool);
  const std::string numbers = e.cast(truth, DType::kBool, DType::kInt32);
  call.give(e.cast(reduce(call, kType, numbers, 1), DType::kInt32, call.result().dtype));
}

// max.dim(self, dim, keepdim) -> values, indices.
template <bool kMax>
void extremum_with_index(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string value = e.tensor(call.arg(0));
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  const int64_t keep = flag(call.arg(2)) ? 1 : 0;
  call.give(e.op(kMax ? "ReduceMax" : "ReduceMin", {value, e.ints({axis})}, {{"keepdims", keep}}),
            0);
  call.give(e.op(kMax ? "ArgMax" : "ArgMin", {value}, {{"axis", axis}, {"keepdims", keep}}), 1);
}

// argmax(self, dim, keepdim): of the flattened tensor without a dim.
template <bool kMax>
void arg_extremum(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType given = call.type(0).dtype;
  const std::string value = e.tensor(call.arg(0), given == DType::kBool ? DType::kInt32 : given);
  const std::string type = kMax ? "ArgMax" : "ArgMin";
  if (!call.has(1)) {
    const std::string flat = e.op("Reshape", {value, e.ints({-1})});
    return call.give(e.op(type, {flat}, {{"axis", int64_t{0}}, {"keepdims", int64_t{0}}}));
  }
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  const int64_t keep = flag(call.arg(2)) ? 1 : 0;
  call.give(e.op(type, {value}, {{"axis", axis}, {"keepdims", keep}}));
}

// var.correction(self, dim, *, correction, keepdim).
template <bool kRoot>
void variance(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::vector<int64_t> axes = axes_of(call, 1);
  const std::string x = e.tensor(call.arg(0));
  const std::string mean = e.op("ReduceMean", {x, e.ints(axes)}, {{"keepdims", int64_t{1}}});
  const std::string centred = e.op("Sub", {x, mean});
  const std::string sum = reduce(call, "ReduceSum", e.op("Mul", {centred, centred}), 1);
  Expr count = 1;
  for (int64_t axis : axes) count = count * call.type(0).shape[axis];
  const std::string divisor =
      e.op("Sub", {e.cast(e.scalar_int(count), DType::kInt64, dtype),
                   call.has(2) ? e.tensor(call.arg(2), dtype) : e.scalar(1, dtype)});
  const std::string result = e.op("Div", {sum, e.op("Max", {divisor, e.scalar(0, dtype)})});
  call.give(kRoot ? e.op("Sqrt", {result}) : result);
}

// linalg_vector_norm(self, ord, dim, keepdim, dtype).
void vector_norm(const LoweringCall& call) {
  const double order = constant_number(call.arg(1)).value_or(2);
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string value = e.tensor(call.arg(0), dtype);
  if (order == 1) return call.give(reduce(call, "ReduceL1", value, 2));
  if (order == 2) return call.give(reduce(call, "ReduceL2", value, 2));
  const std::string size = e.op("Abs", {value});
  if (std::isinf(order)) {
    return call.give(reduce(call, order > 0 ? "ReduceMax" : "ReduceMin", size, 2));
  }
  if (order == 0) {
    const std::string some = e.op("Greater", {size, e.scalar(0, dtype)});
    return call.give(reduce(call, "ReduceSum", e.cast(some, DType::kBool, dtype), 2));
  }
  const std::string powers = e.op("Pow", {size, e.scalar(order, dtype)});
  call.give(e.op("Pow", {reduce(call, "ReduceSum", powers, 2), e.scalar(1 / order, dtype)}));
}

void cumsum(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const int64_t axis = constant_dim(call.arg(1), call.type(0).rank());
  if (call.type(0).shape.empty()) return call.give(e.tensor(call.arg(0), dtype));
  call.give(e.op("CumSum", {e.tensor(call.arg(0), dtype),
                            e.scalar(static_cast<double>(axis), DType::kInt64)}));
}

// topk(self, k, dim, largest, sorted) -> values, indices.
void topk(const LoweringCall& call) {
  Emitter& e = call.emit;
  const int64_t axis = constant_dim(call.arg(2), call.type(0).rank());
  const auto results =
      e.ops("TopK", {e.tensor(call.arg(0)), e.dim(std::get<Expr>(call.arg(1)))}, 2,
            {{"axis", axis}, {"largest", int64_t{flag(call.arg(3))}}, {"sorted", int64_t{1}}});
  call.give(results[0], 0);
  call.give(results[1], 1);
}

// The whole of a dim in order; dim and descending at the given positions.
std::vector<std::string> sorted(const LoweringCall& call, size_t dim, size_t descending) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  const int64_t axis = constant_dim(call.arg(dim), type.rank());
  return e.ops(
      "TopK", {e.tensor(call.arg(0)), e.dim(type.shape.at(axis))}, 2,
      {{"axis", axis}, {"largest", int64_t{flag(call.arg(descending))}}, {"sorted", int64_t{1}}});
}

void sort(const LoweringCall& call) {
  const auto results = sorted(call, 1, 2);
  call.give(results[0], 0);
  call.give(results[1], 1);
}

void sort_stable(const LoweringCall& call) {
  const auto results = sorted(call, 2, 3);  // ORT's TopK keeps the lower index of equals
  call.give(results[0], 0);
  call.give(results[1], 1);
}

void argsort(const LoweringCall& call) { call.give(sorted(call, 1, 2)[1]); }

}  // namespace

std::span<const Lowering> reduction_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.sum.dim_IntList", over_dims<kReduceSum>},
      Lowering{"aten.sum.default", over_all<kReduceSum>},
      Lowering{"aten.mean.dim", over_dims<kReduceMean>},
      Lowering{"aten.mean.default", over_all<kReduceMean>},
      Lowering{"aten.amax.default", over_dims<kReduceMax>},
      Lowering{"aten.amin.default", over_dims<kReduceMin>},
      Lowering{"aten.max.default", over_all<kReduceMax>},
      Lowering{"aten.min.default", over_all<kReduceMin>},
      Lowering{"aten.logsumexp.default", over_dims<kReduceLogSumExp>},
      Lowering{"aten.prod.default", over_all<kReduceProd>},
      Lowering{"aten.prod.dim_int", over_dims<kReduceProd>},
      Lowering{"aten._is_all_true.default", truth_over_dims<kReduceMin>},
      Lowering{"aten._is_any_true.default", truth_over_dims<kReduceMax>},
      Lowering{"aten.any.default", truth_over_dims<kReduceMax>},
      Lowering{"aten.any.dim", truth_over_dims<kReduceMax>},
      Lowering{"aten.any.dims", truth_over_dims<kReduceMax>},
      Lowering{"aten.all.default", truth_over_dims<kReduceMin>},
      Lowering{"aten.all.dim", truth_over_dims<kReduceMin>},
      Lowering{"aten.all.dims", truth_over_dims<kReduceMin>},
      Lowering{"aten.max.dim", extremum_with_index<true>},
      Lowering{"aten.min.dim", extremum_with_index<false>},
      Lowering{"aten.argmax.default", arg_extremum<true>},
      Lowering{"aten.argmin.default", arg_extremum<false>},
      Lowering{"aten.var.correction", variance<false>},
      Lowering{"aten.std.correction", variance<true>},
      Lowering{"aten.linalg_vector_norm.default", vector_norm},
      Lowering{"aten.cumsum.default", cumsum},
      Lowering{"aten.topk.default", topk},
      Lowering{"aten.sort.default", sort},
      Lowering{"aten.sort.stable", sort_stable},
      Lowering{"aten.argsort.default", argsort},
  };
  return kRows;
}

}  // namespace portwright
