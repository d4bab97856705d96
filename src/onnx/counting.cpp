// Operators that count, place and repeat: histograms, searches in sorted tensors, runs.
#include <array>

#include "onnx/counting.h"

namespace portwright {

std::string count_into(Emitter& e, const std::string& places, const std::string& size,
                       DType dtype) {
  const std::string zeros = e.op("Expand", {e.scalar(0, dtype), size});
  const std::string ones = e.op("Expand", {e.scalar(1, dtype), e.op("Shape", {places})});
  return e.op("ScatterElements", {zeros, places, ones},
              {{"axis", int64_t{0}}, {"reduction", std::string("add")}});
}

std::string run_numbers(Emitter& e, const std::string& lengths) {
  const std::string ends = e.op("CumSum", {lengths, e.scalar(0, DType::kInt64)});
  const std::string total = e.op("ReduceSum", {lengths, e.ints({0})}, {{"keepdims", int64_t{1}}});
  // Each run but the last adds one to the numbers behind its end; ends may lie at the total.
  const std::string behind =
      e.op("Slice", {ends, e.ints({0}), e.ints({-1}), e.ints({0}), e.ints({1})});
  const std::string room = e.op("Add", {total, e.ints({1})});
  const std::string steps = count_into(e, behind, room, DType::kInt64);
  const std::string numbers = e.op("CumSum", {steps, e.scalar(0, DType::kInt64)});
  return e.op("Slice", {numbers, e.ints({0}), total, e.ints({0})});
}

namespace {

std::string flattened(const LoweringCall& call, size_t i, DType dtype) {
  Emitter& e = call.emit;
  const std::string value = e.tensor(call.arg(i), dtype);
  return call.is_tensor(i) && call.type(i).rank() == 1 ? value
                                                       : e.op("Reshape", {value, e.ints({-1})});
}

// histc(self, bins, min, max): what lies outside goes to one bin more, which is cut off.
void histc(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType result = call.result().dtype;
  const DType dtype = result == DType::kFloat64 ? result : DType::kFloat32;
  const std::string x = flattened(call, 0, dtype);
  const Expr bins = std::get<Expr>(call.arg(1));
  std::string low = e.tensor(call.arg(2), dtype);
  std::string high = e.tensor(call.arg(3), dtype);
  if (constant_number(call.arg(2)) == constant_number(call.arg(3))) {  // the range of the data
    low = e.op("ReduceMin", {x}, {{"keepdims", int64_t{0}}});
    high = e.op("ReduceMax", {x}, {{"keepdims", int64_t{0}}});
    const std::string around = e.cast(e.op("Equal", {low, high}), DType::kBool, dtype);
    low = e.op("Sub", {low, around});
    high = e.op("Add", {high, around});
  }
  const std::string count = e.cast(e.scalar_int(bins), DType::kInt64, dtype);
  const std::string scaled =
      e.op("Div", {e.op("Mul", {e.op("Sub", {x, low}), count}), e.op("Sub", {high, low})});
  const std::string inside =
      e.op("And", {e.op("GreaterOrEqual", {x, low}), e.op("LessOrEqual", {x, high})});
  const std::string last = e.op("Sub", {count, e.scalar(1, dtype)});
  const std::string place =
      e.op("Where", {inside, e.op("Min", {e.op("Floor", {scaled}), last}), count});
  const std::string room = e.dim(bins + Expr(1));
  const std::string counts =
      count_into(e, e.cast(place, dtype, DType::kInt64), room, DType::kFloat32);
  const std::string kept = e.op("Slice", {counts, e.ints({0}), e.dim(bins), e.ints({0})});
  call.give(e.cast(kept, DType::kFloat32, result));
}

// bincount(self, weights, minlength).
void bincount(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string x = flattened(call, 0, DType::kInt64);
  const Expr least = std::get<Expr>(call.arg(2));
  const std::string all = e.op("Concat", {x, e.dim(least - Expr(1))}, {{"axis", int64_t{0}}});
  const std::string top = e.op("ReduceMax", {all, e.ints({0})}, {{"keepdims", int64_t{1}}});
  const std::string size = e.op("Add", {top, e.ints({1})});
  if (!call.has(1)) return call.give(count_into(e, x, size, DType::kInt64));
  const DType dtype = call.result().dtype;  // float64, or float32 for weights of it
  const std::string zeros = e.op("Expand", {e.scalar(0, dtype), size});
  const std::string weights = flattened(call, 1, dtype);
  call.give(e.op("ScatterElements", {zeros, x, weights},
                 {{"axis", int64_t{0}}, {"reduction", std::string("add")}}));
}

// How many of the sorted numbers in the last dim of `sorted` lie before each of `x`.
void count_before(const LoweringCall& call, size_t sorted, size_t x, bool and_equal) {
  Emitter& e = call.emit;
  const DType dtype = promoted(call, x, sorted);
  std::string numbers = e.tensor(call.arg(sorted), dtype);
  std::string wanted = e.tensor(call.arg(x), dtype);
  const size_t rank = call.type(sorted).rank();
  if (call.is_tensor(x)) wanted = e.unsqueeze(wanted, {-1});
  if (rank > 1) numbers = e.unsqueeze(numbers, {static_cast<int64_t>(rank) - 1});
  const std::string before = e.op(and_equal ? "GreaterOrEqual" : "Greater", {wanted, numbers});
  const DType result = call.result().dtype;
  call.give(e.op("ReduceSum", {e.cast(before, DType::kBool, result), e.ints({-1})},
                 {{"keepdims", int64_t{0}}}));
}

// bucketize(self, boundaries, out_int32, right).
void bucketize(const LoweringCall& call) { count_before(call, 1, 0, flag(call.arg(3))); }

// searchsorted(sorted_sequence, self, out_int32, right, side, sorter).
void searchsorted(const LoweringCall& call) {
  if (call.has(5)) throw Error(ErrorCode::kUnsupported, "searchsorted with a sorter");
  const auto* side = std::get_if<std::string>(&call.arg(4));
  count_before(call, 0, 1, flag(call.arg(3)) || (side != nullptr && *side == "right"));
}

// repeat_interleave(self, repeats, dim, output_size) with one number of repeats.
void repeat_each(const LoweringCall& call) {
  Emitter& e = call.emit;
  const Expr repeats = std::get<Expr>(call.arg(1));
  const TensorType& type = call.type(0);
  const bool flat = !call.has(2);
  std::string value = e.tensor(call.arg(0));
  if (flat) value = e.op("Reshape", {value, e.ints({-1})});
  const int64_t axis = flat ? 0 : constant_dim(call.arg(2), type.rank());
  std::vector<Expr> spread(flat ? size_t{1} : type.rank(), Expr(1));
  spread.insert(spread.begin() + axis + 1, repeats);
  const std::string wide = e.op("Expand", {e.unsqueeze(value, {axis + 1}), e.shape(spread)});
  call.give(e.op("Reshape", {wide, e.shape(call.result().shape)}, {{"allowzero", int64_t{1}}}));
}

// The same with a number for each element along the dim, or one in a tensor.
void repeat_by_lengths(const LoweringCall& call) {
  Emitter& e = call.emit;
  const bool flat = !call.has(2);
  std::string value = e.tensor(call.arg(0));
  if (flat) value = e.op("Reshape", {value, e.ints({-1})});
  const int64_t axis = flat ? 0 : constant_dim(call.arg(2), call.type(0).rank());
  std::string lengths = flattened(call, 1, DType::kInt64);
  if (call.type(1).shape.empty() || call.type(1).shape[0].is_constant(1)) {
    const std::string size = e.op("Shape", {value}, {{"start", axis}, {"end", axis + 1}});
    lengths = e.op("Expand", {lengths, size});
  }
  call.give(e.op("Gather", {value, run_numbers(e, lengths)}, {{"axis", axis}}));
}

// repeat_interleave.Tensor(repeats, output_size): the numbers of the runs themselves.
void repeat_numbers(const LoweringCall& call) {
  call.give(run_numbers(call.emit, flattened(call, 0, DType::kInt64)));
}

// unique_consecutive(self, return_inverse, return_counts, dim) of the flat tensor.
void unique_consecutive(const LoweringCall& call) {
  if (call.has(3) && call.type(0).rank() > 1) {
    throw Error(ErrorCode::kUnsupported, "unique_consecutive of whole slices");
  }
  Emitter& e = call.emit;
  const DType dtype = call.type(0).dtype;
  const std::string x = flattened(call, 0, dtype);
  const std::string axis = e.ints({0});
  const std::string size = e.op("Shape", {x});
  const std::string later = e.op("Slice", {x, e.ints({1}), e.ints({INT64_MAX}), axis});
  const std::string earlier = e.op("Slice", {x, axis, e.ints({-1}), axis});
  const std::string differs = e.op("Not", {e.op("Equal", {later, earlier})});
  // The first element starts a run, if there is one.
  const std::string first =
      e.op("Expand", {e.constant(Weight::from_host(DType::kBool, {}, {std::byte{1}})),
                      e.op("Min", {size, e.ints({1})})});
  const std::string starts = e.op("Concat", {first, differs}, {{"axis", int64_t{0}}});
  call.give(e.op("Compress", {x, starts}, {{"axis", int64_t{0}}}), 0);
  const std::string numbers =
      e.op("CumSum", {e.cast(starts, DType::kBool, DType::kInt64), e.scalar(0, DType::kInt64)});
  const std::string inverse = e.op("Sub", {numbers, e.ints({1})});
  if (flag(call.arg(1))) {
    call.give(e.op("Reshape", {inverse, e.shape(call.type(0).shape)}), 1);
  } else {
    call.give(axis, 1);
  }
  const std::string places = e.op("Reshape", {e.op("NonZero", {starts}), e.ints({-1})});
  const std::string ends =
      e.op("Concat", {e.op("Slice", {places, e.ints({1}), e.ints({INT64_MAX}), axis}), size},
           {{"axis", int64_t{0}}});
  call.give(e.op("Sub", {e.op("Slice", {ends, axis, e.op("Shape", {places}), axis}), places}), 2);
}

// _unique2(self, sorted, return_inverse, return_counts); unique_dim has the dim behind self.
void unique(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.type(0).dtype;
  const DType compute = is_floating_point(dtype)
                            ? (dtype == DType::kFloat64 ? dtype : DType::kFloat32)
                            : DType::kInt64;
  const auto results = e.ops("Unique", {flattened(call, 0, compute)}, 4, {{"sorted", int64_t{1}}});
  call.give(e.cast(results[0], compute, dtype), 0);
  call.give(e.op("Reshape", {results[2], e.shape(call.type(0).shape)}), 1);
  call.give(results[3], 2);
}

}  // namespace

std::span<const Lowering> counting_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.histc.default", histc},
      Lowering{"aten.bincount.default", bincount},
      Lowering{"aten.bucketize.Tensor", bucketize},
      Lowering{"aten.bucketize.Scalar", bucketize},
      Lowering{"aten.searchsorted.Tensor", searchsorted},
      Lowering{"aten.searchsorted.Scalar", searchsorted},
      Lowering{"aten.repeat_interleave.self_int", repeat_each},
      Lowering{"aten.repeat_interleave.self_Tensor", repeat_by_lengths},
      Lowering{"aten.repeat_interleave.Tensor", repeat_numbers},
      Lowering{"aten.unique_consecutive.default", unique_consecutive},
      Lowering{"aten._unique2.default", unique},
  };
  return kRows;
}

}  // namespace portwright
