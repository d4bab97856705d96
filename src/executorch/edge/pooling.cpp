// Pools and resizing along one dim, as along two of which the first is 1.
#include <array>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

// [..., C, L] -> [..., C, 1, L]
ValueId with_height(EdgeWriter& out, ValueId x) {
  std::vector<Expr> shape = out.type(x).shape;
  shape.insert(shape.end() - 1, Expr(1));
  return out.view(x, shape);
}

TensorType with_height(TensorType type) {
  type.shape.insert(type.shape.end() - 1, Expr(1));
  type.strides.reset();
  return type;
}

// The operands at 1 to `last` are sizes along L; `unit` stands for the height's.
Argument for_both(const EdgeCall& call, size_t i, int64_t unit) {
  IntList sizes = call.ints(i);
  if (!sizes.empty()) sizes.insert(sizes.begin(), Expr(unit));
  return sizes;
}

void give_without_height(const EdgeCall& call, ValueId pooled) {
  call.give(call.out.view(pooled, call.result().shape));
}

// (x, kernel, stride, padding, dilation, ceil_mode)
void max_pool2d(const EdgeCall& call) {
  TensorType places = call.result();
  places.dtype = DType::kInt64;
  call.out.kernel("aten.max_pool2d_with_indices.default", call.node.arguments,
                  {call.node.outputs.at(0), call.out.make(places)});
}

void max_pool1d(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  give_without_height(
      call, out.add("aten.max_pool2d.default",
                    {ValueRef{with_height(out, call.tensor(0))}, for_both(call, 1, 1),
                     for_both(call, 2, 1), for_both(call, 3, 0), for_both(call, 4, 1), call.arg(5)},
                    with_height(call.result())));
}

// (x, kernel, stride, padding, ceil_mode, count_include_pad)
void avg_pool1d(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  give_without_height(
      call, out.add("aten.avg_pool2d.default",
                    {ValueRef{with_height(out, call.tensor(0))}, for_both(call, 1, 1),
                     for_both(call, 2, 1), for_both(call, 3, 0), call.arg(4), call.arg(5), None{}},
                    with_height(call.result())));
}

void adaptive_avg_pool2d(const EdgeCall& call) {
  call.kernel("aten._adaptive_avg_pool2d.default", call.node.arguments);
}

void adaptive_avg_pool1d(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  give_without_height(call,
                      out.add("aten.adaptive_avg_pool2d.default",
                              {ValueRef{with_height(out, call.tensor(0))}, for_both(call, 1, 1)},
                              with_height(call.result())));
}

// The size is stated, so that rounding of scales is the capture's.
IntList last_sizes(const TensorType& type) { return {type.shape.end() - 2, type.shape.end()}; }

Argument scales_of(const EdgeCall& call, size_t i, bool one_dim) {
  if (!call.has(i)) return None{};
  FloatList scales = std::get<FloatList>(call.arg(i));
  if (one_dim) scales.insert(scales.begin(), 1.0);
  return scales;
}

// (x, output_size, scale_factors)
void upsample_nearest1d(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const TensorType type = with_height(call.result());
  const bool scaled = call.has(2);
  give_without_height(call, out.kernel("aten.upsample_nearest2d.vec",
                                       {ValueRef{with_height(out, call.tensor(0))},
                                        scaled ? Argument(None{}) : Argument(last_sizes(type)),
                                        scales_of(call, 2, true)},
                                       type));
}

// (x, output_size, align_corners, scale_factors)
void upsample_linear1d(const EdgeCall& call) {
  EdgeWriter& out = call.out;
  const TensorType type = with_height(call.result());
  const bool scaled = call.has(3);
  give_without_height(call, out.kernel("aten.upsample_bilinear2d.vec",
                                       {ValueRef{with_height(out, call.tensor(0))},
                                        scaled ? Argument(None{}) : Argument(last_sizes(type)),
                                        call.arg(2), scales_of(call, 3, true)},
                                       type));
}

}  // namespace

std::span<const EdgeLowering> pooling_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.max_pool2d.default", max_pool2d},
      EdgeLowering{"aten.max_pool1d.default", max_pool1d},
      EdgeLowering{"aten.avg_pool1d.default", avg_pool1d},
      EdgeLowering{"aten.adaptive_avg_pool2d.default", adaptive_avg_pool2d},
      EdgeLowering{"aten.adaptive_avg_pool1d.default", adaptive_avg_pool1d},
      EdgeLowering{"aten.upsample_nearest1d.vec", upsample_nearest1d},
      EdgeLowering{"aten.upsample_linear1d.vec", upsample_linear1d},
  };
  return kRows;
}

}  // namespace portwright
