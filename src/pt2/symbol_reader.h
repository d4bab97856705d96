// Symbols and symbolic numbers of a .pt2 document. Internal to this folder.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "pt2/scope.h"
#include "pt2/sympy_functions.h"

namespace portwright {

class SymbolReader {
 public:
  // `ranges` are the document's range_constraints.
  SymbolReader(Program& program, const Json& ranges) : program_(program), ranges_(ranges) {}

  // Takes the sizes at the sample inputs from all values of a graph. Before the other methods.
  void read_hints(const Json& graph);
  // {"as_int": 4} or {"as_expr": ...}.
  Expr size(const Json& sym_int);
  // What a SymFloat or SymBool of the document stands for; nothing where it is a constant.
  std::optional<Number> unknown(const Json& sym);
  // dtype and shape of a TensorMeta; Error(kUnsupported) for what is no dense tensor on the CPU.
  TensorType type(const Json& meta);
  // The result of Python arithmetic: "_operator.add" and the like. Error(kUnsupported).
  static NamedValue apply(const std::string& target, const std::vector<NamedValue>& operands,
                          SymbolTable& symbols);

 private:
  Expr symbol(const std::string& name);
  Number number(const std::string& name);

  Program& program_;
  const Json& ranges_;
  std::map<std::string, int64_t> hints_;
  std::map<std::string, Expr> known_;
};

}  // namespace portwright
