// Canonical forms, ranges, guards and what is learnt from them.
#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "base/error.h"
#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

class Symbolic : public testing::Test {
 protected:
  Expr symbol(const std::string& name, int64_t lo, int64_t hi, int64_t hint) {
    SymbolInfo info;
    info.name = name;
    info.range = {lo, hi};
    info.hint = hint;
    return table.add_symbol(std::move(info));
  }
  void guard(const Expr& a, Relation relation, const Expr& b) {
    table.guard(Predicate::compare(a, relation, b), GuardKind::kDecision, {}, "");
  }

  SymbolTable table;
  Expr s = symbol("s", 1, 1024, 8);
  Expr t = symbol("t", 1, 1024, 8);
};

TEST_F(Symbolic, EqualExpressionsAreTheSameNode) {
  EXPECT_EQ(s + t + s, Expr(2) * s + t);
  EXPECT_EQ((s + Expr(1)) * (s - Expr(1)), s * s - Expr(1));
  EXPECT_EQ(floor_div(Expr(6) * s, 3), Expr(2) * s);
  EXPECT_EQ(mod(Expr(6) * s + Expr(1), 3), Expr(1));
}

TEST_F(Symbolic, RangesBoundExpressions) {
  const Interval range = table.range(Expr(2) * s + Expr(3));
  EXPECT_EQ(range.lo, 5);
  EXPECT_EQ(range.hi, 2051);
}

TEST_F(Symbolic, RangesDecide) {
  EXPECT_EQ(table.decide(Predicate::compare(s, Relation::kGe, 1)), true);
  EXPECT_EQ(table.decide(Predicate::compare(s, Relation::kGt, 1024)), false);
  EXPECT_EQ(table.decide(Predicate::compare(s, Relation::kEq, t)), std::nullopt);
}

TEST_F(Symbolic, AGuardIsTakenAtTheHintsAndKnownAfterwards) {
  guard(s, Relation::kLe, 64);
  EXPECT_EQ(table.decide(Predicate::compare(s, Relation::kGt, 64)), false);
  EXPECT_EQ(table.guards().size(), 1u);
}

TEST_F(Symbolic, OppositeInequalitiesAreAnEquality) {
  guard(s, Relation::kGe, t);
  guard(t, Relation::kGe, s);
  EXPECT_EQ(table.resolve(s), table.resolve(t));
}

TEST_F(Symbolic, GuardsOfCompoundsBoundThemAndTheirOperands) {
  const Expr smaller = min(floor_div(s, 4), floor_div(t, 4));
  table.require(Predicate::compare(smaller, Relation::kGe, 2), GuardKind::kDecision, {}, "");
  EXPECT_EQ(table.range(s).lo, 8);
  EXPECT_EQ(table.range(t).lo, 8);
  EXPECT_EQ(table.range(smaller).lo, 2);
  EXPECT_EQ(table.known_value(smaller), smaller);
  table.require(Predicate::compare(smaller, Relation::kLe, 2), GuardKind::kDecision, {}, "");
  EXPECT_EQ(table.known_value(smaller), Expr(2));
  EXPECT_EQ(table.range(s).hi, 1024);  // only one of the two needs to be small

  const Expr larger = max(floor_div(s, 4), floor_div(t, 4));
  table.require(Predicate::compare(larger, Relation::kLe, 3), GuardKind::kDecision, {}, "");
  EXPECT_EQ(table.range(s).hi, 15);
  EXPECT_EQ(table.range(t).hi, 15);
}

TEST_F(Symbolic, GuardsOnDataDoNotSimplifyThemselvesAway) {
  SymbolInfo data;
  data.unbacked = true;
  data.range = {0, 1024};
  data.hint = 1;
  const Expr first = table.add_symbol(data);
  const Expr second = table.add_symbol(data);
  for (const Expr& count : {first, second}) guard(floor_div(count, 2), Relation::kLe, 0);
  const Predicate restated =
      table.guards()[0].predicate.substitute([&](SymbolId) { return std::optional(second); });
  EXPECT_FALSE(restated.maybe_constant());
  EXPECT_EQ(table.decide(restated), true);
}

TEST_F(Symbolic, AnEqualityReplacesOnlyByWhatIsKnownEarlier) {
  SymbolInfo data;
  data.unbacked = true;
  data.range = {0, 1024};
  data.hint = 8;
  const Expr early = table.add_symbol(data);
  data.hint = 4;
  const Expr rows = table.add_symbol(data);
  data.hint = 2;
  const Expr columns = table.add_symbol(data);

  guard(early, Relation::kEq, rows * columns);
  EXPECT_FALSE(table.replacement(*early.symbol()));
  EXPECT_EQ(table.decide(Predicate::compare(early, Relation::kGe, rows * columns)), true);

  guard(s, Relation::kEq, rows * columns);
  EXPECT_FALSE(table.replacement(*s.symbol()));

  guard(s, Relation::kEq, early);
  ASSERT_TRUE(table.replacement(*early.symbol()));
  EXPECT_EQ(*table.replacement(*early.symbol()), s);
}

TEST_F(Symbolic, ARequirementThatFailsAtTheHintsIsAnError) {
  EXPECT_THROW(table.require(Predicate::compare(s, Relation::kEq, 9), GuardKind::kEquality, {}, ""),
               Error);
}

TEST_F(Symbolic, OverflowIsAnErrorNotAWrapAround) {
  try {
    Expr huge = Expr(int64_t{1} << 62) * s;
    huge = huge + huge;
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOverflow);
  }
}

TEST_F(Symbolic, AFloatOfDataIsTheBitsOfItsSymbol) {
  SymbolInfo data;
  data.name = "zuf0";
  data.unbacked = true;
  data.is_float = true;
  const Expr symbol = table.add_symbol(std::move(data));
  const Real given = Real::from_data(symbol);
  const Real scaled = Real::binary(RealOp::kMul, given, Real::ratio(s));
  std::vector<int64_t> values(table.hints().begin(), table.hints().end());
  values[*symbol.symbol()] = std::bit_cast<int64_t>(0.75);
  EXPECT_EQ(scaled.evaluate(values), 6.0);
  EXPECT_EQ(parse_real(to_string(scaled), table), scaled);
  EXPECT_EQ(evaluate(round_to_int(given, Rounding::kCeil, &table), values), 1);
  const Predicate large = Predicate::compare(given, Relation::kGt, Real(0.5));
  EXPECT_TRUE(large.evaluate(values));
  EXPECT_EQ(table.decide(large), std::nullopt);
  std::vector<SymbolId> found;
  large.for_each_symbol([&](SymbolId id) { found.push_back(id); });
  EXPECT_EQ(found, std::vector<SymbolId>{*symbol.symbol()});
}

}  // namespace
}  // namespace portwright
