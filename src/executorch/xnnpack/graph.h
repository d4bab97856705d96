// A subgraph of XNNPACK in memory, and its form in a .pte: what the runtime's XnnpackBackend reads.
// Mirrors src/executorch/schemas/xnnpack.fbs; holds no flatbuffers types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "executorch/pte_model.h"
#include "ir/dtype.h"

namespace portwright {

// Index into XnnGraph::values.
using XnnId = uint32_t;
inline constexpr XnnId kNoXnnValue = UINT32_MAX;

inline constexpr size_t kXnnMaxRank = 6;          // XNN_MAX_TENSOR_DIMS
inline constexpr size_t kXnnMaxExternals = 4096;  // XNNCompiler::compileModel
inline constexpr size_t kXnnMaxConcatenated = 5;

// Bits of XnnNode::flags. Source: xnnpack.h.
inline constexpr uint32_t kXnnTransposeWeights = 1;  // filter [in, out]; of a product, b [n, k]
inline constexpr uint32_t kXnnAlignCorners = 8;      // of kResizeBilinear
inline constexpr uint32_t kXnnKeepDims = 0x40;       // of kGlobalAveragePool

enum class XnnOp : uint8_t {
  // One input.
  kAbs,
  kCeiling,
  kClamp,    // to `range`
  kConvert,  // float32 and float16, to the result's dtype
  kCopy,
  kCos,
  kExp,
  kFloor,
  kGelu,  // the exact one
  kGlobalAveragePool,
  kHardswish,
  kLog,
  kNegate,
  kReciprocalSquareRoot,
  kSigmoid,
  kSin,
  kSoftmax,  // over the last dim
  kSquare,
  kSquareRoot,
  kTanh,
  kElu,        // XnnScalar alpha
  kLeakyRelu,  // XnnScalar slope
  // Two inputs, which broadcast.
  kAdd,
  kDivide,
  kMaximum,
  kMinimum,
  kMultiply,
  kPrelu,
  kSubtract,
  kBatchMatrixMultiply,
  // Layout.
  kConcatenate,     // XnnAxis; 2 to 5 inputs
  kPad,             // XnnPadding
  kReshape,         // XnnDims: the shape, of which one dim may be 0, which is inferred
  kResizeBilinear,  // XnnDims: height and width; NHWC
  kSlice,           // XnnSlice
  kTranspose,       // XnnDims: the order
  // Input, filter, and bias or kNoXnnValue.
  kFullyConnected,
  kConvolution,            // XnnConvolution; NHWC, filter [out, height, width, in of a group]
  kDepthwiseConvolution,   // XnnConvolution; filter [1, height, width, out]
  kTransposedConvolution,  // XnnConvolution; filter [out, height, width, in of a group]
  // XnnPooling; NHWC.
  kAveragePool,
  kMaxPool,
};

struct XnnDims {
  std::vector<uint32_t> dims;
};
// A size of 0 at offset 0 is the whole dim; sizes past its end are cut.
struct XnnSlice {
  std::vector<uint32_t> offsets, sizes;
};
struct XnnPadding {
  std::vector<uint32_t> before, after;
  float value = 0;
};
struct XnnAxis {
  uint32_t axis = 0;
};
struct XnnScalar {
  float value = 0;
};
struct XnnPair {
  uint32_t height = 1, width = 1;
};
struct XnnEdges {
  uint32_t top = 0, right = 0, bottom = 0, left = 0;
};
struct XnnConvolution {
  XnnEdges padding;
  XnnPair kernel, stride, dilation;
  XnnPair adjustment{0, 0};  // of a transposed one, its output_padding
  uint32_t groups = 1, group_inputs = 1, group_outputs = 1;
};
struct XnnPooling {
  XnnEdges padding;
  XnnPair kernel, stride, dilation;
};
using XnnAttributes = std::variant<std::monostate, XnnDims, XnnSlice, XnnPadding, XnnAxis,
                                   XnnScalar, XnnConvolution, XnnPooling>;

struct XnnRange {
  float low = 0, high = 0;
};

struct XnnNode {
  XnnOp op = XnnOp::kCopy;
  std::vector<XnnId> inputs;
  XnnId output = kNoXnnValue;
  XnnAttributes attributes;
  uint32_t flags = 0;
  // What the result is clamped to.
  std::optional<XnnRange> range;
};

struct XnnValue {
  DType dtype = DType::kFloat32;
  std::vector<uint32_t> dims;        // initial ones: each call brings its own
  std::optional<uint32_t> external;  // its place among the delegate call's arguments
  std::optional<uint32_t> constant;  // index into XnnGraph::constants
};

struct XnnGraph {
  std::vector<XnnValue> values;
  std::vector<XnnNode> nodes;           // in topological order
  std::vector<XnnId> inputs, outputs;   // the call's arguments: inputs, then outputs
  std::vector<PteNamedData> constants;  // distinct keys
};

// The payload of a delegate: header "XH00", then the flatbuffer "XN01". Constants are asked for by
// their keys. Error(kInternal) for what the format has no place for.
std::string serialize(const XnnGraph& graph);

}  // namespace portwright
