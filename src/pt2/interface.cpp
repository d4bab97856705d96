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

constexpr int kMaxDepth = 100;

class PathWalker {
 public:
  explicit PathWalker(std::map<std::string, size_t>& paths) : paths_(paths) {}

  // `path` is empty below a container whose children have no name.
  void walk(const Json& spec, const std::optional<std::string>& path, int depth = 0) {
    if (depth > kMaxDepth) throw Error(ErrorCode::kCorrupt, "a tree spec is nested too deeply");
    if (spec.at("type").is_null()) {
      if (path) paths_.emplace(*path, leaf_);
      // What strict mode calls it.
      paths_.emplace("['flat_args'][" + std::to_string(leaf_) + "]", leaf_);
      ++leaf_;
      return;
    }
    const std::string type = spec.at("type").get<std::string>();
    const Json& children = spec.at("children_spec");
    const bool list = type == "builtins.tuple" || type == "builtins.list";
    const Json keys =
        type == "builtins.dict" ? Json::parse(spec.at("context").get<std::string>()) : Json();
    for (size_t i = 0; i < children.size(); ++i) {
      std::optional<std::string> child;
      if (path && list) child = *path + "[" + std::to_string(i) + "]";
      if (path && keys.is_array() && keys.at(i).is_string()) {
        child = *path + "['" + keys.at(i).get<std::string>() + "']";
      }
      walk(children.at(i), child, depth + 1);
    }
  }

 private:
  std::map<std::string, size_t>& paths_;
  size_t leaf_ = 0;
};

}  // namespace

std::map<std::string, size_t> input_paths(const Pt2Interface& interface) {
  std::map<std::string, size_t> paths;
  PathWalker walker(paths);
  const Json spec = Json::parse(interface.in_spec).at(1);
  const Json& positional = spec.at("children_spec").at(0).at("children_spec");
  for (size_t i = 0; i < positional.size(); ++i) {
    std::optional<std::string> path;
    if (i < interface.argument_names.size()) path = "['" + interface.argument_names[i] + "']";
    walker.walk(positional.at(i), path);
  }
  walker.walk(spec.at("children_spec").at(1), "");
  return paths;
}

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
