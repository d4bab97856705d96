#include "pt2/interface.h"

#include <nlohmann/json.hpp>

namespace portwright {
namespace {

using Json = nlohmann::json;

Json container(const char* type, const Json& context, Json children) {
  return {{"type", type}, {"context", context.dump()}, {"children_spec", std::move(children)}};
}

Json leaves(size_t count) {
  Json list = Json::array();
  for (size_t i = 0; i < count; ++i) {
    list.push_back({{"type", nullptr}, {"context", nullptr}, {"children_spec", Json::array()}});
  }
  return list;
}

}  // namespace

Pt2Interface plain_interface(const Program& program) {
  constexpr int kTreespecVersion = 1;
  Pt2Interface interface;
  for (size_t i : program.user_inputs()) {
    interface.inputs.push_back({interface.inputs.size(), None{}, {}});
    interface.argument_names.push_back(program.inputs[i].target);
  }
  for (const OutputSpec& spec : program.outputs) {
    if (spec.kind != OutputKind::kUserOutput) continue;
    interface.outputs.push_back({interface.outputs.size(), None{}, {}});
  }
  const Json keywords =
      container("builtins.dict", interface.argument_names, leaves(interface.inputs.size()));
  const Json no_positional = container("builtins.tuple", nullptr, Json::array());
  const Json inputs = container("builtins.tuple", nullptr, Json::array({no_positional, keywords}));
  const Json outputs = container("builtins.tuple", nullptr, leaves(interface.outputs.size()));
  interface.in_spec = Json::array({kTreespecVersion, inputs}).dump();
  interface.out_spec = Json::array({kTreespecVersion, outputs}).dump();
  return interface;
}

}  // namespace portwright
