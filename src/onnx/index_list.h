// What stands between the brackets of x[a, :, mask]: tensors of indices and masks, as the index
// operands of GatherND and ScatterND.
#pragma once

#include <string>
#include <vector>

#include "onnx/lowering.h"

namespace portwright {

struct IndexList {
  std::vector<int64_t> dims;  // of self, that are indexed; a mask of rank r counts for r dims
  std::string places;         // int64 [common..., dims.size()]
  size_t common_rank = 0;     // of the shape that the indices have together
  std::vector<Expr> common;   // that shape; empty with masks, whose count data decides
  bool has_masks = false;

  // numpy's rule: the common dims stand where the first indexed dim stood when the indexed dims are
  // next to each other, else in front.
  size_t position() const;
  // The order that puts the indexed dims of a tensor of this rank in front of the others.
  std::vector<int64_t> to_front(size_t rank) const;
  // The order that takes [common..., others...] to where the common dims belong, and back from it.
  std::vector<int64_t> to_position(size_t result_rank) const;
  std::vector<int64_t> from_position(size_t result_rank) const;
  // The shape of x[...], a 1-D int64 tensor.
  std::string result_shape(const LoweringCall& call) const;
};

// Of the list at argument 1; self is argument 0.
IndexList index_list(const LoweringCall& call);

// Transposes unless the order is the identity.
std::string reordered(Emitter& e, const std::string& value, const std::vector<int64_t>& order);

}  // namespace portwright
