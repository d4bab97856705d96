#include "pt2/schema.h"

#include <charconv>

#include "base/error.h"
#include "pt2/aten_schemas.h"
#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

class SchemaParser {
 public:
  explicit SchemaParser(std::string_view text) : text_(text), at_(text.find('(')) {}

  Schema parse() {
    Schema schema = signature();
    schema.makes_view = aliases_;
    return schema;
  }

 private:
  Schema signature() {
    Schema schema;
    expect('(');
    bool keyword_only = false;
    while (!take(')')) {
      if (take('*')) {
        keyword_only = true;
      } else {
        schema.arguments.push_back(argument(keyword_only));
      }
      take(',');
      skip_space();
    }
    skip_space();
    expect('-');
    expect('>');
    skip_space();
    if (!take('(')) {
      schema.returns.push_back(type().name);
      return schema;
    }
    while (!take(')')) {
      schema.returns.push_back(type().name);
      word();  // a result's name
      take(',');
      skip_space();
    }
    return schema;
  }

  struct Type {
    std::string name;
    size_t list_size = 0;  // of int[2]
  };

  [[noreturn]] void fail() const {
    throw Error(ErrorCode::kParse,
                "not an operator schema at " + std::to_string(at_) + ": " + std::string(text_));
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail();
  }
  void skip_space() {
    while (take(' ')) {
    }
  }

  std::string word() {
    skip_space();
    const size_t start = at_;
    while (std::isalnum(static_cast<unsigned char>(peek())) != 0 || peek() == '_') ++at_;
    return std::string(text_.substr(start, at_ - start));
  }

  Type type() {
    Type found{word(), 0};
    if (found.name.empty()) fail();
    while (true) {
      if (take('?')) {
        found.name += '?';
      } else if (take('[')) {
        while (std::isdigit(static_cast<unsigned char>(peek())) != 0) {
          found.list_size = 10 * found.list_size + static_cast<size_t>(text_[at_++] - '0');
        }
        expect(']');
        found.name += "[]";
      } else if (take('(')) {  // alias annotation
        aliases_ = true;
        while (at_ < text_.size() && text_[at_] != ')') ++at_;
        expect(')');
      } else {
        return found;
      }
    }
  }

  SchemaArgument argument(bool keyword_only) {
    const Type found = type();
    SchemaArgument result{word(), found.name, keyword_only, std::nullopt};
    if (take('=')) result.fallback = fallback(found);
    return result;
  }

  std::string_view literal() {
    const size_t start = at_;
    if (take('"')) {
      while (peek() != '"' && at_ < text_.size()) at_ += peek() == '\\' ? 2 : 1;
      expect('"');
    } else if (take('[')) {
      while (peek() != ']' && at_ < text_.size()) ++at_;
      expect(']');
    } else {
      while (peek() != ',' && peek() != ')' && at_ < text_.size()) ++at_;
    }
    return text_.substr(start, at_ - start);
  }

  static std::vector<std::string_view> items(std::string_view list) {
    std::vector<std::string_view> found;
    list = list.substr(1, list.size() - 2);
    while (!list.empty()) {
      const size_t comma = std::min(list.find(','), list.size());
      found.push_back(list.substr(0, comma));
      list.remove_prefix(std::min(list.size(), comma + 2));
    }
    return found;
  }

  template <typename T>
  T number(std::string_view text) const {
    T value{};
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) fail();
    return value;
  }

  Argument fallback(const Type& of) {
    const std::string_view text = literal();
    const std::string base = of.name.substr(0, of.name.find_first_of("?["));
    if (text == "None") return None{};
    if (text == "True" || text == "False") return text == "True";
    if (text.front() == '"') return std::string(text.substr(1, text.size() - 2));
    const bool list = of.name.find("[]") != std::string::npos;
    if (list) return list_fallback(base, text, of.list_size);
    if (base == "ScalarType") return static_cast<DType>(number<int>(text));
    if (base == "Layout") return Layout{std::string(kLayouts[0].name)};
    if (base == "MemoryFormat") {
      return MemoryFormat{std::string(kMemoryFormats.at(number<size_t>(text)).name)};
    }
    const bool whole = base == "int" || base == "SymInt" ||
                       (base == "Scalar" && text.find_first_of(".e") == std::string_view::npos);
    if (whole) return Expr(number<int64_t>(text));
    return number<double>(text);
  }

  Argument list_fallback(const std::string& base, std::string_view text, size_t size) const {
    const bool repeated = text.front() != '[';
    const std::vector<std::string_view> parts =
        repeated ? std::vector<std::string_view>(size, text) : items(text);
    if (base == "Tensor" && parts.empty()) return ValueList{};
    if (base == "float") {
      FloatList floats;
      for (std::string_view part : parts) floats.push_back(number<double>(part));
      return floats;
    }
    IntList ints;
    for (std::string_view part : parts) ints.emplace_back(number<int64_t>(part));
    return ints;
  }

  std::string_view text_;
  size_t at_;
  bool aliases_ = false;
};

// "add.Tensor(...)" is aten.add.Tensor, "linear(...)" aten.linear.default.
std::string op_name(std::string_view text) {
  std::string name(text.substr(0, text.find('(')));
  const size_t colons = name.find("::");
  if (colons == std::string::npos) {
    name = "aten." + name;
  } else {
    name.replace(colons, 2, ".");
  }
  if (name.find('.', name.find('.') + 1) == std::string::npos) name += ".default";
  return name;
}

}  // namespace

Schema parse_schema(std::string_view text) { return SchemaParser(text).parse(); }

SchemaTable::SchemaTable() {
  std::string_view rest = aten_schemas();
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(rest.size(), end + 1));
    if (!line.empty()) entries_.emplace(op_name(line), Entry{line, std::nullopt});
  }
}

void SchemaTable::add(std::string text) {
  added_.push_back(std::make_unique<std::string>(std::move(text)));
  entries_.insert_or_assign(op_name(*added_.back()), Entry{*added_.back(), std::nullopt});
}

const Schema* SchemaTable::find(const std::string& op) {
  auto found = entries_.find(op);
  if (found == entries_.end() && source_) {
    if (std::optional<std::string> text = source_(op)) add(std::move(*text));
    found = entries_.find(op);
  }
  if (found == entries_.end()) return nullptr;
  if (!found->second.schema) found->second.schema = parse_schema(found->second.text);
  return &*found->second.schema;
}

}  // namespace portwright
