#include "executorch/xnnpack/graph.h"

#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "xnnpack_generated.h"

namespace portwright {
namespace {

namespace fb = fb_xnnpack;
using Kind = fb::XNodeUnion;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr uint32_t kInvalid = UINT32_MAX;  // XNN_INVALID_VALUE_ID
constexpr uint32_t kExternalInput = 1, kExternalOutput = 2;

struct NodeWriter {
  FlatBufferBuilder& builder;
  const XnnNode& node;

  uint32_t input(size_t i) const { return i < node.inputs.size() ? node.inputs[i] : kInvalid; }
  template <typename T>
  const T& attributes() const {
    if (const auto* found = std::get_if<T>(&node.attributes)) return *found;
    throw Error(ErrorCode::kInternal, "an XNNPACK node has attributes of another kind");
  }
};

using Write = Offset<void> (*)(const NodeWriter&);

Offset<void> write_unary(const NodeWriter& w) {
  return fb::Create_XNNNode1x1(w.builder, w.input(0), w.node.output, w.node.flags).Union();
}

Offset<void> write_binary(const NodeWriter& w) {
  return fb::Create_XNNNode2x1(w.builder, w.input(0), w.input(1), w.node.output, w.node.flags)
      .Union();
}

Offset<void> write_elu(const NodeWriter& w) {
  return fb::CreateXNNELU(w.builder, w.attributes<XnnScalar>().value, w.input(0), w.node.output,
                          w.node.flags)
      .Union();
}

Offset<void> write_leaky_relu(const NodeWriter& w) {
  return fb::CreateXNNLeakyReLU(w.builder, w.attributes<XnnScalar>().value, w.input(0),
                                w.node.output, w.node.flags)
      .Union();
}

Offset<void> write_concatenate(const NodeWriter& w) {
  return fb::Create_XNNCat(w.builder, w.attributes<XnnAxis>().axis, w.input(0), w.input(1),
                           w.input(2), w.input(3), w.node.output, w.node.flags, w.input(4))
      .Union();
}

Offset<void> write_pad(const NodeWriter& w) {
  const auto& padding = w.attributes<XnnPadding>();
  return fb::CreateXNNStaticConstantPadDirect(w.builder, &padding.before, &padding.after,
                                              padding.value, w.input(0), w.node.output,
                                              w.node.flags)
      .Union();
}

Offset<void> write_reshape(const NodeWriter& w) {
  const auto& dims = w.attributes<XnnDims>().dims;
  return fb::CreateXNNStaticReshapeDirect(w.builder, static_cast<uint32_t>(dims.size()), &dims,
                                          w.input(0), w.node.output, w.node.flags)
      .Union();
}

Offset<void> write_transpose(const NodeWriter& w) {
  const auto& order = w.attributes<XnnDims>().dims;
  return fb::CreateXNNStaticTransposeDirect(w.builder, static_cast<uint32_t>(order.size()), &order,
                                            w.input(0), w.node.output, w.node.flags)
      .Union();
}

Offset<void> write_resize(const NodeWriter& w) {
  const auto& size = w.attributes<XnnDims>().dims;
  return fb::CreateXNNStaticResizeBilinear2D(w.builder, size.at(0), size.at(1), w.input(0),
                                             w.node.output, w.node.flags)
      .Union();
}

Offset<void> write_slice(const NodeWriter& w) {
  const auto& slice = w.attributes<XnnSlice>();
  return fb::CreateXNNStaticSliceDirect(w.builder, static_cast<uint32_t>(slice.sizes.size()),
                                        &slice.offsets, &slice.sizes, w.input(0), w.node.output,
                                        w.node.flags)
      .Union();
}

Offset<void> write_fully_connected(const NodeWriter& w) {
  return fb::CreateXNNFullyConnected(w.builder, w.input(0), w.input(1), w.input(2), w.node.output,
                                     w.node.flags)
      .Union();
}

Offset<void> write_convolution(const NodeWriter& w) {
  const auto& c = w.attributes<XnnConvolution>();
  return fb::Create_XNNNodeConv(w.builder, c.padding.top, c.padding.right, c.padding.bottom,
                                c.padding.left, c.kernel.height, c.kernel.width, c.stride.height,
                                c.stride.width, c.dilation.height, c.dilation.width, c.group_inputs,
                                c.group_outputs, c.groups, c.adjustment.height, c.adjustment.width,
                                w.input(0), w.input(1), w.input(2), w.node.output, w.node.flags)
      .Union();
}

Offset<void> write_pooling(const NodeWriter& w) {
  const auto& p = w.attributes<XnnPooling>();
  return fb::Create_XNNPooling2D(w.builder, p.padding.top, p.padding.right, p.padding.bottom,
                                 p.padding.left, p.kernel.height, p.kernel.width, p.stride.height,
                                 p.stride.width, p.dilation.height, p.dilation.width, w.input(0),
                                 w.node.output, w.node.flags)
      .Union();
}

struct Form {
  XnnOp op;
  Kind kind;
  Write write;
};

// In the order of XnnOp. A concatenation's kind is of 2; those of more are looked up below.
constexpr std::array kForms = {
    Form{XnnOp::kAbs, Kind::XNNAbs, write_unary},
    Form{XnnOp::kCeiling, Kind::XNNCeiling, write_unary},
    Form{XnnOp::kClamp, Kind::XNNClamp, write_unary},
    Form{XnnOp::kConvert, Kind::XNNConvert, write_unary},
    Form{XnnOp::kCopy, Kind::XNNCopy, write_unary},
    Form{XnnOp::kCos, Kind::XNNCos, write_unary},
    Form{XnnOp::kExp, Kind::XNNExp, write_unary},
    Form{XnnOp::kFloor, Kind::XNNFloor, write_unary},
    Form{XnnOp::kGelu, Kind::XNNGelu, write_unary},
    Form{XnnOp::kGlobalAveragePool, Kind::XNNGlobalAvgPooling2d, write_unary},
    Form{XnnOp::kHardswish, Kind::XNNHardswish, write_unary},
    Form{XnnOp::kLog, Kind::XNNLog, write_unary},
    Form{XnnOp::kNegate, Kind::XNNNegate, write_unary},
    Form{XnnOp::kReciprocalSquareRoot, Kind::XNNReciprocalSquareRoot, write_unary},
    Form{XnnOp::kSigmoid, Kind::XNNSigmoid, write_unary},
    Form{XnnOp::kSin, Kind::XNNSin, write_unary},
    Form{XnnOp::kSoftmax, Kind::XNNSoftmax, write_unary},
    Form{XnnOp::kSquare, Kind::XNNSquare, write_unary},
    Form{XnnOp::kSquareRoot, Kind::XNNSquareRoot, write_unary},
    Form{XnnOp::kTanh, Kind::XNNTanh, write_unary},
    Form{XnnOp::kElu, Kind::XNNELU, write_elu},
    Form{XnnOp::kLeakyRelu, Kind::XNNLeakyReLU, write_leaky_relu},
    Form{XnnOp::kAdd, Kind::XNNAdd, write_binary},
    Form{XnnOp::kDivide, Kind::XNNDiv, write_binary},
    Form{XnnOp::kMaximum, Kind::XNNMaximum, write_binary},
    Form{XnnOp::kMinimum, Kind::XNNMinimum, write_binary},
    Form{XnnOp::kMultiply, Kind::XNNMultiply, write_binary},
    Form{XnnOp::kPrelu, Kind::XNNPReLU, write_binary},
    Form{XnnOp::kSubtract, Kind::XNNSubtract, write_binary},
    Form{XnnOp::kBatchMatrixMultiply, Kind::XNNBatchMatrixMultiply, write_binary},
    Form{XnnOp::kConcatenate, Kind::XNNConcatenate2, write_concatenate},
    Form{XnnOp::kPad, Kind::XNNStaticConstantPad, write_pad},
    Form{XnnOp::kReshape, Kind::XNNStaticReshape, write_reshape},
    Form{XnnOp::kResizeBilinear, Kind::XNNStaticResizeBilinear2D, write_resize},
    Form{XnnOp::kSlice, Kind::XNNStaticSlice, write_slice},
    Form{XnnOp::kTranspose, Kind::XNNStaticTranspose, write_transpose},
    Form{XnnOp::kFullyConnected, Kind::XNNFullyConnected, write_fully_connected},
    Form{XnnOp::kConvolution, Kind::XNNConv2d, write_convolution},
    Form{XnnOp::kDepthwiseConvolution, Kind::XNNDepthwiseConv2d, write_convolution},
    Form{XnnOp::kTransposedConvolution, Kind::XNNConvTranspose2d, write_convolution},
    Form{XnnOp::kAveragePool, Kind::XNNAvgPooling2d, write_pooling},
    Form{XnnOp::kMaxPool, Kind::XNNMaxPooling2d, write_pooling},
};

constexpr bool in_order() {
  for (size_t i = 0; i < kForms.size(); ++i) {
    if (static_cast<size_t>(kForms[i].op) != i) return false;
  }
  return true;
}
static_assert(in_order() && kForms.size() == static_cast<size_t>(XnnOp::kMaxPool) + 1);

constexpr std::array kConcatenations = {Kind::XNNConcatenate2, Kind::XNNConcatenate3,
                                        Kind::XNNConcatenate4, Kind::XNNConcatenate5};

Kind kind_of(const XnnNode& node, const Form& form) {
  if (node.op != XnnOp::kConcatenate) return form.kind;
  if (node.inputs.size() < 2 || node.inputs.size() > kXnnMaxConcatenated) {
    throw Error(ErrorCode::kInternal, "XNNPACK joins 2 to 5 tensors");
  }
  return kConcatenations.at(node.inputs.size() - 2);
}

Offset<fb::XNode> write_node(FlatBufferBuilder& builder, const XnnNode& node, uint32_t index) {
  const Form& form = kForms.at(static_cast<size_t>(node.op));
  const Offset<void> body = form.write({builder, node});
  Offset<fb::OutputMinMax> range;
  if (node.range) range = fb::CreateOutputMinMax(builder, node.range->low, node.range->high);
  return fb::CreateXNode(builder, kind_of(node, form), body, index, range);
}

fb::XNNDatatype datatype(DType dtype) {
  if (dtype == DType::kFloat32) return fb::XNNDatatype::xnn_datatype_fp32;
  if (dtype == DType::kFloat16) return fb::XNNDatatype::xnn_datatype_fp16;
  throw Error(ErrorCode::kInternal, "XNNPACK got a " + std::string(to_string(dtype)) + " tensor");
}

Offset<fb::XValue> write_value(FlatBufferBuilder& builder, const XnnGraph& graph, XnnId id) {
  const XnnValue& value = graph.values[id];
  if (value.dims.size() > kXnnMaxRank) {
    throw Error(ErrorCode::kInternal,
                "XNNPACK got a tensor of rank " + std::to_string(value.dims.size()));
  }
  uint32_t flags = 0;
  if (value.external) {
    flags = *value.external < graph.inputs.size() ? kExternalInput : kExternalOutput;
  }
  // Entry 0 of the constants is none.
  const uint32_t constant = value.constant ? *value.constant + 1 : 0;
  const auto tensor = fb::CreateXNNTensorValueDirect(
      builder, datatype(value.dtype), static_cast<uint32_t>(value.dims.size()), &value.dims,
      constant, value.external.value_or(kInvalid), flags, id);
  return fb::CreateXValue(builder, fb::XValueUnion::XNNTensorValue, tensor.Union());
}

Offset<fb::XNNGraph> write_graph(FlatBufferBuilder& builder, const XnnGraph& graph) {
  std::vector<Offset<fb::XNode>> nodes;
  std::vector<Offset<fb::XValue>> values;
  std::vector<Offset<fb::ConstantDataOffset>> constants;
  nodes.reserve(graph.nodes.size());
  values.reserve(graph.values.size());
  constants.reserve(graph.constants.size() + 1);
  constants.push_back(fb::CreateConstantDataOffsetDirect(builder, 0, 0, ""));
  for (const PteNamedData& data : graph.constants) {
    constants.push_back(fb::CreateConstantDataOffsetDirect(
        builder, UINT64_MAX, data.weight.byte_size(), data.key.c_str()));
  }
  for (XnnId id = 0; id < graph.values.size(); ++id) {
    values.push_back(write_value(builder, graph, id));
  }
  for (const XnnNode& node : graph.nodes) {
    nodes.push_back(write_node(builder, node, static_cast<uint32_t>(nodes.size())));
  }
  const auto externals = static_cast<uint32_t>(graph.inputs.size() + graph.outputs.size());
  return fb::CreateXNNGraphDirect(builder, "0", &nodes, &values, externals, &graph.inputs,
                                  &graph.outputs, &constants);
}

constexpr uint32_t kHeaderSize = 32;
constexpr uint16_t kHeaderLength = 30;  // what it says of itself, without its padding
constexpr size_t kAlignment = 16;

template <typename T>
void put(std::string& bytes, size_t offset, T value) {
  std::memcpy(&bytes[offset], &value, sizeof value);
}

}  // namespace

// Source of the header: backends/xnnpack/runtime/XNNHeader.h of executorch 1.4.
std::string serialize(const XnnGraph& graph) {
  FlatBufferBuilder builder;
  builder.Finish(write_graph(builder, graph), "XN01");
  const uint32_t size = builder.GetSize();
  const auto end =
      static_cast<uint32_t>((kHeaderSize + size + kAlignment - 1) / kAlignment * kAlignment);
  std::string bytes(end, '\0');
  std::memcpy(&bytes[4], "XH00", 4);
  put(bytes, 8, kHeaderLength);
  put(bytes, 10, kHeaderSize);
  put(bytes, 14, size);
  put(bytes, 18, end);          // of constants inside the payload: there are none
  put(bytes, 22, uint64_t{0});  // their size
  std::memcpy(&bytes[kHeaderSize], builder.GetBufferPointer(), size);
  return bytes;
}

}  // namespace portwright
