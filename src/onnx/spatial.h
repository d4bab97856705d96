// What convolutions and pooling share.
#pragma once

#include <string>
#include <vector>

#include "onnx/lowering.h"

namespace portwright {

// A spatial operand as one int per spatial dim.
std::vector<int64_t> spatial(const Argument& argument, size_t dims);
// ONNX wants all begins, then all ends.
std::vector<int64_t> both_ends(std::vector<int64_t> pads);

// An operand without a batch (3-D for a 2-D operator) gets one, and loses it again.
struct Batched {
  std::string value;
  bool added;
};
Batched with_batch(const LoweringCall& call, size_t dims);
void give_unbatched(const LoweringCall& call, const std::string& value, bool added);

// `value` of this rank times weights [size, new size] along an axis.
std::string product_along(Emitter& e, const std::string& value, size_t rank, size_t axis,
                          const std::string& weights);

}  // namespace portwright
