#include "pt2/sympy_reader.h"

#include <array>
#include <charconv>
#include <map>
#include <variant>
#include <vector>

#include "base/error.h"

namespace portwright {
namespace {

constexpr int kMaxDepth = 200;

using Number = std::variant<Expr, Real>;
using Numbers = std::vector<Number>;

Real as_real(const Number& number) {
  if (const auto* real = std::get_if<Real>(&number)) return *real;
  return Real::ratio(std::get<Expr>(number));
}

// Exact on two integers, else on floats.
template <typename Whole>
Number binary(const Number& a, const Number& b, Whole whole, RealOp op) {
  const auto* x = std::get_if<Expr>(&a);
  const auto* y = std::get_if<Expr>(&b);
  if (x != nullptr && y != nullptr) return whole(*x, *y);
  return Real::binary(op, as_real(a), as_real(b));
}

Number plus(const Number& a, const Number& b) {
  return binary(a, b, [](const Expr& x, const Expr& y) { return x + y; }, RealOp::kAdd);
}
Number times(const Number& a, const Number& b) {
  return binary(a, b, [](const Expr& x, const Expr& y) { return x * y; }, RealOp::kMul);
}
Number lesser(const Number& a, const Number& b) {
  return binary(a, b, [](const Expr& x, const Expr& y) { return min(x, y); }, RealOp::kMin);
}
Number greater(const Number& a, const Number& b) {
  return binary(a, b, [](const Expr& x, const Expr& y) { return max(x, y); }, RealOp::kMax);
}

class SympyParser {
 public:
  SympyParser(std::string_view text, SymbolTable& table,
              const std::function<Expr(const std::string&)>& symbol)
      : text_(text), table_(table), symbol_(symbol) {}

  // A reader of guards, in which inputs are called by name.
  SympyParser(std::string_view text, SymbolTable& table,
              const std::function<Expr(const std::string&)>& symbol,
              const std::function<Expr(const std::string&, size_t)>& size)
      : text_(text), table_(table), symbol_(symbol), size_(&size) {}

  // a >= b, or an equality written Eq(a, b).
  Predicate comparison() {
    static constexpr std::array kRelations = {
        std::pair{"==", Relation::kEq}, std::pair{"!=", Relation::kNe},
        std::pair{"<=", Relation::kLe}, std::pair{">=", Relation::kGe},
        std::pair{"<", Relation::kLt},  std::pair{">", Relation::kGt}};
    const Expr left = expr_of(sum());
    skip_space();
    for (const auto& [token, relation] : kRelations) {
      if (!text_.substr(at_).starts_with(token)) continue;
      at_ += std::string_view(token).size();
      const Expr right = expr_of(sum());
      if (at_ != text_.size()) unsupported("a condition");
      return Predicate::compare(left, relation, right);
    }
    unsupported("a condition");
  }

  Expr whole() {
    const Number number = sum();
    skip_space();
    if (at_ != text_.size()) fail();
    const auto* expr = std::get_if<Expr>(&number);
    if (expr == nullptr) unsupported("a float");
    return *expr;
  }

 private:
  Number sum() {
    if (++depth_ > kMaxDepth) fail();
    Number total = take('-') ? times(Expr(-1), product()) : product();
    while (true) {
      if (take('+')) {
        total = plus(total, product());
      } else if (take('-')) {
        total = plus(total, times(Expr(-1), product()));
      } else {
        --depth_;
        return total;
      }
    }
  }

  Number product() {
    Number total = factor();
    while (true) {
      if (take('*')) {
        total = times(total, factor());
      } else if (take('/')) {
        need('/');
        total = floor_div(expr_of(total), expr_of(factor()));
      } else if (take('%')) {
        total = mod(expr_of(total), expr_of(factor()));
      } else {
        return total;
      }
    }
  }

  // L['y']['k'][0].size()[1]
  Expr input_size() {
    constexpr std::string_view kSize = ".size()[";
    const size_t end = text_.find(kSize, at_);
    if (size_ == nullptr || end == std::string_view::npos) fail();
    const std::string path(text_.substr(at_, end - at_));
    at_ = end + kSize.size();
    const int64_t dim = integer();
    need(']');
    return (*size_)(path, static_cast<size_t>(dim));
  }

  Number factor() {
    skip_space();
    if (take('(')) {
      Number inner = sum();
      need(')');
      return inner;
    }
    if (take('-')) return times(Expr(-1), factor());
    if (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])) != 0) {
      return Expr(integer());
    }
    return call(word());
  }

  Number call(const std::string& name) {
    if (name == "L") return input_size();
    if (name == "Symbol") return symbol_(named());
    if (name == "Integer") return Expr(integer_argument());
    if (name == "Float") return float_argument();
    need('(');
    Numbers operands;
    while (!take(')')) {
      operands.push_back(sum());
      take(',');
    }
    return apply(name, operands);
  }

  Number apply(const std::string& name, const Numbers& operands) {
    static const std::map<std::string_view, Number (*)(const Number&, const Number&)> kFolds = {
        {"Add", &plus}, {"Mul", &times}, {"Min", &lesser}, {"Max", &greater}};
    const auto fold = kFolds.find(name);
    if (fold != kFolds.end() && !operands.empty()) {
      Number total = operands[0];
      for (size_t i = 1; i < operands.size(); ++i) total = fold->second(total, operands[i]);
      return total;
    }
    static const std::map<std::string_view, Expr (*)(const Expr&, const Expr&)> kDivisions = {
        {"FloorDiv", &floor_div},
        {"CleanDiv", &floor_div},
        {"CeilDiv", &ceil_div},
        {"Mod", &mod},
        {"PythonMod", &mod}};
    const auto division = kDivisions.find(name);
    if (division != kDivisions.end() && operands.size() == 2) {
      return division->second(expr_of(operands[0]), expr_of(operands[1]));
    }
    static const std::map<std::string_view, Rounding> kRoundings = {
        {"FloorToInt", Rounding::kFloor},
        {"CeilToInt", Rounding::kCeil},
        {"TruncToInt", Rounding::kTrunc},
        {"RoundToInt", Rounding::kHalfEven}};
    const auto rounding = kRoundings.find(name);
    if (rounding != kRoundings.end() && operands.size() == 1) {
      return round_to_int(as_real(operands[0]), rounding->second, &table_);
    }
    if (name == "ToFloat" && operands.size() == 1) return as_real(operands[0]);
    if (name == "IntTrueDiv" && operands.size() == 2) {
      return Real::ratio(expr_of(operands[0]), expr_of(operands[1]));
    }
    if (name == "FloatTrueDiv" && operands.size() == 2) {
      return Real::binary(RealOp::kTrueDiv, as_real(operands[0]), as_real(operands[1]));
    }
    if ((name == "Pow" || name == "PowByNatural") && operands.size() == 2) {
      const auto exponent = expr_of(operands[1]).maybe_constant();
      if (exponent && *exponent >= 0 && *exponent <= kMaxExponent) {
        return pow(expr_of(operands[0]), *exponent);
      }
    }
    unsupported(name);
  }

  static constexpr int64_t kMaxExponent = 16;

  const Expr& expr_of(const Number& number) const {
    const auto* expr = std::get_if<Expr>(&number);
    if (expr == nullptr) unsupported("a float among integers");
    return *expr;
  }

  // ('s0', positive=True, integer=True): the first argument, the others are skipped.
  std::string named() {
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

  int64_t integer_argument() {
    need('(');
    const bool negative = take('-');
    const int64_t value = integer();
    need(')');
    return negative ? -value : value;
  }

  Number float_argument() {
    const std::string digits = named();
    double value = 0;
    const auto end = digits.data() + digits.size();
    if (std::from_chars(digits.data(), end, value).ptr != end) fail();
    return Real(value);
  }

  int64_t integer() {
    skip_space();
    int64_t value = 0;
    const char* start = text_.data() + at_;
    const auto [end, error] = std::from_chars(start, text_.data() + text_.size(), value);
    if (error != std::errc()) fail();
    at_ += static_cast<size_t>(end - start);
    return value;
  }

  std::string word() {
    skip_space();
    const size_t start = at_;
    while (at_ < text_.size() &&
           (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 || text_[at_] == '_')) {
      ++at_;
    }
    if (start == at_) fail();
    return std::string(text_.substr(start, at_ - start));
  }

  void skip_space() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void need(char c) {
    if (!take(c)) fail();
  }

  [[noreturn]] void fail() const {
    throw Error(ErrorCode::kCorrupt, "'" + std::string(text_) + "' at " + std::to_string(at_ + 1) +
                                         " is no size as torch.export writes them");
  }
  [[noreturn]] void unsupported(const std::string& what) const {
    throw Error(ErrorCode::kUnsupported,
                "'" + std::string(text_) + "' has " + what +
                    ", which is not supported: export the model with that dim static");
  }

  std::string_view text_;
  SymbolTable& table_;
  const std::function<Expr(const std::string&)>& symbol_;
  const std::function<Expr(const std::string&, size_t)>* size_ = nullptr;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Expr read_sympy(std::string_view text, SymbolTable& table,
                const std::function<Expr(const std::string&)>& symbol) {
  return SympyParser(text, table, symbol).whole();
}

Predicate read_guard(std::string_view text, SymbolTable& table,
                     const std::function<Expr(const std::string&, size_t)>& size) {
  const std::function<Expr(const std::string&)> no_symbols = [&](const std::string&) -> Expr {
    throw Error(ErrorCode::kCorrupt, "a symbol in the guard '" + std::string(text) + "'");
  };
  return SympyParser(text, table, no_symbols, size).comparison();
}

}  // namespace portwright
