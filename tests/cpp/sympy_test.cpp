// Sizes and guards as torch writes them, read without torch.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "pt2/sympy_reader.h"

namespace portwright {
namespace {

// Two dims of an input: L['x'].size()[0] is a, L['x'].size()[1] is b.
class Guards : public ::testing::Test {
 protected:
  Guards() {
    for (const char* name : {"a", "b"}) {
      SymbolInfo info;
      info.name = name;
      info.range = {0, Interval::kInfinity};
      info.hint = 4;
      dims_.push_back(table_.add_symbol(std::move(info)));
    }
  }

  Predicate guard(const std::string& text) {
    return read_guard(text, table_, [this](const std::string& path, size_t dim) {
      EXPECT_EQ(path, "['x']");
      return dims_.at(dim);
    });
  }
  // Whether it holds where the dims are these; A and B in the text stand for the dims.
  bool holds(std::string text, int64_t a, int64_t b) {
    for (const auto& [letter, dim] : {std::pair{'A', "0"}, std::pair{'B', "1"}}) {
      for (size_t at = text.find(letter); at != std::string::npos; at = text.find(letter)) {
        text.replace(at, 1, std::string("L['x'].size()[") + dim + "]");
      }
    }
    return guard(text).evaluate(std::vector<int64_t>{a, b});
  }
  ErrorCode refusal(const std::string& text) {
    try {
      guard(text);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
      return error.code();
    }
    ADD_FAILURE() << text << " was read";
    return ErrorCode::kInternal;
  }

  SymbolTable table_;
  std::vector<Expr> dims_;
};

struct Case {
  const char* text;
  std::vector<std::pair<int64_t, int64_t>> holds_at, fails_at;
};

TEST_F(Guards, MeanWhatPythonComputes) {
  const std::vector<Case> cases = {
      {"max(1, A // 8) == (A // 8)", {{8, 0}, {17, 0}}, {{7, 0}, {0, 0}}},
      {"(max(1, 1 + (((-3) + A) // 4))*max(1, B)) != 1", {{7, 1}, {6, 2}}, {{6, 1}, {2, 0}}},
      {"min(A, B, 5) >= 3", {{3, 4}, {9, 9}}, {{2, 9}, {9, 2}}},
      {"A % 3 == 0 and B > 1", {{3, 2}}, {{4, 2}, {3, 1}}},
      {"A == 1 or B == 1", {{1, 5}, {5, 1}, {1, 1}}, {{2, 2}}},
      {"not (A == 1 and B == 2)", {{1, 1}, {2, 2}}, {{1, 2}}},
      {"A < 2 or A > 4 and B == 1", {{1, 9}, {5, 1}}, {{5, 2}, {3, 1}}},
      {"-A // 2 == -2", {{3, 0}, {4, 0}}, {{2, 0}, {5, 0}}},
      {"abs(A - B) <= 1", {{4, 5}, {5, 4}}, {{4, 6}, {6, 4}}},
      {"math.floor(torch.sym_float(A) * 0.5) == B", {{5, 2}, {4, 2}}, {{6, 2}}},
      {"math.ceil(A / 4) == B", {{5, 2}, {8, 2}}, {{4, 2}, {9, 2}}},
      {"math.trunc(A / B) == 2", {{5, 2}, {4, 2}}, {{6, 2}}},
      {"round(A / 2) == B", {{5, 2}, {7, 4}}, {{5, 3}}},
      {"torch._sym_sqrt(torch.sym_float(A)) > 2.5", {{7, 0}}, {{6, 0}}},
      {"A ** 2 + -1*B == 0", {{3, 9}}, {{3, 8}}},
      {"((A // 2) % 3) == 1", {{2, 0}, {9, 0}}, {{4, 0}}},
      {"A < inf", {{1, 1}}, {}},
      {"(A if A > 2 else B) == 7", {{7, 0}, {1, 7}}, {{8, 7}, {1, 3}}},
      {"(3 if A == 1 or not (B != 2) else B) >= 3", {{1, 0}, {0, 2}, {0, 5}}, {{0, 1}}},
      {"(A == 1 if B > 0 else A == 2)", {{1, 1}, {2, 0}}, {{2, 1}, {1, 0}}},
  };
  for (const Case& each : cases) {
    for (const auto& [a, b] : each.holds_at) EXPECT_TRUE(holds(each.text, a, b)) << each.text;
    for (const auto& [a, b] : each.fails_at) EXPECT_FALSE(holds(each.text, a, b)) << each.text;
  }
  EXPECT_EQ(guard("True").maybe_constant(), true);
}

TEST_F(Guards, RefuseWhatConditionsCannotHold) {
  const std::string a = "L['x'].size()[0]";
  for (const std::string& text :
       {"math.log2(" + a + ") > 2", "(1 if torch.sym_float(" + a + ") > 2.5 else 2) == 1",
        "(" + a + " & 1) == 0", a + " == (2 > 1)", a + " + 1", "2 ** " + a + " == 4",
        std::string("L['x'].stride()[0] == 1"), "round(" + a + ", -1) == 10"}) {
    EXPECT_EQ(refusal(text), ErrorCode::kUnsupported) << text;
  }
  for (const std::string& text : {a + " ==", "(" + a + " == 1", a + " == 1)", std::string("L['x']"),
                                  std::string("Symbol('a') == 1"), std::string(),
                                  std::string(300, '-') + "1 == 1", std::string(300, '(')}) {
    EXPECT_EQ(refusal(text), ErrorCode::kCorrupt) << text;
  }
}

TEST(Sympy, ReadsTheFunctionsOfSizes) {
  SymbolTable table;
  SymbolInfo info;
  info.name = "s0";
  info.range = {0, Interval::kInfinity};
  info.hint = 4;
  const Expr size = table.add_symbol(std::move(info));
  auto value = [&](const std::string& text, int64_t at) {
    const Expr expr = read_sympy(text, table, [&](const std::string& name) {
      EXPECT_EQ(name, "s0");
      return size;
    });
    return evaluate(expr, std::vector<int64_t>{at});
  };
  const std::string s = "Symbol('s0', positive=True, integer=True)";
  EXPECT_EQ(value("Add(Mul(Integer(2), " + s + "), Integer(-3))", 5), 7);
  EXPECT_EQ(value("FloorDiv(Add(" + s + ", Integer(-1)), Integer(2))", 6), 2);
  EXPECT_EQ(value("Max(Integer(1), " + s + ", Mod(" + s + ", Integer(4)))", 0), 1);
  EXPECT_EQ(value("ModularIndexing(" + s + ", Integer(2), Integer(3))", 9), 1);
  EXPECT_EQ(value("Abs(Add(Integer(3), Mul(Integer(-1), " + s + ")))", 5), 2);
  EXPECT_EQ(value("LShift(" + s + ", Integer(3))", 3), 24);
  EXPECT_EQ(value("RShift(" + s + ", Integer(1))", 7), 3);
  EXPECT_EQ(value("CeilToInt(Mul(Float('0.5', precision=53), ToFloat(" + s + ")))", 5), 3);
  EXPECT_EQ(value("Identity(Pow(" + s + ", Integer(2)))", 3), 9);
  EXPECT_EQ(value("TruncToInt(Mul(Rational(1, 2), " + s + "))", 5), 2);
  EXPECT_THROW(value("Where(" + s + ", Integer(1), Integer(2))", 1), Error) << "no condition";
  EXPECT_THROW(value("ToFloat(" + s + ")", 1), Error) << "a float is no size";
}

}  // namespace
}  // namespace portwright
