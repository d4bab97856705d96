// Passes on Program, torch-free. Each is idempotent and leaves a Program that verifies.
#pragma once

#include <span>
#include <string_view>

#include "ir/program.h"

namespace portwright {

struct Pass {
  std::string_view name;
  // Returns whether anything changed.
  bool (*run)(Program& program);
};

// dead_code, common_subexpressions, identities, casts, constant_folding.
std::span<const Pass> standard_passes();

// Runs the passes in order until none changes anything (at most a fixed number of rounds); verifies
// after each in debug builds.
void run_passes(Program& program, std::span<const Pass> passes = standard_passes());

bool eliminate_dead_code(Program& program);
bool eliminate_common_subexpressions(Program& program);
bool simplify_identities(Program& program);
bool simplify_casts(Program& program);
bool fold_constants(Program& program);

}  // namespace portwright
