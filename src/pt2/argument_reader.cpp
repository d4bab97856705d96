#include "pt2/argument_reader.h"

#include <limits>
#include <map>

#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

// as_name or the plain value.
NamedValue symbolic(const Json& value, const Scope& scope) {
  const auto [field, inner] = union_of(value);
  if (field == "as_name") return scope.find(inner.get<std::string>());
  if (field == "as_int") return Expr(inner.get<int64_t>());
  if (field == "as_float") return Real(read_float(inner));
  if (field == "as_bool") return Predicate(inner.get<bool>());
  corrupt("a number with the field '" + field + "'");
}

Argument argument_of(const NamedValue& value) {
  return std::visit(
      [](const auto& item) -> Argument {
        using T = std::decay_t<decltype(item)>;
        if constexpr (std::is_same_v<T, ValueId>) {
          return ValueRef{item};
        } else if constexpr (std::is_same_v<T, Real>) {
          if (const auto number = item.maybe_constant()) return *number;
          return item;
        } else {
          return item;
        }
      },
      value);
}

Argument tensors(const Json& value, const Scope& scope) {
  ValueList list;
  for (const Json& item : value) list.push_back(scope.tensor(item.at("name").get<std::string>()));
  return list;
}

Argument optional_tensors(const Json& value, const Scope& scope) {
  ValueList list;
  for (const Json& item : value) {
    const auto [field, inner] = union_of(item);
    list.push_back(field == "as_none" ? kNoValue
                                      : scope.tensor(inner.at("name").get<std::string>()));
  }
  return list;
}

Argument ints(const Json& value, const Scope&) {
  IntList list;
  for (const Json& item : value) list.emplace_back(item.get<int64_t>());
  return list;
}

Argument sym_ints(const Json& value, const Scope& scope) {
  IntList list;
  for (const Json& item : value) {
    const NamedValue number = symbolic(item, scope);
    const auto* expr = std::get_if<Expr>(&number);
    if (expr == nullptr) corrupt("a list of integers holds something else");
    list.push_back(*expr);
  }
  return list;
}

Argument floats(const Json& value, const Scope&) {
  FloatList list;
  for (const Json& item : value) list.push_back(read_float(item));
  return list;
}

template <typename Table>
std::string name_in(const Table& table, const Json& value, const char* what) {
  const std::string_view name = name_of(table, value.get<int64_t>());
  if (name.empty()) corrupt(std::string("an unknown ") + what + " " + value.dump());
  return std::string(name);
}

Argument dtype(const Json& value, const Scope&) {
  const auto found = dtype_of_number(value.get<int64_t>());
  if (!found) {
    throw Error(ErrorCode::kUnsupported, "the dtype number " + value.dump() + " is not supported");
  }
  return *found;
}

Argument device(const Json& value, const Scope&) {
  const Json& index = value.at("index");
  std::string name = value.at("type").get<std::string>();
  if (!index.is_null()) name += ":" + std::to_string(index.get<int64_t>());
  return Device{std::move(name)};
}

using ReadFunction = Argument (*)(const Json&, const Scope&);
const std::map<std::string_view, ReadFunction> kReaders = {
    {"as_none", [](const Json&, const Scope&) -> Argument { return None{}; }},
    {"as_tensor",
     [](const Json& value, const Scope& scope) -> Argument {
       return ValueRef{scope.tensor(value.at("name").get<std::string>())};
     }},
    {"as_tensors", &tensors},
    {"as_optional_tensors", &optional_tensors},
    {"as_int", [](const Json& v, const Scope&) -> Argument { return Expr(v.get<int64_t>()); }},
    {"as_ints", &ints},
    {"as_sym_ints", &sym_ints},
    {"as_float", [](const Json& v, const Scope&) -> Argument { return read_float(v); }},
    {"as_floats", &floats},
    {"as_bool", [](const Json& v, const Scope&) -> Argument { return v.get<bool>(); }},
    {"as_bools", [](const Json& v, const Scope&) -> Argument { return v.get<BoolList>(); }},
    {"as_string", [](const Json& v, const Scope&) -> Argument { return v.get<std::string>(); }},
    {"as_strings", [](const Json& v, const Scope&) -> Argument { return v.get<StringList>(); }},
    {"as_scalar_type", &dtype},
    {"as_device", &device},
    {"as_layout",
     [](const Json& v, const Scope&) -> Argument {
       return Layout{name_in(kLayouts, v, "layout")};
     }},
    {"as_memory_format",
     [](const Json& v, const Scope&) -> Argument {
       return MemoryFormat{name_in(kMemoryFormats, v, "memory format")};
     }},
};

// An empty list has lost its type on the way.
Argument empty_list(const std::string& type) {
  if (type.starts_with("Tensor")) return ValueList{};
  if (type.starts_with("float")) return FloatList{};
  if (type.starts_with("bool")) return BoolList{};
  return IntList{};
}

}  // namespace

double read_float(const Json& value) {
  if (value.is_number()) return value.get<double>();
  const std::string text = value.get<std::string>();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  corrupt("'" + text + "' is no float");
}

NamedValue read_number(const Json& argument, const Scope& scope) {
  const auto [field, value] = union_of(argument);
  if (field.starts_with("as_sym_")) return symbolic(value, scope);
  return symbolic(argument, scope);
}

Argument read_argument(const Json& argument, const std::string& type, const Scope& scope) {
  const auto [field, value] = union_of(argument);
  if (field == "as_sym_int" || field == "as_sym_float" || field == "as_sym_bool") {
    return argument_of(symbolic(value, scope));
  }
  if (value.is_array() && value.empty()) return empty_list(type);
  const auto reader = kReaders.find(field);
  if (reader == kReaders.end()) {
    throw Error(ErrorCode::kUnsupported,
                "an operand of the kind '" + field + "' in a .pt2 file is not supported");
  }
  Argument result = reader->second(value, scope);
  // Python writes 1 where the schema has a float.
  const auto* whole = std::get_if<Expr>(&result);
  if (whole != nullptr && whole->is_constant() && type.starts_with("float")) {
    return static_cast<double>(whole->constant());
  }
  return result;
}

}  // namespace portwright
