// What the names of a .pt2 document stand for while it is read. Internal to this folder.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <variant>

#include "ir/program.h"

namespace portwright {

using Json = nlohmann::json;

// A tensor, or a symbolic number.
using NamedValue = std::variant<ValueId, Expr, Real, Predicate>;

// Errors are Error(kCorrupt), as for all that contradicts itself in a document.
class Scope {
 public:
  void define(const std::string& name, NamedValue value);
  const NamedValue& find(const std::string& name) const;
  ValueId tensor(const std::string& name) const;

 private:
  std::unordered_map<std::string, NamedValue> values_;
};

[[noreturn]] inline void corrupt(const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "the .pt2 document contradicts itself: " + what);
}

// The field and the value of one of the schema's unions: {"as_int": 3}.
inline std::pair<const std::string&, const Json&> union_of(const Json& json) {
  if (!json.is_object() || json.size() != 1) corrupt("a union without its one field");
  return {json.begin().key(), json.begin().value()};
}

}  // namespace portwright
