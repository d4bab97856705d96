// What a model needs beyond the user's Dims, and the Dims that are suggested for it.
#include "symbolic/dim_fixes.h"

#include <gtest/gtest.h>

namespace portwright {
namespace {

using Lines = std::vector<std::string>;

class DimFixes : public testing::Test {
 protected:
  Expr add(const std::string& name, Interval range, int64_t hint) {
    SymbolInfo info;
    info.name = name;
    info.range = range;
    info.hint = hint;
    info.origin = name + ".size(0)";
    info.from_user = name[0] != 's' && name[0] != 'u';
    info.unbacked = name[0] == 'u';
    return table.add_symbol(std::move(info));
  }
  Expr dim(const std::string& name, int64_t hint, Interval range = {0, Interval::kInfinity}) {
    return add(name, range, hint);
  }
  void guard(const Expr& a, Relation relation, const Expr& b) {
    table.guard(Predicate::compare(a, relation, b), GuardKind::kDecision, {}, "");
  }
  // The conditions that are errors (true), or left to run time.
  Lines conditions(bool statable) {
    Lines found;
    for (const Violation& violation : violations(table)) {
      if (violation.statable == statable) found.push_back(to_string(violation.condition));
    }
    return found;
  }

  SymbolTable table;
};

TEST_F(DimFixes, WhatDimsPromiseIsNoViolation) {
  const Expr batch = dim("batch", 8, {2, 32});
  guard(batch, Relation::kLe, 32);
  guard(batch, Relation::kGe, 1);
  EXPECT_TRUE(violations(table).empty());
  EXPECT_TRUE(suggested_fixes(table).empty());
}

TEST_F(DimFixes, ANarrowerRange) {
  const Expr batch = dim("batch", 8, {2, 64});
  guard(batch, Relation::kLe, 32);
  const std::vector<Violation> found = violations(table);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].guard, 0u);
  EXPECT_EQ(found[0].dims, std::vector<SymbolId>{*batch.symbol()});
  EXPECT_EQ(conditions(true), Lines{"batch <= 32"});
  EXPECT_EQ(suggested_fixes(table), Lines{"batch = Dim('batch', min=2, max=32)"});
}

TEST_F(DimFixes, AFixedSize) {
  guard(dim("batch", 8), Relation::kEq, 8);
  EXPECT_EQ(conditions(true), Lines{"batch == 8"});
  EXPECT_EQ(suggested_fixes(table), Lines{"batch = 8"});
}

TEST_F(DimFixes, MultiplesHaveARootWithTheRangeThatIsLeft) {
  const Expr length = dim("length", 16, {5, 64});
  guard(mod(length, 8), Relation::kEq, 0);
  EXPECT_EQ(conditions(true), Lines{"mod(length, 8) == 0"});
  EXPECT_EQ(suggested_fixes(table),
            (Lines{"_length = Dim('_length', min=1, max=8)", "length = 8*_length"}));
}

TEST_F(DimFixes, MultiplesWithAnOffset) {
  const Expr length = dim("length", 8);
  guard(mod(length + Expr(2), 5), Relation::kEq, 0);
  EXPECT_EQ(suggested_fixes(table),
            (Lines{"_length = Dim('_length', min=1)", "length = 5*_length - 2"}));
}

TEST_F(DimFixes, ExcludedSizesMoveAnEndOnly) {
  const Expr length = dim("length", 8, {3, 20});
  guard(length, Relation::kNe, 3);
  guard(length, Relation::kNe, 20);
  guard(length, Relation::kNe, 10);
  EXPECT_EQ(suggested_fixes(table), Lines{"length = Dim('length', min=4, max=19)"});
}

TEST_F(DimFixes, RelatedDims) {
  const Expr a = dim("a", 9), b = dim("b", 4);
  guard(a, Relation::kEq, Expr(2) * b + Expr(1));
  EXPECT_EQ(suggested_fixes(table), Lines{"a = 2*b + 1"});
}

TEST_F(DimFixes, NoDimShrinksWithAnother) {
  const Expr a = dim("a", 9), b = dim("b", 4);
  guard(a, Relation::kEq, Expr(13) - b);
  EXPECT_EQ(conditions(true).size(), 1u);
  EXPECT_TRUE(suggested_fixes(table).empty());
}

TEST_F(DimFixes, TheRootOfARelationToAnAutomaticDimIsStated) {
  const Expr a = dim("a", 8), s0 = add("s0", {0, 50}, 4);
  guard(a, Relation::kEq, Expr(2) * s0);
  EXPECT_EQ(conditions(true), Lines{"2*s0 == a"});
  EXPECT_EQ(suggested_fixes(table), (Lines{"s0 = Dim('s0', max=50)", "a = 2*s0"}));
}

TEST_F(DimFixes, AutomaticDimsThatEqualADimAreSeenAsIt) {
  const Expr a = dim("a", 8), s0 = add("s0", {0, 50}, 8);
  guard(a, Relation::kEq, s0);
  guard(s0, Relation::kLe, 20);
  EXPECT_EQ(conditions(true), Lines{"a <= 20"});
}

TEST_F(DimFixes, AutomaticDimsAloneAreNoViolation) {
  guard(add("s0", {0, 50}, 8), Relation::kLe, 20);
  EXPECT_TRUE(violations(table).empty());
  EXPECT_TRUE(suggested_fixes(table).empty());
}

TEST_F(DimFixes, WhatNoDimCanStateIsLeftToRunTime) {
  const Expr a = dim("a", 8), b = dim("b", 4);
  guard(a, Relation::kGe, b);
  guard(a, Relation::kNe, 1);
  guard(b, Relation::kGe, 2);
  EXPECT_TRUE(conditions(true).empty());
  EXPECT_EQ(conditions(false), (Lines{"a >= b", "a != 1", "b >= 2"}));
}

TEST_F(DimFixes, NumbersFromDataAreNotTheDims) {
  const Expr a = dim("a", 8), count = add("u0", {0, 50}, 3);
  guard(count, Relation::kLt, a);
  EXPECT_TRUE(violations(table).empty());
}

}  // namespace
}  // namespace portwright
