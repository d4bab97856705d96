// Parts of a node in a .pt2 document. Internal to this folder.
#pragma once

#include <string>
#include <string_view>

#include "pt2/scope.h"

namespace portwright {

inline constexpr std::string_view kHigherOrder = "torch.ops.higher_order.";
inline constexpr std::string_view kScan = "torch.ops.higher_order.scan";

// The operand of that name, or at that position.
inline const Json& named_input(const Json& node, const std::string& name, size_t position) {
  const Json& inputs = node.at("inputs");
  for (const Json& input : inputs) {
    if (input.at("name") == name) return input.at("arg");
  }
  return inputs.at(position).at("arg");
}

// What an operand or result that is a tensor or a symbolic number is called.
inline const std::string& name_in(const Json& argument) {
  const auto [field, value] = union_of(argument);
  return value.at(field == "as_tensor" ? "name" : "as_name").get_ref<const std::string&>();
}

}  // namespace portwright
