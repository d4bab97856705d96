// The graph of a .pt2 program while it is being written. Internal to this folder.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "pt2/fx_names.h"

namespace portwright {

using Json = nlohmann::json;

struct GraphState {
  FxNames names;
  Json nodes = Json::array();
  Json tensor_values = Json::object();
  Json sym_int_values = Json::object();
  Json sym_float_values = Json::object();
  Json sym_bool_values = Json::object();
  Json metadata = Json::object();  // of the nodes that are added

  void add_node(const std::string& target, Json inputs, Json outputs, const std::string& name) {
    nodes.push_back({{"target", target},
                     {"inputs", std::move(inputs)},
                     {"outputs", std::move(outputs)},
                     {"metadata", metadata},
                     {"is_hop_single_tensor_return", nullptr},
                     {"name", name}});
  }
};

// ArgumentKind of the schema.
inline constexpr int kPositional = 1;
inline constexpr int kKeyword = 2;

inline Json named_argument(const std::string& name, Json argument, int kind = kPositional) {
  return {{"name", name}, {"arg", std::move(argument)}, {"kind", kind}};
}

// JSON has no infinities: the format spells them.
inline Json float_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return value;
}

}  // namespace portwright
