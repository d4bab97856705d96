// Convolutions over one dim as convolutions over rows of height 1.
#pragma once

#include <unordered_map>
#include <utility>
#include <vector>

#include "fusion/rewriter.h"

namespace portwright {

// The filters as XNNPACK's nodes need them: new constants of the program, of the same bytes.
class RowFilters {
 public:
  explicit RowFilters(Program& program) : program_(program) {}

  // [out, in, width] as [out, in, 1, width]; kNoValue for filters that are no constant.
  ValueId of(ValueId filter);
  // Adds them to the program's inputs, before those of the user.
  void add_inputs();

 private:
  Program& program_;
  std::unordered_map<ValueId, ValueId> made_;
  std::vector<std::pair<ValueId, InputSpec>> added_;
};

// Writes the node over rows and gives true, or leaves it: nodes that are no such convolution.
bool convolve_rows(Rewriter& out, const Node& node, RowFilters& filters);

}  // namespace portwright
