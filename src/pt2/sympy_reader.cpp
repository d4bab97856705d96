#include "pt2/sympy_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "base/error.h"

namespace portwright {
namespace {

constexpr int kMaxDepth = 200;

using SymbolOf = std::function<Number(const std::string&)>;
using SizeOf = std::function<Expr(const std::string&, size_t)>;

// By how tightly they bind: srepr's calls are read by the same rules as Python's operators.
class SympyParser {
 public:
  // One of `symbol`, for sizes, and `size`, for guards, in which inputs are called by name.
  SympyParser(std::string_view text, SymbolTable& table, const SymbolOf* symbol, const SizeOf* size)
      : text_(text), table_(table), symbol_(symbol), size_(size) {}

  Number read() {
    Number number = either();
    skip_space();
    if (at_ != text_.size()) unknown_rest();
    return number;
  }

  template <typename Wanted>
  Wanted read_as(const char* otherwise) {
    const Number number = read();
    const auto* wanted = std::get_if<Wanted>(&number);
    if (wanted == nullptr) unsupported(otherwise);
    return *wanted;
  }

 private:
  Number either() {
    Number left = both();
    while (take_word("or")) left = apply("or", {left, both()});
    return left;
  }

  Number both() {
    Number left = negation();
    while (take_word("and")) left = apply("and", {left, negation()});
    return left;
  }

  Number negation() {
    bool negative = false;
    while (take_word("not")) negative = !negative;
    Number condition = comparison();
    if (!negative) return condition;
    return apply("not", {condition});
  }

  Number comparison() {
    static constexpr std::array<std::string_view, 6> kRelations = {
        "==", "!=", "<=", ">=", "<", ">"};
    Number left = sum();
    const std::string_view relation = take_one_of(kRelations);
    // No "?:": g++ 12 destroys such a list twice where apply() throws.
    if (relation.empty()) return left;
    return apply(relation, {left, sum()});
  }

  Number sum() {
    static constexpr std::array<std::string_view, 2> kSums = {"+", "-"};
    Number total = product();
    for (auto op = take_one_of(kSums); !op.empty(); op = take_one_of(kSums)) {
      total = apply(op, {total, product()});
    }
    return total;
  }

  Number product() {
    static constexpr std::array<std::string_view, 4> kProducts = {"*", "//", "/", "%"};
    Number total = factor();
    for (auto op = take_one_of(kProducts); !op.empty(); op = take_one_of(kProducts)) {
      total = apply(op, {total, factor()});
    }
    return total;
  }

  Number negative() { return apply("negative", {factor()}); }

  // Whatever nests does so through here.
  Number factor() {
    if (++depth_ > kMaxDepth) fail();
    const Number number = take('-') ? negative() : power();
    --depth_;
    return number;
  }

  Number power() {
    static constexpr std::array<std::string_view, 1> kPowers = {"**"};
    const Number base = operand();
    return take_one_of(kPowers).empty() ? base : apply("**", {base, factor()});
  }

  Number operand() {
    skip_space();
    if (take('(')) {
      Number inner = either();
      if (take_word("if")) inner = choice(inner);
      if (!take(')')) unknown_rest();
      return inner;
    }
    if (at_ < text_.size() && is_digit(text_[at_])) return literal();
    return named_operand(word());
  }

  // (then if condition else otherwise), after the "if".
  Number choice(const Number& then) {
    const Number condition = either();
    if (!take_word("else")) fail();
    return apply("Where", {condition, then, either()});
  }

  Number named_operand(const std::string& name) {
    if (name == "L") return input_size();
    if (name == "Symbol") return symbol();
    if (name == "Integer") return integer_argument();
    if (name == "Float") return float_argument();
    if (const auto constant = find_constant(name)) return *constant;
    need('(');
    Numbers operands;
    while (!take(')')) {
      operands.push_back(either());
      if (!take(',') && !at(')')) unknown_rest();
    }
    return apply(name, operands);
  }

  Number apply(std::string_view name, const Numbers& operands) const {
    const auto result = apply_function(name, operands, table_);
    if (!result) unsupported(std::string(name));
    return *result;
  }

  // L['y']['k'][0].size()[1]
  Expr input_size() {
    constexpr std::string_view kSize = ".size()[";
    constexpr std::array<std::string_view, 2> kOthers = {".stride()[", ".storage_offset()"};
    const size_t end = text_.find(kSize, at_);
    for (std::string_view other : kOthers) {
      if (text_.find(other, at_) < end) unsupported("the layout of an input");
    }
    if (size_ == nullptr || end == std::string_view::npos) fail();
    const std::string path(text_.substr(at_, end - at_));
    at_ = end + kSize.size();
    const auto dim = number<size_t>();
    need(']');
    return (*size_)(path, dim);
  }

  Number symbol() {
    if (symbol_ == nullptr) fail();
    return (*symbol_)(quoted_argument());
  }

  // ('s0', positive=True, integer=True): the first argument, the others are skipped.
  std::string quoted_argument() {
    need('(');
    need('\'');
    const size_t start = at_;
    while (at_ < text_.size() && text_[at_] != '\'') ++at_;
    std::string name(text_.substr(start, at_ - start));
    need('\'');
    while (at_ < text_.size() && text_[at_] != ')') ++at_;
    need(')');
    return name;
  }

  Expr integer_argument() {
    need('(');
    const bool negative = take('-');
    const auto value = number<int64_t>();
    need(')');
    return negative ? -value : value;
  }

  Real float_argument() {
    const std::string digits = quoted_argument();
    double value = 0;
    const auto end = digits.data() + digits.size();
    if (std::from_chars(digits.data(), end, value).ptr != end) fail();
    return value;
  }

  // 12, 0.5 or 1e-05.
  Number literal() {
    size_t end = at_;
    while (end < text_.size() && is_digit(text_[end])) ++end;
    const bool fraction = end < text_.size() && (text_[end] == '.' || text_[end] == 'e');
    if (fraction) return Real(number<double>());
    return Expr(number<int64_t>());
  }

  template <typename T>
  T number() {
    skip_space();
    T value{};
    const char* start = text_.data() + at_;
    const auto [end, error] = std::from_chars(start, text_.data() + text_.size(), value);
    if (error != std::errc()) fail();
    at_ += static_cast<size_t>(end - start);
    return value;
  }

  static bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
  static bool is_in_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
  }

  std::string word() {
    skip_space();
    const size_t start = at_;
    while (at_ < text_.size() && is_in_word(text_[at_])) ++at_;
    if (start == at_) fail();
    return std::string(text_.substr(start, at_ - start));
  }

  bool take_word(std::string_view expected) {
    skip_space();
    const std::string_view rest = text_.substr(at_);
    if (!rest.starts_with(expected)) return false;
    if (rest.size() > expected.size() && is_in_word(rest[expected.size()])) return false;
    at_ += expected.size();
    return true;
  }

  // The first that stands here, or nothing.
  std::string_view take_one_of(std::span<const std::string_view> tokens) {
    skip_space();
    for (std::string_view token : tokens) {
      if (!text_.substr(at_).starts_with(token)) continue;
      at_ += token.size();
      return token;
    }
    return {};
  }

  void skip_space() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool at(char c) {
    skip_space();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool take(char c) {
    if (!at(c)) return false;
    ++at_;
    return true;
  }
  void need(char c) {
    if (!take(c)) fail();
  }

  // Python that torch writes and that is no arithmetic: "a & b".
  [[noreturn]] void unknown_rest() {
    static constexpr std::array<std::string_view, 3> kOthers = {"&", "|", "^"};
    const std::string_view found = take_one_of(kOthers);
    if (found.empty()) fail();
    unsupported("'" + std::string(found) + "'");
  }
  [[noreturn]] void fail() const {
    throw Error(ErrorCode::kCorrupt, "'" + std::string(text_) + "' at " + std::to_string(at_ + 1) +
                                         " is no size or condition as torch.export writes them");
  }
  [[noreturn]] void unsupported(const std::string& what) const {
    throw Error(ErrorCode::kUnsupported,
                "'" + std::string(text_) + "' has " + what +
                    ", which is not supported: export the model with that dim static");
  }

  std::string_view text_;
  SymbolTable& table_;
  const SymbolOf* symbol_;
  const SizeOf* size_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Expr read_sympy(std::string_view text, SymbolTable& table, const SymbolOf& symbol) {
  return SympyParser(text, table, &symbol, nullptr).read_as<Expr>("no integer");
}

Number read_sympy_number(std::string_view text, SymbolTable& table, const SymbolOf& symbol) {
  return SympyParser(text, table, &symbol, nullptr).read();
}

Predicate read_guard(std::string_view text, SymbolTable& table, const SizeOf& size) {
  return SympyParser(text, table, nullptr, &size).read_as<Predicate>("no condition");
}

}  // namespace portwright
