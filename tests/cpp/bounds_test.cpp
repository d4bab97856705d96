// Upper bounds of sizes: never less than what is possible, and tight for what models compute.
#include "executorch/bounds.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "symbolic/symbol_table.h"

namespace portwright {
namespace {

class UpperBounds : public testing::Test {
 protected:
  Expr symbol(const std::string& name, int64_t lo, int64_t upper, int64_t hint) {
    SymbolInfo info;
    info.name = name;
    info.range = {lo, Interval::kInfinity};
    info.hint = hint;
    upper_.push_back(upper);
    return table.add_symbol(std::move(info));
  }
  void require(const Expr& a, Relation relation, const Expr& b) {
    table.require(Predicate::compare(a, relation, b), GuardKind::kEquality, {}, "");
  }
  int64_t upper(const Expr& expr) { return Bounds(table, upper_).upper(expr); }

  SymbolTable table;
  std::vector<int64_t> upper_;
};

TEST_F(UpperBounds, WhatDependsOnOneSymbolIsExact) {
  const Expr s = symbol("s", 0, 500, 90);
  EXPECT_EQ(upper(s - mod(s, 128)), 384);
  EXPECT_EQ(upper(s * Expr(2) + mod(-s, 128)), 1000 + 12);
  EXPECT_EQ(upper(floor_div(Expr(-2) * mod(s, 200) + Expr(2) * s + Expr(400),
                            Expr(25) * floor_div(s + Expr(199), 200))),
            32);  // at 200, where 800 // 25 are left
}

TEST_F(UpperBounds, LongRangesAreTakenInPieces) {
  const Expr s = symbol("s", 0, 480000, 24000);
  const int64_t found = upper(s + mod(-s, 320));
  EXPECT_GE(found, 480000);
  EXPECT_LE(found, 480000 + 320);
}

TEST_F(UpperBounds, QuotientsOfProductsAreBoundedFactorByFactor) {
  const Expr batch = symbol("batch", 0, 4, 2);
  const Expr height = symbol("height", 0, 256, 128);
  const Expr width = symbol("width", 0, 256, 128);
  const auto down = [](const Expr& size, int64_t by) { return floor_div(size, by); };
  EXPECT_EQ(upper(floor_div(Expr(64) * batch * down(height, 32) * down(width, 32),
                            down(height, 4) * down(width, 4))),
            4);
  const auto padded = [](const Expr& size, int64_t by) { return floor_div(size + Expr(by), 32); };
  EXPECT_EQ(upper(floor_div(batch * padded(height, 31) * padded(width, 31),
                            padded(height, 27) * padded(width, 27))),
            16);  // 33 // 32 pieces of 5 rows are 2 of 1
}

TEST_F(UpperBounds, GuardsSayWhatProductsAre) {
  const Expr s = symbol("s", 0, 64, 32), t = symbol("t", 0, 64, 32);
  const Expr u = symbol("u", 0, 64, 8), v = symbol("v", 0, 64, 8);
  const Expr patches = floor_div(s, 8) * floor_div(t, 8);
  EXPECT_EQ(upper(Expr(4) * patches + Expr(32)), 4 * 64 + 32);
  require(patches, Relation::kEq, 16);
  EXPECT_EQ(upper(Expr(4) * patches + Expr(32)), 4 * 16 + 32);
  EXPECT_EQ(upper(Expr(3) * u * patches), 3 * 64 * 16);

  EXPECT_EQ(upper(floor_div(s * t, u * v)), 64 * 64);
  require(floor_div(s * t, u * v), Relation::kLe, patches);
  EXPECT_EQ(upper(floor_div(s * t, u * v)), 16);
  EXPECT_EQ(upper(u * floor_div(s * t, u * v)), 64 * 16);
}

TEST_F(UpperBounds, RoundedFloatsOfSeveralSymbols) {
  const Expr s = symbol("s", 1, 10, 4), t = symbol("t", 1, 10, 4);
  const Real root = Real::unary(RealOp::kSqrt, Real::ratio(s * t + Expr(1)));
  EXPECT_EQ(upper(round_to_int(root, Rounding::kCeil, &table)), 11);
  const Real down = Real::binary(RealOp::kMul, Real::ratio(Expr(20) - s), Real(0.3));
  EXPECT_EQ(upper(round_to_int(down, Rounding::kFloor, &table)),
            5);  // largest in no corner of s.hi
}

TEST_F(UpperBounds, WithoutOneIsAnError) {
  const Expr s = symbol("s", 0, Interval::kInfinity, 4);
  EXPECT_THROW(upper(s * Expr(2)), Error);
}

// Expressions and guards at random, against every size in their ranges.
class Random {
 public:
  explicit Random(uint32_t seed) : random_(seed) {
    for (int i = 0; i < 3; ++i) {
      SymbolInfo info;
      info.range = {below(3), Interval::kInfinity};
      upper_.push_back(info.range.lo + 3 + below(9));
      info.hint = info.range.lo + 2;
      symbols_.push_back(table_.add_symbol(info));
    }
  }

  void check() {
    for (int i = below(3); i > 0; --i) add_guard();
    const Bounds bounds(table_, upper_);
    for (int i = 0; i < 4; ++i) {
      const auto expr = attempt<Expr>([&] { return table_.resolve(expression(3)); });
      if (expr) check(*expr, bounds);
    }
  }

  size_t checked() const { return checked_; }

 private:
  int below(int end) { return static_cast<int>(random_() % static_cast<uint32_t>(end)); }

  template <typename Result>
  static std::optional<Result> attempt(const std::function<Result()>& compute) {
    try {
      return compute();
    } catch (const Error&) {
      return std::nullopt;  // divided by zero, or a number that is too large
    }
  }

  Expr leaf() { return below(4) == 0 ? Expr(below(9) - 2) : symbols_[below(3)]; }

  Expr expression(int depth) {
    if (depth == 0 || below(6) == 0) return leaf();
    const Expr a = expression(depth - 1), b = expression(depth - 1);
    switch (below(8)) {
      case 0: return a + b;
      case 1: return a - b;
      case 2: return a * b;
      case 3: return mod(a, b);
      case 4: return min(a, b);
      case 5: return max(a, b);
      case 6: return below(4) == 0 ? rounded(a, b) : floor_div(a, Expr(1 + below(5)));
      default: return floor_div(a, b);
    }
  }

  Expr rounded(const Expr& a, const Expr& b) {
    constexpr RealOp kBinary[] = {RealOp::kAdd, RealOp::kSub,      RealOp::kMul, RealOp::kTrueDiv,
                                  RealOp::kMod, RealOp::kFloorDiv, RealOp::kPow, RealOp::kMax};
    Real real = Real::binary(kBinary[below(8)], Real::ratio(a), Real(0.3 + below(5)));
    if (below(2) == 0) real = Real::binary(kBinary[below(8)], real, Real::ratio(b));
    if (below(3) == 0) real = Real::unary(RealOp::kSqrt, real);
    return round_to_int(real, static_cast<Rounding>(below(4)), &table_);
  }

  // What holds at the hints.
  void add_guard() {
    attempt<bool>([&] {
      const Relation relations[] = {Relation::kEq, Relation::kLe, Relation::kGe, Relation::kNe};
      const auto predicate = Predicate::compare(expression(2), relations[below(4)], expression(2));
      return table_.guard(predicate, GuardKind::kDecision, {}, "");
    });
  }

  bool holds(const std::vector<int64_t>& values) const {
    for (SymbolId id = 0; id < values.size(); ++id) {
      if (!table_.info(id).range.contains(values[id])) return false;
    }
    for (const Guard& guard : table_.guards()) {
      const auto truth = attempt<bool>([&] { return guard.predicate.evaluate(values); });
      if (truth != true) return false;
    }
    return true;
  }

  void check(const Expr& expr, const Bounds& bounds) {
    const Interval found = bounds.range(expr);
    std::vector<int64_t> values(3);
    for (values[0] = 0; values[0] <= upper_[0]; ++values[0]) {
      for (values[1] = 0; values[1] <= upper_[1]; ++values[1]) {
        for (values[2] = 0; values[2] <= upper_[2]; ++values[2]) {
          if (!holds(values)) continue;
          const auto value = attempt<int64_t>([&] { return evaluate(expr, values); });
          if (!value) continue;
          ++checked_;
          ASSERT_TRUE(found.contains(*value))
              << to_string(expr) << " is " << *value << " outside of " << to_string(found) << " at "
              << values[0] << ", " << values[1] << ", " << values[2];
        }
      }
    }
  }

  std::mt19937 random_;
  SymbolTable table_;
  std::vector<Expr> symbols_;
  std::vector<int64_t> upper_;
  size_t checked_ = 0;
};

TEST(RandomBounds, AreNeverLessThanWhatIsPossible) {
  size_t checked = 0;
  for (uint32_t seed = 0; seed < 400 && !testing::Test::HasFatalFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    random.check();
    checked += random.checked();
  }
  EXPECT_GT(checked, 100000u);
}

}  // namespace
}  // namespace portwright
