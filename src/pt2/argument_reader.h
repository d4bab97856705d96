// Operands of a .pt2 document. Internal to this folder.
#pragma once

#include <string>

#include "pt2/scope.h"

namespace portwright {

// An operand that stands in a schema position of this type.
Argument read_argument(const Json& argument, const std::string& type, const Scope& scope);

// A symbolic or plain number: as_int, as_float, as_bool and their as_sym_ forms.
NamedValue read_number(const Json& argument, const Scope& scope);

double read_float(const Json& value);

}  // namespace portwright
