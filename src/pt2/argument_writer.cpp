#include "pt2/argument_writer.h"

#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

Json tensor_json(const ValueNames& names, ValueId id) { return {{"name", names.at(id)}}; }

Json named_number(const char* field, int number, const std::string& name) {
  if (number == 0) {
    throw Error(ErrorCode::kUnsupported, "the .pt2 format has no number for '" + name + "'");
  }
  return {{field, number}};
}

// "cpu" or "cuda:1".
Json device_json(const std::string& device) {
  const size_t colon = device.find(':');
  Json index = nullptr;
  if (colon != std::string::npos) index = std::stoi(device.substr(colon + 1));
  return {{"type", device.substr(0, colon)}, {"index", index}};
}

class ArgumentWriter {
 public:
  ArgumentWriter(const std::string& type, const ValueNames& names, SymbolNodes& symbols)
      : type_(type), names_(names), symbols_(symbols) {}

  Json operator()(const None&) const { return {{"as_none", true}}; }
  Json operator()(const ValueRef& ref) const {
    return {{"as_tensor", tensor_json(names_, ref.id)}};
  }
  Json operator()(bool flag) const { return {{"as_bool", flag}}; }
  Json operator()(const Expr& expr) const {
    if (list_of_ints()) return (*this)(IntList{expr});
    return symbols_.integer(expr);
  }
  Json operator()(double value) const { return {{"as_float", float_json(value)}}; }
  Json operator()(const Real& real) const { return symbols_.real(real); }
  Json operator()(const Predicate& predicate) const { return symbols_.boolean(predicate); }
  Json operator()(const std::string& text) const { return {{"as_string", text}}; }
  Json operator()(const DType& dtype) const {
    return named_number("as_scalar_type", dtype_number(dtype), std::string(to_string(dtype)));
  }
  Json operator()(const Device& device) const { return {{"as_device", device_json(device.name)}}; }
  Json operator()(const Layout& layout) const {
    return named_number("as_layout", number_of(kLayouts, layout.name), layout.name);
  }
  Json operator()(const MemoryFormat& format) const {
    return named_number("as_memory_format", number_of(kMemoryFormats, format.name), format.name);
  }
  Json operator()(const FloatList& list) const {
    Json items = Json::array();
    for (double item : list) items.push_back(float_json(item));
    return {{"as_floats", std::move(items)}};
  }
  Json operator()(const BoolList& list) const { return {{"as_bools", list}}; }
  Json operator()(const StringList& list) const { return {{"as_strings", list}}; }

  Json operator()(const ValueList& list) const {
    const bool optional = type_.starts_with("Tensor?[]");
    Json items = Json::array();
    for (ValueId id : list) {
      if (!optional) {
        items.push_back(tensor_json(names_, id));
      } else if (id == kNoValue) {
        items.push_back({{"as_none", true}});
      } else {
        items.push_back({{"as_tensor", tensor_json(names_, id)}});
      }
    }
    return {{optional ? "as_optional_tensors" : "as_tensors", std::move(items)}};
  }

  Json operator()(const IntList& list) const {
    bool constant = true;
    for (const Expr& item : list) constant = constant && item.is_constant();
    Json items = Json::array();
    for (const Expr& item : list) {
      if (constant) {
        items.push_back(item.constant());
      } else {
        const Json number = symbols_.integer(item);
        items.push_back(number.contains("as_int") ? number : number.at("as_sym_int"));
      }
    }
    return {{constant ? "as_ints" : "as_sym_ints", std::move(items)}};
  }

 private:
  bool list_of_ints() const { return type_.starts_with("SymInt[]") || type_.starts_with("int[]"); }

  const std::string& type_;
  const ValueNames& names_;
  SymbolNodes& symbols_;
};

}  // namespace

Json write_argument(const Argument& argument, const std::string& type, const ValueNames& names,
                    SymbolNodes& symbols) {
  return std::visit(ArgumentWriter(type, names, symbols), argument);
}

Json write_arguments(const Node& node, const Schema& schema, const ValueNames& names,
                     SymbolNodes& symbols) {
  auto is_default = [&](size_t i) { return schema.arguments[i].fallback == node.arguments[i]; };
  size_t positional = 0;  // up to the last one that says something
  for (size_t i = 0; i < node.arguments.size(); ++i) {
    if (!schema.arguments[i].keyword_only && !is_default(i)) positional = i + 1;
  }
  Json inputs = Json::array();
  for (size_t i = 0; i < node.arguments.size(); ++i) {
    const SchemaArgument& slot = schema.arguments[i];
    if (slot.keyword_only ? is_default(i) : i >= positional) continue;
    inputs.push_back(named_argument(slot.name,
                                    write_argument(node.arguments[i], slot.type, names, symbols),
                                    slot.keyword_only ? kKeyword : kPositional));
  }
  return inputs;
}

}  // namespace portwright
