// What expressions can be while every symbol lies between two ends.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "symbolic/symbol_table.h"

namespace portwright {

// Never less than what is possible. Intervals take symbols that occur twice for two: s - s % 8
// would be s.hi. Three things make them tighter: parts that depend on one symbol are computed at
// each of its values (or in pieces of its range), quotients factor by factor, and guards say what
// products of sizes are.
class BoxRange {
 public:
  // An interval for each symbol, by SymbolId; ends may be infinite.
  BoxRange(const SymbolTable& symbols, std::vector<Interval> box);

  Interval range(const Expr& expr);

  // What `expr >= 0` says of the products in it: 17*s*t <= 4*u gives s*t <= 4*u.hi / 17.
  void learn_nonnegative(const Expr& expr);

 private:
  using Factors = std::vector<const Atom*>;
  struct KnownProduct {
    Factors factors;
    Interval range;
  };
  struct Product {
    int64_t coefficient = 1;
    std::vector<Expr> factors;
  };
  struct Fraction {
    std::vector<Expr> above, below;
  };

  static Product as_product(const Term& term);
  static Product as_product(const Expr& expr);  // a sum is its only factor

  Interval sum(const Expr& expr);
  Interval product(const Term& term);
  Interval product(const Factors& factors);
  Interval range(const Atom& atom);
  Interval compound(const Atom& atom);
  Interval divisor(const Expr& expr);
  Interval quotient(const Expr& a, const Expr& b);
  Interval by_symbols(const Expr& expr);
  double largest_ratio(const Expr& a, const Expr& b);
  double largest_ratio(const Product& above, const Product& below);
  double largest(SymbolId id, const Fraction& fraction);
  void know(const Term& term, int64_t rest);

  template <typename Compute, typename Take>
  bool for_each_piece(SymbolId id, Compute compute, Take take);
  template <typename Compute>
  Interval over_pieces(SymbolId id, Compute compute);

  const SymbolTable& symbols_;
  std::vector<Interval> box_;
  std::vector<KnownProduct> known_;
  std::unordered_map<Expr, Interval> found_;
  std::unordered_map<const Atom*, Interval> found_atoms_;
  bool is_plain_ = false;       // intervals only: in pieces of a range, and while guards are learnt
  bool is_impossible_ = false;  // something is divided by zero, or a guard fails, in all of the box
};

}  // namespace portwright
