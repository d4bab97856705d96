#include "executorch/xnnpack_payload.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "executorch/flatbuffer_list.h"

namespace portwright {
namespace {

namespace fb = fb_xnnpack;

// Packed, as it lies at the start; the reader of the format is XNNHeader.cpp of ExecuTorch.
constexpr size_t kHeaderBytes = 30;
constexpr size_t kMagicAt = 4, kGraphOffsetAt = 10, kGraphSizeAt = 14, kConstantsOffsetAt = 18,
                 kConstantsSizeAt = 22;
constexpr std::string_view kMagic = "XH00";
constexpr uint32_t kGraphAlignment = 8;

[[noreturn]] void corrupt(const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "an XNNPACK payload " + what);
}

template <typename T>
T number_at(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

bool inside(std::string_view bytes, uint64_t offset, uint64_t size) {
  return offset <= bytes.size() && size <= bytes.size() - offset;
}

XnnpackNode reading(std::vector<uint32_t> reads, std::vector<uint32_t> writes) {
  XnnpackNode node;
  node.reads = std::move(reads);
  node.writes = std::move(writes);
  return node;
}

XnnpackNode facts(const fb::_XNNNode1x1& node) {
  return reading({node.input_id()}, {node.output_id()});
}

XnnpackNode facts(const fb::_XNNNode2x1& node) {
  return reading({node.input1_id(), node.input2_id()}, {node.output_id()});
}

// Convolutions and fully connected layers, with a bias or without.
template <typename Layer>
XnnpackNode facts_of_layer(const void* table) {
  const auto& node = *static_cast<const Layer*>(table);
  XnnpackNode found = reading({node.input1_id(), node.filter_id()}, {node.output_id()});
  if (node.bias_id() != kNoXnnpackValue) found.reads.push_back(node.bias_id());
  return found;
}

XnnpackNode facts(const fb::_XNNPooling2D& node) {
  return reading({node.input_id()}, {node.output_id()});
}

XnnpackNode facts(const fb::XNNArgMaxPooling2d& node) {
  return reading({node.input_id()}, {node.output_value_id(), node.output_index_id()});
}

template <size_t kInputs>
XnnpackNode facts_of_concatenation(const void* table) {
  const auto& node = *static_cast<const fb::_XNNCat*>(table);
  const uint32_t ids[] = {node.input1_id(), node.input2_id(), node.input3_id(), node.input4_id(),
                          node.input5_id()};
  return reading({ids, ids + kInputs}, {node.output_id()});
}

XnnpackNode facts(const fb::XNNStaticTranspose& node) {
  std::vector<uint32_t> order = copy_of(node.perm());
  XnnpackNode found = reading({node.input_id()}, {node.output_id()});
  found.input_ranks = found.output_ranks = {order.size()};
  std::ranges::sort(order);
  for (uint32_t i = 0; i < order.size(); ++i) {
    if (order[i] != i) found.fault = "its order of dims is no permutation";
  }
  return found;
}

XnnpackNode facts(const fb::XNNStaticReshape& node) {
  const std::vector<uint32_t> shape = copy_of(node.new_shape());
  XnnpackNode found = reading({node.input_id()}, {node.output_id()});
  found.output_ranks = {shape.size()};
  if (std::ranges::count(shape, 0U) > 1) found.fault = "it infers more than one size";
  return found;
}

XnnpackNode facts(const fb::XNNStaticSlice& node) {
  XnnpackNode found = reading({node.input_id()}, {node.output_id()});
  found.input_ranks = {copy_of(node.offsets()).size(), copy_of(node.sizes()).size()};
  return found;
}

XnnpackNode facts(const fb::XNNStaticConstantPad& node) {
  XnnpackNode found = reading({node.input_id()}, {node.output_id()});
  found.input_ranks = {copy_of(node.pre_paddings()).size(), copy_of(node.post_paddings()).size()};
  return found;
}

XnnpackNode facts(const fb::XNNStaticResizeBilinear2D& node) {
  return reading({node.input_id()}, {node.output_id()});
}

XnnpackNode facts(const fb::XNNELU& node) { return reading({node.input_id()}, {node.output_id()}); }

XnnpackNode facts(const fb::XNNLeakyReLU& node) {
  return reading({node.input_id()}, {node.output_id()});
}

template <typename Table>
XnnpackNode facts_of(const void* table) {
  return facts(*static_cast<const Table*>(table));
}

// The nodes that the delegate defines; XNNScaledDotProductAttention is in the schema only.
struct Row {
  fb::XNodeUnion type;
  XnnpackNode (*facts)(const void*);
};
using Type = fb::XNodeUnion;
constexpr auto kOne = &facts_of<fb::_XNNNode1x1>;
constexpr auto kTwo = &facts_of<fb::_XNNNode2x1>;
constexpr auto kConvolution = &facts_of_layer<fb::_XNNNodeConv>;
constexpr auto kPooling = &facts_of<fb::_XNNPooling2D>;
constexpr Row kRows[] = {
    {Type::XNNAdd, kTwo},
    {Type::XNNFullyConnected, &facts_of_layer<fb::XNNFullyConnected>},
    {Type::XNNSoftmax, kOne},
    {Type::XNNSigmoid, kOne},
    {Type::XNNStaticTranspose, &facts_of<fb::XNNStaticTranspose>},
    {Type::XNNClamp, kOne},
    {Type::XNNConv2d, kConvolution},
    {Type::XNNDiv, kTwo},
    {Type::XNNStaticResizeBilinear2D, &facts_of<fb::XNNStaticResizeBilinear2D>},
    {Type::XNNStaticConstantPad, &facts_of<fb::XNNStaticConstantPad>},
    {Type::XNNAvgPooling2d, kPooling},
    {Type::XNNMinimum, kTwo},
    {Type::XNNDepthwiseConv2d, kConvolution},
    {Type::XNNMaxPooling2d, kPooling},
    {Type::XNNMultiply, kTwo},
    {Type::XNNSubtract, kTwo},
    {Type::XNNFloor, kOne},
    {Type::XNNConvert, kOne},
    {Type::XNNGlobalAvgPooling2d, kOne},
    {Type::XNNStaticReshape, &facts_of<fb::XNNStaticReshape>},
    {Type::XNNArgMaxPooling2d, &facts_of<fb::XNNArgMaxPooling2d>},
    {Type::XNNSquareRoot, kOne},
    {Type::XNNCeiling, kOne},
    {Type::XNNHardswish, kOne},
    {Type::XNNLeakyReLU, &facts_of<fb::XNNLeakyReLU>},
    {Type::XNNMaximum, kTwo},
    {Type::XNNNegate, kOne},
    {Type::XNNSquare, kOne},
    {Type::XNNELU, &facts_of<fb::XNNELU>},
    {Type::XNNAbs, kOne},
    {Type::XNNPReLU, kTwo},
    {Type::XNNConcatenate2, &facts_of_concatenation<2>},
    {Type::XNNConcatenate3, &facts_of_concatenation<3>},
    {Type::XNNConcatenate4, &facts_of_concatenation<4>},
    {Type::XNNStaticSlice, &facts_of<fb::XNNStaticSlice>},
    {Type::XNNBatchMatrixMultiply, kTwo},
    {Type::XNNConcatenate5, &facts_of_concatenation<5>},
    {Type::XNNConvTranspose2d, kConvolution},
    {Type::XNNReciprocalSquareRoot, kOne},
    {Type::XNNLog, kOne},
    {Type::XNNGelu, kOne},
    {Type::XNNTanh, kOne},
    {Type::XNNExp, kOne},
    {Type::XNNSin, kOne},
    {Type::XNNCopy, kOne},
    {Type::XNNCos, kOne},
};

}  // namespace

XnnpackPayload XnnpackPayload::read(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes || bytes.substr(kMagicAt, kMagic.size()) != kMagic) {
    corrupt("has no header");
  }
  const auto offset = number_at<uint32_t>(bytes, kGraphOffsetAt);
  const auto size = number_at<uint32_t>(bytes, kGraphSizeAt);
  const auto constants = number_at<uint32_t>(bytes, kConstantsOffsetAt);
  XnnpackPayload payload;
  payload.constant_bytes = number_at<uint64_t>(bytes, kConstantsSizeAt);
  if (!inside(bytes, offset, size) || !inside(bytes, constants, payload.constant_bytes) ||
      offset % kGraphAlignment != 0) {
    corrupt("of " + std::to_string(bytes.size()) + " bytes has its parts outside of it");
  }
  const auto* start = reinterpret_cast<const uint8_t*>(bytes.data()) + offset;
  flatbuffers::Verifier verifier(start, size);
  if (!fb::VerifyXNNGraphBuffer(verifier)) corrupt("is truncated or damaged");
  payload.graph = fb::GetXNNGraph(start);
  if (payload.graph->xnodes() == nullptr || payload.graph->xvalues() == nullptr) {
    corrupt("has a graph without nodes or values");
  }
  return payload;
}

const fb::XNNTensorValue* tensor_of(const fb::XValue& value) {
  if (const auto* plain = value.xvalue_union_as_XNNTensorValue()) return plain;
  const auto* quantized = value.xvalue_union_as_XNNQuantizedTensorValue();
  return quantized == nullptr ? nullptr : quantized->tensor_value();
}

XnnpackNode node_of(const fb::XNode& node) {
  const auto* row = std::ranges::find(kRows, node.xnode_union_type(), &Row::type);
  if (row == std::end(kRows) || node.xnode_union() == nullptr) {
    XnnpackNode unknown;
    unknown.fault = "the delegate has no such node";
    return unknown;
  }
  return row->facts(node.xnode_union());
}

}  // namespace portwright
