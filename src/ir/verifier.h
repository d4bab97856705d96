// Structural checks on a Program; run after every pass in debug builds and in tests.
#pragma once

#include "ir/program.h"

namespace portwright {

// Throws Error(kInternal) that names the first violation: a value used before its definition or
// defined twice, an id out of range, inputs or outputs that do not match the signature, a duplicate
// name, a weight whose shape, strides or bytes do not fit its value, an op name without
// "namespace.name.overload", an expression of another symbol table.
void verify(const Program& program);

}  // namespace portwright
