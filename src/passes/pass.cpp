#include "passes/pass.h"

#include <array>

#include "ir/verifier.h"

namespace portwright {

std::span<const Pass> standard_passes() {
  static constexpr std::array<Pass, 5> kPasses = {{
      {"dead_code", eliminate_dead_code},
      {"common_subexpressions", eliminate_common_subexpressions},
      {"identities", simplify_identities},
      {"casts", simplify_casts},
      {"constant_folding", fold_constants},
  }};
  return kPasses;
}

void run_passes(Program& program, std::span<const Pass> passes) {
  constexpr int kMaxRounds = 8;
  for (int round = 0; round < kMaxRounds; ++round) {
    bool changed = false;
    for (const Pass& pass : passes) {
      changed |= pass.run(program);
#ifndef NDEBUG
      verify(program);
#endif
    }
    if (!changed) return;
  }
}

}  // namespace portwright
