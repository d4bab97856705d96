// Pooling.
#include <array>

#include "onnx/spatial.h"

namespace portwright {
namespace {

std::vector<int64_t> strides_or_kernel(const LoweringCall& call, size_t i,
                                       const std::vector<int64_t>& kernel) {
  const auto* list = std::get_if<IntList>(&call.arg(i));
  return list == nullptr || list->empty() ? kernel : spatial(call.arg(i), kernel.size());
}

// max_pool(self, kernel, stride, padding, dilation, ceil_mode).
template <size_t kDims>
void max_pool(const LoweringCall& call) {
  const std::vector<int64_t> kernel = spatial(call.arg(1), kDims);
  const Batched input = with_batch(call, kDims);
  const std::string value = call.emit.op("MaxPool", {input.value},
                                         {{"kernel_shape", kernel},
                                          {"strides", strides_or_kernel(call, 2, kernel)},
                                          {"pads", both_ends(spatial(call.arg(3), kDims))},
                                          {"dilations", spatial(call.arg(4), kDims)},
                                          {"ceil_mode", int64_t{flag(call.arg(5))}}});
  give_unbatched(call, value, input.added);
}

// max_pool_with_indices(self, kernel, stride, padding, dilation, ceil_mode): ONNX counts the places
// over the whole tensor, torch within each plane.
template <size_t kDims>
void max_pool_with_indices(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::vector<int64_t> kernel = spatial(call.arg(1), kDims);
  const Batched input = with_batch(call, kDims);
  const auto results = e.ops("MaxPool", {input.value}, 2,
                             {{"kernel_shape", kernel},
                              {"strides", strides_or_kernel(call, 2, kernel)},
                              {"pads", both_ends(spatial(call.arg(3), kDims))},
                              {"dilations", spatial(call.arg(4), kDims)},
                              {"ceil_mode", int64_t{flag(call.arg(5))}}});
  const std::vector<Expr>& shape = call.type(0).shape;
  Expr plane = 1;
  for (size_t i = shape.size() - kDims; i < shape.size(); ++i) plane = plane * shape[i];
  const std::string places = e.op("Mod", {results[1], e.scalar_int(plane)});
  call.give(input.added ? e.squeeze(results[0], {0}) : results[0], 0);
  call.give(input.added ? e.squeeze(places, {0}) : places, 1);
}

// avg_pool(self, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override).
template <size_t kDims>
void avg_pool(const LoweringCall& call) {
  if (call.node.arguments.size() > 6 && call.has(6))
    throw Error(ErrorCode::kUnsupported, "avg_pool with divisor_override");
  const std::vector<int64_t> kernel = spatial(call.arg(1), kDims);
  const Batched input = with_batch(call, kDims);
  const std::string value = call.emit.op("AveragePool", {input.value},
                                         {{"kernel_shape", kernel},
                                          {"strides", strides_or_kernel(call, 2, kernel)},
                                          {"pads", both_ends(spatial(call.arg(3), kDims))},
                                          {"ceil_mode", int64_t{flag(call.arg(4))}},
                                          {"count_include_pad", int64_t{flag(call.arg(5))}}});
  give_unbatched(call, value, input.added);
}

// [size, result]: how much of each element is in each mean, whose windows are those of torch:
// from floor(i * size / result) to ceil((i + 1) * size / result).
std::string averaging_weights(Emitter& e, const Expr& size, const Expr& result, DType dtype) {
  const std::string zero = e.scalar(0, DType::kInt64);
  const std::string one = e.scalar(1, DType::kInt64);
  const std::string n = e.dim(size);
  const std::string m = e.dim(result);
  const std::string element = e.unsqueeze(e.op("Range", {zero, e.scalar_int(size), one}), {1});
  const std::string window = e.op("Range", {zero, e.scalar_int(result), one});
  const std::string start = e.op("Div", {e.op("Mul", {window, n}), m});
  const std::string next = e.op("Mul", {e.op("Add", {window, one}), n});
  const std::string end = e.op("Div", {e.op("Add", {next, e.op("Sub", {m, one})}), m});
  const std::string inside =
      e.op("And", {e.op("GreaterOrEqual", {element, start}), e.op("Less", {element, end})});
  const std::string length = e.cast(e.op("Sub", {end, start}), DType::kInt64, dtype);
  return e.op("Div", {e.cast(inside, DType::kBool, dtype), length});
}

// A mean along each axis in turn, as a product with the weights above.
std::string uneven_means(const LoweringCall& call, const IntList& sizes) {
  Emitter& e = call.emit;
  const TensorType& type = call.type(0);
  std::string value = e.tensor(call.arg(0));
  for (size_t i = 0; i < sizes.size(); ++i) {
    const size_t axis = type.rank() - sizes.size() + i;
    if (type.shape[axis] == sizes[i]) continue;
    const std::string weights = averaging_weights(e, type.shape[axis], sizes[i], type.dtype);
    value = product_along(e, value, type.rank(), axis, weights);
  }
  return value;
}

// adaptive_avg_pool(self, output_size): a mean for size 1, a plain pool where sizes divide.
template <size_t kDims>
void adaptive_avg_pool(const LoweringCall& call) {
  Emitter& e = call.emit;
  const auto& sizes = std::get<IntList>(call.arg(1));
  bool ones = true;
  std::vector<int64_t> axes, kernel;
  for (size_t i = 0; i < kDims; ++i) {
    ones = ones && sizes.at(i).is_constant(1);
    axes.push_back(static_cast<int64_t>(i) - static_cast<int64_t>(kDims));
    const Expr size = call.type(0).shape.at(call.type(0).rank() - kDims + i);
    const auto ratio = divide_exactly(size, sizes[i]);
    if (ratio && ratio->is_constant()) kernel.push_back(ratio->constant());
  }
  if (ones) {
    return call.give(
        e.op("ReduceMean", {e.tensor(call.arg(0)), e.ints(axes)}, {{"keepdims", int64_t{1}}}));
  }
  if (kernel.size() != kDims) return call.give(uneven_means(call, sizes));
  const Batched input = with_batch(call, kDims);
  const std::string value =
      e.op("AveragePool", {input.value}, {{"kernel_shape", kernel}, {"strides", kernel}});
  give_unbatched(call, value, input.added);
}

}  // namespace

std::span<const Lowering> pooling_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.max_pool1d.default", max_pool<1>},
      Lowering{"aten.max_pool2d.default", max_pool<2>},
      Lowering{"aten.max_pool3d.default", max_pool<3>},
      Lowering{"aten.max_pool2d_with_indices.default", max_pool_with_indices<2>},
      Lowering{"aten.max_pool3d_with_indices.default", max_pool_with_indices<3>},
      Lowering{"aten.avg_pool1d.default", avg_pool<1>},
      Lowering{"aten.avg_pool2d.default", avg_pool<2>},
      Lowering{"aten.adaptive_avg_pool1d.default", adaptive_avg_pool<1>},
      Lowering{"aten.adaptive_avg_pool2d.default", adaptive_avg_pool<2>},
      Lowering{"aten._adaptive_avg_pool2d.default", adaptive_avg_pool<2>},
      Lowering{"aten.avg_pool3d.default", avg_pool<3>},
      Lowering{"aten.adaptive_avg_pool3d.default", adaptive_avg_pool<3>},
      Lowering{"aten._adaptive_avg_pool3d.default", adaptive_avg_pool<3>},
  };
  return kRows;
}

}  // namespace portwright
