// Names of nodes in the FX graph that torch.export.load builds.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace portwright {

class FxNames {
 public:
  // A Python identifier made from `base` that was not given out before and hides no builtin:
  // "linear", "linear_1", "sum_1", "past_key_values_0_key".
  std::string fresh(std::string_view base);

 private:
  std::unordered_set<std::string> taken_;
  std::unordered_map<std::string, int> next_;
};

}  // namespace portwright
