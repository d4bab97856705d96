#include "ir/missing_operators.h"

#include <algorithm>
#include <map>
#include <vector>

namespace portwright {
namespace {

constexpr size_t kListedPlaces = 3;  // per operator

using Places = std::map<std::string, std::vector<std::string>>;

std::string place_of(const Program& program, const Node& node) {
  std::string place = to_string(program.source(node));
  if (place.empty()) place = "an unknown line";
  if (!program.module_path(node).empty()) place += " in " + program.module_path(node);
  return place;
}

void find_missing(const Program& program, const Graph& graph,
                  const std::function<bool(const Node&)>& knows,
                  const std::function<bool(const Node&)>& enters, Places& missing) {
  for (const Node& node : graph.nodes) {
    if (!knows(node)) missing[node.op].push_back(place_of(program, node));
    if (!enters(node)) continue;
    for (const Graph& body : node.graphs) find_missing(program, body, knows, enters, missing);
  }
}

}  // namespace

void check_operators(const Program& program, const std::string& what,
                     const std::function<bool(const Node&)>& knows,
                     const std::function<bool(const Node&)>& enters) {
  Places missing;
  find_missing(program, program.graph, knows, enters, missing);
  if (missing.empty()) return;
  std::string text = std::to_string(missing.size()) + " operator(s) " + what + ":";
  for (auto& [op, places] : missing) {
    text += "\n  " + op + ", used " + std::to_string(places.size()) + " time(s):";
    places.erase(std::unique(places.begin(), places.end()), places.end());
    for (size_t i = 0; i < std::min(places.size(), kListedPlaces); ++i)
      text += "\n    " + places[i];
    if (places.size() > kListedPlaces) text += "\n    ...";
  }
  text += "\nRewrite these lines with other operators, or ask for the lowering with this message.";
  throw Error(ErrorCode::kMissingLowering, text);
}

}  // namespace portwright
