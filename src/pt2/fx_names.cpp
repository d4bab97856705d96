#include "pt2/fx_names.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace portwright {
namespace {

// Python's keywords, the builtins that operators are named after, and what FX's generated code
// refers to.
constexpr std::array<std::string_view, 62> kReserved = {
    "False",    "None",   "True",   "abs",   "all",     "and",      "any",     "as",       "assert",
    "bool",     "break",  "bytes",  "class", "complex", "continue", "copy",    "def",      "del",
    "device",   "dict",   "divmod", "elif",  "else",    "except",   "finally", "float",    "for",
    "from",     "global", "hash",   "if",    "import",  "in",       "inf",     "int",      "is",
    "iter",     "lambda", "len",    "list",  "max",     "min",      "nan",     "nonlocal", "not",
    "operator", "or",     "pass",   "pow",   "raise",   "range",    "return",  "round",    "self",
    "set",      "slice",  "sum",    "torch", "try",     "tuple",    "type",    "while"};

bool reserved(std::string_view name) {
  return std::binary_search(kReserved.begin(), kReserved.end(), name);
}

std::string identifier(std::string_view base) {
  std::string name;
  for (char c : base) {
    const bool fits = (std::isalnum(static_cast<unsigned char>(c)) != 0) || c == '_';
    name += fits ? c : '_';
  }
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0])) != 0) name = "_" + name;
  return name;
}

}  // namespace

std::string FxNames::fresh(std::string_view base) {
  const std::string stem = identifier(base);
  int& next = next_[stem];
  std::string name = stem;
  while (reserved(name) || taken_.contains(name)) name = stem + "_" + std::to_string(++next);
  taken_.insert(name);
  return name;
}

}  // namespace portwright
