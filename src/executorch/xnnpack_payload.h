// What the XNNPACK delegate reads: a header, a graph as a flatbuffer, and, of old, constants.
#pragma once

#include <xnnpack_generated.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace portwright {

inline constexpr const char* kXnnpackBackend = "XnnpackBackend";

struct XnnpackPayload {
  const fb_xnnpack::XNNGraph* graph = nullptr;
  uint64_t constant_bytes = 0;  // behind the graph

  // A view of the bytes. Error(kCorrupt) when they are no such payload, or a graph without nodes or
  // values.
  static XnnpackPayload read(std::string_view bytes);
};

// The tensor of a value, quantised or not; null when it has none.
const fb_xnnpack::XNNTensorValue* tensor_of(const fb_xnnpack::XValue& value);

// What a node names.
struct XnnpackNode {
  std::vector<uint32_t> reads;
  std::vector<uint32_t> writes;
  std::vector<size_t> input_ranks;   // of lists that have an item for each dim of the input
  std::vector<size_t> output_ranks;  // and of the output
  std::string fault;                 // what of the node itself cannot be
};
inline constexpr uint32_t kNoXnnpackValue = UINT32_MAX;

// With a fault when the delegate has no such node.
XnnpackNode node_of(const fb_xnnpack::XNode& node);

}  // namespace portwright
