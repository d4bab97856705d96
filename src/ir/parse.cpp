#include <charconv>
#include <cstring>
#include <unordered_map>

#include "ir/text.h"
#include "ir/text_tables.h"
#include "ir/verifier.h"

namespace portwright {
namespace {

constexpr int kMaxNesting = 64;  // of graphs, so that hostile text cannot exhaust the stack

// Reads characters and words, and knows where it is.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  [[noreturn]] void fail(const std::string& expected) const {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < position_ && i < text_.size(); ++i) {
      column = text_[i] == '\n' ? 1 : column + 1;
      line += text_[i] == '\n' ? 1 : 0;
    }
    throw Error(ErrorCode::kParse, "IR text, line " + std::to_string(line) + ", column " +
                                       std::to_string(column) + ": expected " + expected);
  }

  // White space, and comments from '#' to the end of the line.
  void skip_space() {
    for (bool comment = false; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      comment = c == '#' || (comment && c != '\n');
      if (!comment && !std::isspace(static_cast<unsigned char>(c))) return;
    }
  }

  bool at_end() {
    skip_space();
    return position_ >= text_.size();
  }

  bool peek(std::string_view token) {
    skip_space();
    return text_.substr(position_, token.size()) == token;
  }

  bool take(std::string_view token) {
    if (!peek(token)) return false;
    position_ += token.size();
    return true;
  }

  void need(std::string_view token) {
    if (!take(token)) fail("'" + std::string(token) + "'");
  }

  // A whole word: letters, digits, '_' and '.'.
  std::string word() {
    skip_space();
    const size_t start = position_;
    while (position_ < text_.size() && is_word(text_[position_])) ++position_;
    if (start == position_) fail("a word");
    return std::string(text_.substr(start, position_ - start));
  }

  bool take_word(std::string_view word) {
    skip_space();
    const size_t end = position_ + word.size();
    if (text_.substr(position_, word.size()) != word) return false;
    if (end < text_.size() && is_word(text_[end])) return false;
    position_ = end;
    return true;
  }

  std::string string() {
    need("\"");
    std::string result;
    while (position_ < text_.size() && text_[position_] != '"') {
      char c = text_[position_++];
      if (c == '\\' && position_ < text_.size()) {
        c = text_[position_++];
        if (c == 'n') c = '\n';
      }
      result += c;
    }
    need("\"");
    return result;
  }

  int64_t integer() {
    skip_space();
    if (take_word("inf")) return Interval::kInfinity;
    if (peek("-inf")) {
      take("-inf");
      return -Interval::kInfinity;
    }
    int64_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + position_, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("an integer");
    position_ = static_cast<size_t>(end - text_.data());
    return value;
  }

  // Everything up to a ',', ')' or ']' that is not inside brackets.
  std::string_view operand() {
    skip_space();
    const size_t start = position_;
    int depth = 0;
    for (; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (c == '\n') break;
      if (c == '(' || c == '[') ++depth;
      if (depth == 0 && (c == ',' || c == ')' || c == ']')) break;
      if (c == ')' || c == ']') --depth;
    }
    std::string_view found = text_.substr(start, position_ - start);
    while (!found.empty() && found.back() == ' ') found.remove_suffix(1);
    if (found.empty()) fail("an operand");
    return found;
  }

  // Everything up to the end of the line or one of the stops.
  std::string_view until(std::initializer_list<std::string_view> stops) {
    skip_space();
    size_t end = std::min(text_.find('\n', position_), text_.size());
    for (std::string_view stop : stops) end = std::min(end, text_.find(stop, position_));
    const std::string_view found = text_.substr(position_, end - position_);
    position_ = end;
    return found;
  }

 private:
  static bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
  }

  std::string_view text_;
  size_t position_ = 0;
};

std::optional<double> as_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool looks_real(std::string_view text) {
  return text.find_first_of(".e") != std::string_view::npos || text == "inf" || text == "-inf" ||
         text == "nan";
}

class Parser {
 public:
  explicit Parser(std::string_view text) : scan_(text) {}

  Program run() {
    scan_.need("program");
    scan_.need("{");
    std::vector<Guard> guards;
    while (!scan_.take("}")) {
      if (scan_.take_word("symbol")) {
        symbol();
      } else if (scan_.take_word("guard")) {
        guards.push_back(guard());
      } else if (scan_.take_word("input")) {
        input();
      } else if (scan_.take_word("output")) {
        output();
      } else {
        program_.graph.nodes.push_back(node(program_.graph, names_, 0));
      }
    }
    if (!scan_.at_end()) scan_.fail("the end of the text");
    program_.symbols->set_guards(std::move(guards));
    verify(program_);
    return std::move(program_);
  }

 private:
  using Names = std::unordered_map<std::string, ValueId>;

  void symbol() {
    SymbolInfo info;
    info.name = scan_.word();
    info.is_size = false;
    scan_.need("in");
    scan_.need("[");
    info.range.lo = scan_.integer();
    scan_.need(",");
    info.range.hi = scan_.integer();
    scan_.need("]");
    scan_.need("hint");
    info.hint = scan_.integer();
    if (scan_.take_word("from")) info.origin = scan_.string();
    info.is_size = scan_.take_word("size");
    info.from_user = scan_.take_word("user");
    info.unbacked = scan_.take_word("unbacked");
    info.is_float = scan_.take_word("float");
    program_.symbols->add_symbol(std::move(info));
  }

  Guard guard() {
    Guard guard;
    guard.kind = kind(kGuardWords, "a kind of guard");
    guard.predicate = parse_predicate(scan_.until({" at \"", " in \""}), *program_.symbols);
    std::tie(guard.source, guard.module_path) = place();
    return guard;
  }

  void input() {
    InputSpec spec;
    spec.kind = kind(kInputWords, "a kind of input");
    spec.persistent = spec.kind != InputKind::kConstantTensor && !scan_.take_word("transient");
    const std::string name = new_name();
    spec.target = scan_.string();
    scan_.need(":");
    TensorType type = tensor_type();
    if (spec.kind != InputKind::kUserInput) {
      scan_.need("=");
      spec.weight = weight(type);
    }
    program_.graph.inputs.push_back(define(program_.graph, names_, name, std::move(type)));
    program_.inputs.push_back(std::move(spec));
  }

  void output() {
    OutputSpec spec;
    spec.kind = kind(kOutputWords, "a kind of output");
    spec.target = scan_.string();
    program_.graph.outputs.push_back(value(names_));
    program_.outputs.push_back(std::move(spec));
  }

  template <typename Table>
  auto kind(const Table& table, const std::string& what) -> decltype(table[0].first) {
    for (const auto& [value, word] : table) {
      if (scan_.take_word(word)) return value;
    }
    scan_.fail(what);
  }

  std::pair<SourceLine, std::string> place() {
    SourceLine source;
    std::string module;
    if (scan_.take_word("at")) {
      source.file = scan_.string();
      scan_.need(":");
      source.line = static_cast<int>(scan_.integer());
    }
    if (scan_.take_word("in")) module = scan_.string();
    return {source, module};
  }

  Provenance provenance() {
    auto [source, module] = place();
    Provenance found;
    if (source.known()) {
      auto [entry, added] = sources_.try_emplace(
          to_string(source), static_cast<uint32_t>(program_.source_lines.size()));
      if (added) program_.source_lines.push_back(source);
      found.source = entry->second;
    }
    if (!module.empty()) {
      auto [entry, added] =
          modules_.try_emplace(module, static_cast<uint32_t>(program_.module_paths.size()));
      if (added) program_.module_paths.push_back(module);
      found.module = entry->second;
    }
    return found;
  }

  std::string new_name() {
    scan_.need("%");
    return scan_.word();
  }

  ValueId define(Graph& graph, Names& names, const std::string& name, TensorType type) {
    const bool numbered = std::isdigit(static_cast<unsigned char>(name[0])) != 0;
    const ValueId id = graph.add_value(std::move(type), numbered ? "" : name);
    if (!names.emplace(name, id).second) scan_.fail("a new name instead of %" + name);
    return id;
  }

  ValueId value(const Names& names) {
    const std::string name = new_name();
    auto found = names.find(name);
    if (found == names.end()) scan_.fail("a value that is defined above instead of %" + name);
    return found->second;
  }

  IntList exprs() {
    IntList items;
    list([&] { items.push_back(parse_expr(scan_.operand(), *program_.symbols)); });
    return items;
  }

  template <typename Item>
  void list(Item&& item) {
    scan_.need("[");
    if (scan_.take("]")) return;
    do {
      item();
    } while (scan_.take(","));
    scan_.need("]");
  }

  TensorType tensor_type() {
    TensorType type;
    const std::string name = scan_.word();
    const auto dtype = parse_dtype(name);
    if (!dtype) scan_.fail("an element type instead of " + name);
    type.dtype = *dtype;
    type.shape = exprs();
    if (scan_.take_word("strides")) type.strides = exprs();
    return type;
  }

  template <typename T>
  void elements(std::vector<std::byte>& bytes) {
    size_t at = 0;
    list([&] {
      const auto number = as_double(scan_.operand());
      if (!number || at + sizeof(T) > bytes.size()) scan_.fail("as many numbers as elements");
      const T item = static_cast<T>(*number);
      std::memcpy(bytes.data() + at, &item, sizeof(T));
      at += sizeof(T);
    });
  }

  Weight weight(const TensorType& type) {
    std::vector<int64_t> shape;
    int64_t numel = 1;
    for (const Expr& size : type.shape) {
      if (!size.is_constant()) scan_.fail("a weight with constant sizes");
      shape.push_back(size.constant());
      if (__builtin_mul_overflow(numel, size.constant(), &numel) || numel > (int64_t{1} << 32)) {
        scan_.fail("a weight of at most 2^32 elements");
      }
    }
    std::vector<std::byte> bytes(static_cast<size_t>(numel) * element_size(type.dtype));
    if (!scan_.take_word("zeros") && !scan_.take_word("external")) {
      switch (type.dtype) {
        case DType::kFloat32: elements<float>(bytes); break;
        case DType::kFloat64: elements<double>(bytes); break;
        case DType::kInt64: elements<int64_t>(bytes); break;
        case DType::kInt32: elements<int32_t>(bytes); break;
        case DType::kBool: elements<int8_t>(bytes); break;
        default: scan_.fail("'zeros' or 'external'");
      }
    }
    return Weight::from_host(type.dtype, std::move(shape), std::move(bytes));
  }

  Node node(Graph& graph, Names& names, int depth) {
    if (depth > kMaxNesting) scan_.fail("fewer nested graphs");
    std::vector<std::pair<bool, std::vector<std::string>>> results;  // (is a list, names)
    if (scan_.peek("%") || scan_.peek("[") || scan_.peek("None")) {
      do {
        results.push_back(result_names());
      } while (scan_.take(","));
      scan_.need(":");
    }
    Node node;
    for (size_t i = 0; i < results.size(); ++i) {
      if (i > 0) scan_.need(",");
      node.outputs.push_back(typed_output(graph, names, results[i].first, results[i].second));
    }
    if (!results.empty()) scan_.need("=");
    node.op = scan_.word();
    scan_.need("(");
    if (!scan_.take(")")) {
      do {
        node.arguments.push_back(argument(names));
      } while (scan_.take(","));
      scan_.need(")");
    }
    node.provenance = provenance();
    while (scan_.take_word("graph")) node.graphs.push_back(nested(depth + 1));
    return node;
  }

  std::pair<bool, std::vector<std::string>> result_names() {
    if (scan_.take_word("None")) return {false, {}};
    if (scan_.peek("%")) return {false, {new_name()}};
    std::vector<std::string> found;
    list([&] { found.push_back(new_name()); });
    return {true, found};
  }

  Output typed_output(Graph& graph, Names& names, bool is_list,
                      const std::vector<std::string>& found) {
    if (!is_list) {
      if (found.empty()) {
        scan_.need("None");
        return None{};
      }
      return define(graph, names, found[0], tensor_type());
    }
    ValueList ids;
    size_t next = 0;
    list([&] {
      if (next >= found.size()) scan_.fail("as many types as results");
      ids.push_back(define(graph, names, found[next++], tensor_type()));
    });
    return ids;
  }

  Graph nested(int depth) {
    Graph graph;
    Names names;
    scan_.need("(");
    while (!scan_.take(")")) {
      const std::string name = new_name();
      scan_.need(":");
      graph.inputs.push_back(define(graph, names, name, tensor_type()));
      scan_.take(",");
    }
    scan_.need("{");
    while (!scan_.take_word("return")) graph.nodes.push_back(node(graph, names, depth));
    list([&] { graph.outputs.push_back(value(names)); });
    scan_.need("}");
    return graph;
  }

  bool flag() {
    if (scan_.take_word("True")) return true;
    if (scan_.take_word("False")) return false;
    scan_.fail("True or False");
  }

  Argument argument(const Names& names) {
    if (scan_.take_word("None")) return None{};
    if (scan_.peek("True") || scan_.peek("False")) return flag();
    if (scan_.peek("%")) return ValueRef{value(names)};
    if (scan_.peek("\"")) return scan_.string();
    if (scan_.take_word("dtype")) {
      const std::string name = scan_.word();
      const auto dtype = parse_dtype(name);
      if (!dtype) scan_.fail("an element type instead of " + name);
      return *dtype;
    }
    if (scan_.take_word("device")) return Device{scan_.string()};
    if (scan_.take_word("layout")) return Layout{scan_.string()};
    if (scan_.take_word("memory_format")) return MemoryFormat{scan_.string()};
    if (scan_.take("real(")) {
      Real real = parse_real(scan_.operand(), *program_.symbols);
      scan_.need(")");
      return real;
    }
    if (scan_.take("pred(")) {
      Predicate predicate = parse_predicate(scan_.operand(), *program_.symbols);
      scan_.need(")");
      return predicate;
    }
    if (scan_.take_word("ints")) return exprs();
    if (auto found = typed_list(names)) return *found;
    const std::string_view text = scan_.operand();
    if (looks_real(text)) {
      if (auto number = as_double(text)) return *number;
    }
    return parse_expr(text, *program_.symbols);
  }

  std::optional<Argument> typed_list(const Names& names) {
    if (scan_.take_word("values")) {
      ValueList items;
      list([&] { items.push_back(scan_.take_word("None") ? kNoValue : value(names)); });
      return items;
    }
    if (scan_.take_word("floats")) {
      FloatList items;
      list([&] {
        const auto number = as_double(scan_.operand());
        if (!number) scan_.fail("a number");
        items.push_back(*number);
      });
      return items;
    }
    if (scan_.take_word("bools")) {
      BoolList items;
      list([&] { items.push_back(flag()); });
      return items;
    }
    if (scan_.take_word("strings")) {
      StringList items;
      list([&] { items.push_back(scan_.string()); });
      return items;
    }
    return std::nullopt;
  }

  Scanner scan_;
  Program program_;
  Names names_;
  std::unordered_map<std::string, uint32_t> sources_;
  std::unordered_map<std::string, uint32_t> modules_;
};

}  // namespace

Program parse(std::string_view text) { return Parser(text).run(); }

}  // namespace portwright
