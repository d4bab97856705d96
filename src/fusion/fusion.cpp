#include "fusion/fusion.h"

#include "fusion/fusions.h"
#include "passes/pass.h"

namespace portwright {

std::set<std::string> fuse(Program& program, const FusionTarget& target) {
  rewrite(program, target, {fuse_rms_norm, fuse_gelu});
  if (target.skip_norms) rewrite(program, target, {fuse_skip_norm});
  if (target.rotary) rewrite(program, target, {fuse_rotary_embedding});
  std::set<std::string> notes;
  if (target.attention) {
    rewrite(program, target, {fuse_written_attention});
    std::vector<Fusion> fusions;
    if (target.cached_attention) fusions.push_back(fuse_cached_attention);
    if (target.fixed_cache) fusions.push_back(fuse_fixed_cache_attention);
    fusions.push_back(fuse_attention);
    notes = rewrite(program, target, fusions);
  }
  run_passes(program);
  return notes;
}

}  // namespace portwright
