// Upper bounds of symbolic sizes: ExecuTorch's runtime plans memory for them, and takes every size
// below.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/program.h"

namespace portwright {

class Bounds {
 public:
  // A bound for each symbol of the program (by SymbolId), at least its hint.
  Bounds(const SymbolTable& symbols, std::vector<int64_t> upper);

  // What is known of the expression when every symbol lies between its least value and its bound.
  Interval range(const Expr& expr) const;
  int64_t upper(const Expr& expr) const;  // Error(kUnsupported) when there is none
  std::vector<int64_t> upper(const std::vector<Expr>& shape) const;

  int64_t symbol(SymbolId id) const { return upper_.at(id); }

 private:
  Interval range(const Atom& atom) const;
  Interval rounded(const Atom& atom) const;

  const SymbolTable& symbols_;
  std::vector<int64_t> upper_;
};

}  // namespace portwright
