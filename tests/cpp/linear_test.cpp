// Which expressions are linear forms of one symbol.
#include "symbolic/linear.h"

#include <gtest/gtest.h>

#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

class LinearForms : public testing::Test {
 protected:
  Expr symbol(const std::string& name) {
    SymbolInfo info;
    info.name = name;
    info.range = {0, 100};
    info.hint = 8;
    return table.add_symbol(std::move(info));
  }

  void expect_form(const Expr& expr, const Expr& of, int64_t factor, int64_t offset) {
    const auto form = as_linear(expr);
    ASSERT_TRUE(form) << to_string(expr);
    EXPECT_EQ(form->symbol, of.symbol());
    EXPECT_EQ(form->factor, factor);
    EXPECT_EQ(form->offset, offset);
  }

  SymbolTable table;
  Expr s = symbol("s");
  Expr t = symbol("t");
};

TEST_F(LinearForms, OneSymbolWithFactorAndOffset) {
  expect_form(s, s, 1, 0);
  expect_form(t - Expr(3), t, 1, -3);
  expect_form(Expr(4) * t + Expr(1), t, 4, 1);
  expect_form(Expr(5) - s, s, -1, 5);
  expect_form(s + t - s, t, 1, 0);
}

TEST_F(LinearForms, NothingElse) {
  EXPECT_FALSE(as_linear(Expr(7)));
  EXPECT_FALSE(as_linear(s + t));
  EXPECT_FALSE(as_linear(s * s));
  EXPECT_FALSE(as_linear(s * t + Expr(1)));
  EXPECT_FALSE(as_linear(floor_div(s, 2)));
  EXPECT_FALSE(as_linear(mod(s, 4) + s));
}

}  // namespace
}  // namespace portwright
