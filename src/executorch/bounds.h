// Upper bounds of symbolic sizes: ExecuTorch's runtime plans memory for them, and takes every size
// below.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/program.h"

namespace portwright {

class BoxRange;

class Bounds {
 public:
  // A bound for each symbol of the program (by SymbolId), at least its hint.
  Bounds(const SymbolTable& symbols, std::vector<int64_t> upper);

  // What is known of the expression when every symbol lies between its least value and its bound,
  // and all guards hold.
  Interval range(const Expr& expr) const;
  int64_t upper(const Expr& expr) const;  // Error(kUnsupported) when there is none
  std::vector<int64_t> upper(const std::vector<Expr>& shape) const;

  int64_t symbol(SymbolId id) const { return upper_.at(id); }

 private:
  std::vector<int64_t> upper_;
  std::shared_ptr<BoxRange> ranges_;  // remembers what it has computed
};

// What a symbolic size can be at most where the model and the user's Dim(max=) do not say.
struct BoundsPolicy {
  std::optional<int64_t> all;            // of every such dim
  std::map<std::string, int64_t> named;  // by the symbol's name or its dim ("input_ids.size(1)")
};

// The default: twice the sample's size; for inputs of integers (tokens and their masks) at least
// 128 along all dims but the first. What data decides (as the count of nonzero) is bounded by the
// size of the data, an item of a tensor by twice the sample's or 128. `notes` says what was taken.
// Error(kInvalidArgument) for a bound below the sample's size, or a name that no dim has.
Bounds choose_bounds(const Program& program, const BoundsPolicy& policy,
                     std::vector<std::string>& notes);

}  // namespace portwright
