#include "pt2/scope.h"

namespace portwright {

void Scope::define(const std::string& name, NamedValue value) {
  if (!values_.emplace(name, std::move(value)).second) corrupt("'" + name + "' is defined twice");
}

const NamedValue& Scope::find(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end()) corrupt("'" + name + "' is used before it is defined");
  return found->second;
}

ValueId Scope::tensor(const std::string& name) const {
  const auto* id = std::get_if<ValueId>(&find(name));
  if (id == nullptr) corrupt("'" + name + "' is no tensor");
  return *id;
}

}  // namespace portwright
