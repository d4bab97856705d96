// Convolutions. The runtime's kernel takes one and two dims; three are sums over slices in time.
#include <array>

#include "executorch/edge/lowering.h"

namespace portwright {
namespace {

// The operands of every convolution, sizes by dim.
struct Convolution {
  ValueId x = kNoValue, weight = kNoValue;
  Argument bias;
  IntList stride, padding, dilation, output_padding;
  bool transposed = false;
  Expr groups = 1;
};

// One size for all dims may be given once.
IntList by_dim(const EdgeCall& call, size_t i, size_t dims) {
  IntList sizes = call.ints(i);
  if (sizes.size() == 1) sizes.resize(dims, sizes[0]);
  return sizes;
}

size_t spatial_rank(const EdgeCall& call) { return call.type(1).rank() - 2; }

// A tensor without a batch dim gets one of 1.
ValueId with_batch(const EdgeCall& call) {
  std::vector<Expr> shape = call.type(0).shape;
  if (shape.size() == call.type(1).rank()) return call.tensor(0);
  shape.insert(shape.begin(), Expr(1));
  return call.out.view(call.tensor(0), shape);
}

void give_convolution(const EdgeCall& call, const Convolution& c) {
  TensorType type = call.result();
  if (type.rank() < call.type(1).rank()) type.shape.insert(type.shape.begin(), Expr(1));
  const ValueId result =
      call.out.kernel("aten.convolution.default",
                      {ValueRef{c.x}, ValueRef{c.weight}, c.bias, c.stride, c.padding, c.dilation,
                       c.transposed, c.output_padding, c.groups},
                      type);
  call.give(call.out.view(result, call.result().shape));
}

// (x, weight, bias, stride, padding, dilation, groups)
Convolution read(const EdgeCall& call) {
  const size_t dims = spatial_rank(call);
  return {
      with_batch(call),      call.tensor(1),         call.arg(2), by_dim(call, 3, dims),      {},
      by_dim(call, 5, dims), IntList(dims, Expr(0)), false,       std::get<Expr>(call.arg(6))};
}

void conv(const EdgeCall& call) {
  Convolution c = read(call);
  c.padding = by_dim(call, 4, spatial_rank(call));
  give_convolution(call, c);
}

// Padding "same" is dilation * (kernel - 1), of which the odd one goes behind.
Convolution read_padded(const EdgeCall& call) {
  Convolution c = read(call);
  EdgeWriter& out = call.out;
  const size_t dims = spatial_rank(call);
  c.padding.assign(dims, Expr(0));
  if (std::get<std::string>(call.arg(4)) != "same") return c;
  IntList amounts;
  TensorType type = out.type(c.x);
  for (size_t i = dims; i-- > 0;) {
    const Expr total = c.dilation[i] * (call.type(1).shape.at(2 + i) - 1);
    amounts.push_back(floor_div(total, 2));
    amounts.push_back(total - floor_div(total, 2));
    type.shape[2 + i] = type.shape[2 + i] + total;
  }
  c.x = out.kernel("aten.constant_pad_nd.default", {ValueRef{c.x}, amounts, 0.0}, type);
  return c;
}

void conv_padded(const EdgeCall& call) { give_convolution(call, read_padded(call)); }

// (x, weight, bias, stride, padding, output_padding, groups, dilation)
void conv_transpose(const EdgeCall& call) {
  const size_t dims = spatial_rank(call);
  give_convolution(call, {with_batch(call), call.tensor(1), call.arg(2), by_dim(call, 3, dims),
                          by_dim(call, 4, dims), by_dim(call, 7, dims), by_dim(call, 5, dims), true,
                          std::get<Expr>(call.arg(6))});
}

// x[:, :, start : start + (count - 1) * step + 1 : step] as images: [N * count, C, H, W].
ValueId frames(EdgeWriter& out, ValueId x, const Expr& start, const Expr& count, const Expr& step) {
  TensorType type = out.type(x);
  type.strides.reset();
  type.shape[2] = count;
  const ValueId part =
      out.add("aten.slice.Tensor",
              {ValueRef{x}, Expr(2), start, start + (count - 1) * step + 1, step}, type);
  const ValueId first = out.permute(part, {0, 2, 1, 3, 4});
  return out.view(first, {type.shape[0] * count, type.shape[1], type.shape[3], type.shape[4]});
}

ValueId padded_in_time(EdgeWriter& out, ValueId x, const Expr& amount) {
  if (amount.is_constant(0)) return x;
  TensorType type = out.type(x);
  type.shape[2] = type.shape[2] + 2 * amount;
  return out.kernel("aten.constant_pad_nd.default",
                    {ValueRef{x}, IntList{0, 0, 0, 0, amount, amount}, 0.0}, type);
}

void give_conv3d(const EdgeCall& call, const Convolution& c) {
  EdgeWriter& out = call.out;
  std::vector<Expr> result = call.result().shape;
  if (result.size() == 4) result.insert(result.begin(), Expr(1));
  const ValueId x = padded_in_time(out, c.x, c.padding[0]);
  const std::vector<Expr> kernel = out.type(c.weight).shape;
  const Expr count = result.at(2);
  const TensorType image{
      call.result().dtype, {result[0] * count, result[1], result[3], result[4]}, {}};
  ValueId sum = kNoValue;
  for (int64_t k = 0; k < kernel.at(2).constant(); ++k) {
    const ValueId weight = out.add(
        "aten.select.int", {ValueRef{c.weight}, Expr(2), Expr(k)},
        TensorType{out.type(c.weight).dtype, {kernel[0], kernel[1], kernel[3], kernel[4]}, {}});
    const ValueId part =
        out.kernel("aten.convolution.default",
                   {ValueRef{frames(out, x, k * c.dilation[0], count, c.stride[0])},
                    ValueRef{weight}, k == 0 ? c.bias : Argument(None{}),
                    IntList{c.stride[1], c.stride[2]}, IntList{c.padding[1], c.padding[2]},
                    IntList{c.dilation[1], c.dilation[2]}, false, IntList{0, 0}, c.groups},
                   image);
    sum = sum == kNoValue ? part : out.sum(sum, part);
  }
  const ValueId by_frame = out.view(sum, {result[0], count, result[1], result[3], result[4]});
  call.give(out.view(out.permute(by_frame, {0, 2, 1, 3, 4}), call.result().shape));
}

void conv3d(const EdgeCall& call) {
  Convolution c = read(call);
  c.padding = by_dim(call, 4, 3);
  give_conv3d(call, c);
}

void conv3d_padded(const EdgeCall& call) { give_conv3d(call, read_padded(call)); }

// (x, weight, bias, stride, padding, dilation, transposed, output_padding, groups)
void convolution(const EdgeCall& call) {
  const size_t dims = spatial_rank(call);
  const bool transposed = std::get<bool>(call.arg(6));
  if (dims < 3) return call.kernel(call.node.op, call.node.arguments);
  if (transposed) {
    throw Error(ErrorCode::kUnsupported,
                "aten.convolution, transposed and over three dims: call "
                "torch.nn.functional.conv_transpose3d instead");
  }
  give_conv3d(call, {with_batch(call), call.tensor(1), call.arg(2), by_dim(call, 3, dims),
                     by_dim(call, 4, dims), by_dim(call, 5, dims), IntList(dims, Expr(0)), false,
                     std::get<Expr>(call.arg(8))});
}

}  // namespace

std::span<const EdgeLowering> convolution_edges() {
  static constexpr std::array kRows = {
      EdgeLowering{"aten.conv1d.default", conv},
      EdgeLowering{"aten.conv2d.default", conv},
      EdgeLowering{"aten.conv1d.padding", conv_padded},
      EdgeLowering{"aten.conv2d.padding", conv_padded},
      EdgeLowering{"aten.conv3d.default", conv3d},
      EdgeLowering{"aten.conv3d.padding", conv3d_padded},
      EdgeLowering{"aten.convolution.default", convolution},
      EdgeLowering{"aten.conv_transpose1d.default", conv_transpose},
      EdgeLowering{"aten.conv_transpose2d.input", conv_transpose},
  };
  return kRows;
}

}  // namespace portwright
