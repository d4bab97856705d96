// Composites of operators as one operator: what models write out in Python and runtimes have
// kernels for. Torch-free; works on a Program that the standard passes have been over.
//
// The operators that it makes, besides those of ATen (aten.rms_norm, aten.gelu, aten.silu):
//
//   portwright.rotary_embedding.default(x, cos, sin, heads, interleaved) -> [batch, seq, heads *
//   width]
//     x [batch, seq, heads * width]; cos and sin [batch, seq, rotated / 2], rotated <= width: the
//     first `rotated` elements of each head turn in pairs (i, i + rotated / 2), or (2i, 2i + 1)
//     when interleaved. Source: RoFormer, arXiv 2104.09864; RotaryEmbedding of ONNX 23.
//   portwright.attention(query, key, value, mask, causal, scale, heads, key_heads)
//     -> [batch, queries, heads * value_width]
//     query [batch, queries, heads * width], key and value [batch, keys, key_heads * ...];
//     mask None, bool or additive, broadcast to [batch, heads, queries, keys]. causal: 0; 1 when no
//     query sees a key that lies after it; 2 when that is all that the mask (which then can be
//     None) says. The last query lies at the last key.
//   portwright.cached_attention(query, key, value, past_key, past_value, mask, causal, total,
//     scale, heads, key_heads) -> (attention, present_key, present_value)
//     past_* [batch, key_heads, ...]; the new keys are written behind `total` - queries tokens.
//     total is an int, or an int64 scalar tensor where the past is a buffer of fixed size, which
//     present_* then is too; causal is 1 or 2.
#pragma once

#include <set>
#include <string>

#include "ir/program.h"

namespace portwright {

//   portwright.skip_rms_norm(x, skip, weight, epsilon) -> (norm, sum)
//   portwright.skip_layer_norm(x, skip, weight, bias, epsilon) -> (norm, sum)
//     the norm of x + skip over the last dim, and that sum.

// The `causal` of attention operators: what a query may see of what lies after it.
enum Causality : int64_t {
  kAnything,
  kNothingLater,  // but the mask may hide more
  kAllButLater,   // no mask is needed besides
};

// What the target has kernels for.
struct FusionTarget {
  bool rotary = false;
  bool skip_norms = false;
  bool attention = false;
  // With fewer heads of keys than of queries, and no past.
  bool grouped_attention = false;
  // Of caches that grow, and of buffers that are written in place.
  bool cached_attention = false;
  bool fixed_cache = false;
  bool float32_cache = false;
  // Of heads in caches; more than 1: those of keys and of values are the same, too.
  int64_t cache_width_multiple = 1;
};

// What the fused program takes for granted that the given one did not, to be told. Rows of
// attention that see no key at all give zeros, as torch's do.
std::set<std::string> fuse(Program& program, const FusionTarget& target);

}  // namespace portwright
