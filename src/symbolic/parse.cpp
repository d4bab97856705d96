// Reads what print.cpp writes: recursive descent with a bound on nesting.
#include <charconv>

#include "base/error.h"
#include "symbolic/expr_impl.h"
#include "symbolic/real_ops.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

constexpr int kMaxDepth = 200;

class Parser {
 public:
  Parser(std::string_view text, SymbolTable& table) : text_(text), table_(table) {}

  template <typename Parse>
  auto whole(Parse parse) {
    auto result = (this->*parse)();
    skip_space();
    if (position_ != text_.size()) fail("the end");
    return result;
  }

  Expr sum() {
    const Nesting nesting(*this);
    Expr total = take("-") ? -product() : product();
    while (true) {
      if (take("+")) {
        total = total + product();
      } else if (take("-")) {
        total = total - product();
      } else {
        return total;
      }
    }
  }

  Real real() {
    const Nesting nesting(*this);
    skip_space();
    const std::string_view rest = text_.substr(position_);
    double value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    // "inf" and "nan" are numbers here; names of operations are not.
    if (error == std::errc()) {
      position_ += static_cast<size_t>(end - rest.data());
      return value;
    }
    const std::string name = word();
    need("(");
    if (name == "ratio") {
      const Expr numerator = sum();
      need(",");
      const Expr denominator = sum();
      need(")");
      return Real::ratio(numerator, denominator);
    }
    if (name == "data") {
      const Expr symbol = sum();
      need(")");
      return Real::from_data(symbol);
    }
    for (const RealOpName& entry : kRealOps) {
      if (entry.name != name) continue;
      const Real first = real();
      if (entry.operands == 1) {
        need(")");
        return Real::unary(entry.op, first);
      }
      need(",");
      const Real second = real();
      need(")");
      return Real::binary(entry.op, first, second);
    }
    fail("an operation on floats instead of '" + name + "'");
  }

  Predicate predicate() {
    const Nesting nesting(*this);
    if (take_word("True")) return true;
    if (take_word("False")) return false;
    if (take_word("not")) {
      need("(");
      const Predicate inner = predicate();
      need(")");
      return !inner;
    }
    if (take("real(")) {
      const Real left = real();
      need(")");
      const Relation kind = relation();
      need("real(");
      const Real right = real();
      need(")");
      return Predicate::compare(left, kind, right);
    }
    if (take("(")) {
      const Predicate left = predicate();
      need(")");
      const bool both = take_word("and");
      if (!both && !take_word("or")) fail("'and' or 'or'");
      need("(");
      const Predicate right = predicate();
      need(")");
      return both ? left && right : left || right;
    }
    const Expr left = sum();
    const Relation kind = relation();
    return Predicate::compare(left, kind, sum());
  }

 private:
  // Bounds the recursion.
  struct Nesting {
    explicit Nesting(Parser& owner) : parser(owner) {
      if (++parser.depth_ > kMaxDepth) parser.fail("less nesting");
    }
    ~Nesting() { --parser.depth_; }
    Parser& parser;
  };

  Expr product() {
    Expr result = factor();
    while (take("*")) result = result * factor();
    return result;
  }

  Expr factor() {
    skip_space();
    if (position_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[position_]))) {
      return integer();
    }
    const std::string name = word();
    if (!take("(")) {
      const auto id = table_.find(name);
      if (!id) fail("a known symbol instead of '" + name + "'");
      return table_.symbol(*id);
    }
    if (name == "floor") return rounded(Rounding::kFloor);
    if (name == "ceil") return rounded(Rounding::kCeil);
    if (name == "trunc") return rounded(Rounding::kTrunc);
    if (name == "round") return rounded(Rounding::kHalfEven);
    const Expr a = sum();
    need(",");
    const Expr b = sum();
    need(")");
    if (name == "floordiv") return floor_div(a, b);
    if (name == "mod") return mod(a, b);
    if (name == "min") return min(a, b);
    if (name == "max") return max(a, b);
    fail("a function instead of '" + name + "'");
  }

  Expr rounded(Rounding rounding) {
    const Real inner = real();
    need(")");
    return round_to_int(inner, rounding, &table_);
  }

  Expr integer() {
    // As unsigned, so that the magnitude of the smallest integer can be read behind its sign.
    uint64_t value = 0;
    const char* start = text_.data() + position_;
    const auto [end, error] = std::from_chars(start, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("a 64-bit integer");
    position_ += static_cast<size_t>(end - start);
    if (value > static_cast<uint64_t>(INT64_MAX)) fail("a 64-bit integer");
    return static_cast<int64_t>(value);
  }

  Relation relation() {
    if (take("==")) return Relation::kEq;
    if (take("!=")) return Relation::kNe;
    if (take("<=")) return Relation::kLe;
    if (take(">=")) return Relation::kGe;
    if (take("<")) return Relation::kLt;
    if (take(">")) return Relation::kGt;
    fail("a comparison");
  }

  void skip_space() {
    while (position_ < text_.size() && text_[position_] == ' ') ++position_;
  }

  static bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.';
  }

  std::string word() {
    skip_space();
    const size_t start = position_;
    while (position_ < text_.size() && is_word(text_[position_])) ++position_;
    if (start == position_) fail("a name");
    return std::string(text_.substr(start, position_ - start));
  }

  bool take(std::string_view token) {
    skip_space();
    if (text_.substr(position_, token.size()) != token) return false;
    position_ += token.size();
    return true;
  }

  bool take_word(std::string_view token) {
    skip_space();
    const size_t end = position_ + token.size();
    if (text_.substr(position_, token.size()) != token) return false;
    if (end < text_.size() && is_word(text_[end])) return false;
    position_ = end;
    return true;
  }

  void need(std::string_view token) {
    if (!take(token)) fail("'" + std::string(token) + "'");
  }

  [[noreturn]] void fail(const std::string& expected) const {
    throw Error(ErrorCode::kParse, "in '" + std::string(text_) + "' at " +
                                       std::to_string(position_ + 1) + ": expected " + expected);
  }

  std::string_view text_;
  SymbolTable& table_;
  size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace

Expr parse_expr(std::string_view text, SymbolTable& table) {
  return Parser(text, table).whole(&Parser::sum);
}

Real parse_real(std::string_view text, SymbolTable& table) {
  return Parser(text, table).whole(&Parser::real);
}

Predicate parse_predicate(std::string_view text, SymbolTable& table) {
  return Parser(text, table).whole(&Parser::predicate);
}

}  // namespace portwright
