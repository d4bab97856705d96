// What the model needs of explicit Dims beyond what they promise, and Dims that promise it.
#pragma once

#include <string>
#include <vector>

#include "symbolic/symbol_table.h"

namespace portwright {

// A guard that the user's own Dims do not imply. Those on numbers from data are none: no Dim says
// anything about data.
struct Violation {
  size_t guard = 0;     // index into SymbolTable::guards()
  Predicate condition;  // the guard, with automatic dims replaced by what they were found to equal
  std::vector<SymbolId> dims;  // the explicit ones in it
  // Whether Dims can say it: a size, a range, a multiple, an equality. Others (`a >= b`), and
  // conditions that only exclude sizes of 0 and 1, which no Dim promises to be possible in
  // torch.export, are left to be checked when the program runs.
  bool statable = false;
};

std::vector<Violation> violations(const SymbolTable& symbols);

// Python lines that state the Dims as the model needs them, as torch.export suggests them:
// `batch = Dim('batch', max=32)`, `batch = 4`, `b = a + 1`, `seq = 8*_seq`.
std::vector<std::string> suggested_fixes(const SymbolTable& symbols);

}  // namespace portwright
