// The table of what XNNPACK takes: one row per ATen operator, one file per family.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "executorch/xnnpack/builder.h"
#include "executorch/xnnpack/scope.h"

namespace portwright {

// What a node is worth to a delegate.
enum class XnnGain : uint8_t {
  kView,         // moves nothing: outside of a delegate it costs nothing
  kMove,         // copies elements
  kElementwise,  // worth a delegate in company only
  kHeavy,        // worth a delegate of its own
};

struct XnnLowering {
  std::string_view op;
  XnnGain gain;
  // Why XNNPACK does not take the node; "" when it does. What holds for all nodes, see
  // common_refusal(), is not asked again.
  std::string_view (*refusal)(const XnnNodeView& node);
  // Binds the node's results.
  void (*lower)(XnnBuilder& x, const XnnNodeView& node);
  // Whether operands and results may be of different dtypes.
  bool converts = false;
};

// Null when there is no row.
const XnnLowering* find_xnn_lowering(const std::string& op);

// Why XNNPACK does not take the node, its row's own limits included; "" when it does.
std::string_view xnn_refusal(const XnnNodeView& node);

// One per family file.
std::span<const XnnLowering> xnn_binary_lowerings();
std::span<const XnnLowering> xnn_unary_lowerings();
std::span<const XnnLowering> xnn_convolution_lowerings();
std::span<const XnnLowering> xnn_linear_lowerings();
std::span<const XnnLowering> xnn_normalization_lowerings();
std::span<const XnnLowering> xnn_pooling_lowerings();
std::span<const XnnLowering> xnn_reduction_lowerings();
std::span<const XnnLowering> xnn_shape_lowerings();
std::span<const XnnLowering> xnn_slicing_lowerings();

// Whether a tensor of the dtype, float32 or float16, has this number, but for rounding.
bool holds(DType dtype, double number);

// For rows with no limits of their own.
inline std::string_view takes_all(const XnnNodeView&) { return ""; }

// Reasons that several rows give.
inline constexpr std::string_view kSymbolicOperand = "an operand is symbolic";
inline constexpr std::string_view kTwoDynamicDims = "a reshape has more than one dynamic dim";
inline constexpr std::string_view kDynamicWidth = "the size that is summed over is dynamic";
inline constexpr std::string_view kNotHeld = "a number that float16 does not hold";

}  // namespace portwright
