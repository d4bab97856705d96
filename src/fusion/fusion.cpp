#include "fusion/fusion.h"

#include "fusion/fusions.h"
#include "passes/pass.h"

namespace portwright {

std::set<std::string> fuse(Program& program, const FusionTarget& target) {
  rewrite(program, {fuse_rms_norm, fuse_gelu});
  if (target.rotary) rewrite(program, {fuse_rotary_embedding});
  std::set<std::string> notes;
  if (target.attention) {
    rewrite(program, {fuse_written_attention});
    std::vector<Fusion> fusions;
    if (target.cached_attention) fusions.push_back(fuse_cached_attention);
    if (target.fixed_cache) fusions.push_back(fuse_fixed_cache_attention);
    fusions.push_back(fuse_attention);
    notes = rewrite(program, fusions);
  }
  run_passes(program);
  return notes;
}

}  // namespace portwright
