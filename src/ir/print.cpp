#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <unordered_map>

#include "ir/text.h"
#include "ir/text_tables.h"

namespace portwright {
namespace {

std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '\n') {
      result += "\\n";
    } else {
      result += c;
    }
  }
  return result + '"';
}

// Shortest text that reads back to the same double, always recognisable as one.
std::string number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

template <typename Items, typename Print>
std::string bracketed(const Items& items, Print&& print_item) {
  std::string text = "[";
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) text += ", ";
    text += print_item(items[i]);
  }
  return text + "]";
}

std::string flag(bool value) { return value ? "True" : "False"; }

bool printable_name(const std::string& name) {
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) return false;
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '.'; });
}

}  // namespace

std::string to_string(const TensorType& type) {
  std::string text(to_string(type.dtype));
  auto item = [](const Expr& expr) { return to_string(expr); };
  text += bracketed(type.shape, item);
  if (type.strides) text += " strides " + bracketed(*type.strides, item);
  return text;
}

namespace {

template <typename T>
std::string elements_text(const Weight& weight) {
  const std::vector<std::byte> bytes = weight.copy_bytes();
  std::vector<T> items(bytes.size() / sizeof(T));
  std::memcpy(items.data(), bytes.data(), bytes.size());
  return bracketed(items, [](T item) {
    if constexpr (std::is_floating_point_v<T>) return number(item);
    return std::to_string(item);
  });
}

std::string weight_text(const Weight& weight) {
  if (weight.numel() > kPrintedElements) return "external";
  switch (weight.dtype) {
    case DType::kFloat32: return elements_text<float>(weight);
    case DType::kFloat64: return elements_text<double>(weight);
    case DType::kInt64: return elements_text<int64_t>(weight);
    case DType::kInt32: return elements_text<int32_t>(weight);
    case DType::kBool: return elements_text<int8_t>(weight);
    default: return "external";
  }
}

class GraphPrinter {
 public:
  GraphPrinter(const Program& program, const Graph& graph) : program_(program), graph_(graph) {
    for (ValueId id : graph.inputs) name(id);
    for (const Node& node : graph.nodes) for_each_output(node, [this](ValueId id) { name(id); });
  }

  std::string value(ValueId id) const {
    if (id == kNoValue) return "None";
    auto found = names_.find(id);
    return found == names_.end() ? "%?" + std::to_string(id) : found->second;
  }

  std::string node(const Node& node, const std::string& indent) const {
    std::string results, types;
    for (const Output& output : node.outputs) {
      if (!results.empty()) results += ", ";
      if (!types.empty()) types += ", ";
      if (const auto* id = std::get_if<ValueId>(&output)) {
        results += value(*id);
        types += to_string(graph_.type(*id));
      } else if (const auto* list = std::get_if<ValueList>(&output)) {
        results += bracketed(*list, [this](ValueId id) { return value(id); });
        types += bracketed(*list, [this](ValueId id) { return to_string(graph_.type(id)); });
      } else {
        results += "None";
        types += "None";
      }
    }
    std::string text = indent;
    if (!node.outputs.empty()) text += results + " : " + types + " = ";
    text += node.op + "(";
    for (size_t i = 0; i < node.arguments.size(); ++i) {
      if (i > 0) text += ", ";
      text += argument(node.arguments[i]);
    }
    text += ")" + place(program_.source(node), program_.module_path(node));
    for (const Graph& body : node.graphs) text += " " + nested(body, indent);
    return text;
  }

  static std::string place(const SourceLine& source, const std::string& module) {
    std::string text;
    if (source.known()) text += " at " + quoted(source.file) + ":" + std::to_string(source.line);
    if (!module.empty()) text += " in " + quoted(module);
    return text;
  }

 private:
  void name(ValueId id) {
    if (names_.contains(id)) return;
    const std::string& given = graph_.values.at(id).name;
    names_[id] = "%" + (printable_name(given) ? given : std::to_string(next_++));
  }

  std::string nested(const Graph& body, const std::string& indent) const {
    const GraphPrinter inner(program_, body);
    std::string text = "graph(";
    for (size_t i = 0; i < body.inputs.size(); ++i) {
      if (i > 0) text += ", ";
      text += inner.value(body.inputs[i]) + " : " + to_string(body.type(body.inputs[i]));
    }
    text += ") {\n";
    for (const Node& node : body.nodes) text += inner.node(node, indent + "  ") + "\n";
    text += indent + "  return " +
            bracketed(body.outputs, [&inner](ValueId id) { return inner.value(id); }) + "\n";
    return text + indent + "}";
  }

  std::string argument(const Argument& argument) const {
    struct Printer {
      const GraphPrinter& graph;
      std::string operator()(None) const { return "None"; }
      std::string operator()(ValueRef ref) const { return graph.value(ref.id); }
      std::string operator()(bool item) const { return flag(item); }
      std::string operator()(const Expr& expr) const { return to_string(expr); }
      std::string operator()(double item) const { return number(item); }
      std::string operator()(const Real& real) const { return "real(" + to_string(real) + ")"; }
      std::string operator()(const Predicate& predicate) const {
        return "pred(" + to_string(predicate) + ")";
      }
      std::string operator()(const std::string& text) const { return quoted(text); }
      std::string operator()(DType dtype) const { return "dtype " + std::string(to_string(dtype)); }
      std::string operator()(const Device& device) const { return "device " + quoted(device.name); }
      std::string operator()(const Layout& layout) const { return "layout " + quoted(layout.name); }
      std::string operator()(const MemoryFormat& format) const {
        return "memory_format " + quoted(format.name);
      }
      std::string operator()(const ValueList& list) const {
        return "values " + bracketed(list, [this](ValueId id) { return graph.value(id); });
      }
      std::string operator()(const IntList& list) const {
        return "ints " + bracketed(list, [](const Expr& expr) { return to_string(expr); });
      }
      std::string operator()(const FloatList& list) const {
        return "floats " + bracketed(list, number);
      }
      std::string operator()(const BoolList& list) const {
        return "bools " + bracketed(list, flag);
      }
      std::string operator()(const StringList& list) const {
        return "strings " + bracketed(list, [](const std::string& text) { return quoted(text); });
      }
    };
    return std::visit(Printer{*this}, argument);
  }

  const Program& program_;
  const Graph& graph_;
  std::unordered_map<ValueId, std::string> names_;
  size_t next_ = 0;
};

std::string symbol_text(const SymbolInfo& info) {
  std::string text = "  symbol " + info.name + " in " + to_string(info.range) + " hint " +
                     std::to_string(info.hint);
  if (!info.origin.empty()) text += " from " + quoted(info.origin);
  if (info.is_size) text += " size";
  if (info.from_user) text += " user";
  if (info.unbacked) text += " unbacked";
  if (info.is_float) text += " float";
  return text + "\n";
}

}  // namespace

std::string print(const Program& program) {
  const Graph& graph = program.graph;
  const GraphPrinter printer(program, graph);
  std::string text = "program {\n";
  for (SymbolId id = 0; id < program.symbols->size(); ++id) {
    text += symbol_text(program.symbols->info(id));
  }
  for (const Guard& guard : program.symbols->guards()) {
    text += "  guard " + std::string(word_of(kGuardWords, guard.kind)) + " " +
            to_string(guard.predicate) + GraphPrinter::place(guard.source, guard.module_path) +
            "\n";
  }
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const InputSpec& spec = program.inputs.at(i);
    text += "  input " + std::string(word_of(kInputWords, spec.kind));
    if (spec.kind == InputKind::kBuffer && !spec.persistent) text += " transient";
    text += " " + printer.value(graph.inputs[i]) + " " + quoted(spec.target) + " : " +
            to_string(graph.type(graph.inputs[i]));
    if (spec.weight) text += " = " + weight_text(*spec.weight);
    text += '\n';
  }
  for (const Node& node : graph.nodes) text += printer.node(node, "  ") + "\n";
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const OutputSpec& spec = program.outputs.at(i);
    text += "  output " + std::string(word_of(kOutputWords, spec.kind)) + " " +
            quoted(spec.target) + " " + printer.value(graph.outputs[i]) + "\n";
  }
  return text + "}\n";
}

std::string print(const Program& program, const Node& node) {
  return GraphPrinter(program, program.graph).node(node, "");
}

}  // namespace portwright
