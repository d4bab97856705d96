// The fusions, one or a few of a kind per file.
#pragma once

#include "fusion/rewriter.h"

namespace portwright {

bool fuse_rms_norm(Rewriter& out, const Node& node);
bool fuse_gelu(Rewriter& out, const Node& node);
// A norm of a sum; after fuse_rms_norm.
bool fuse_skip_norm(Rewriter& out, const Node& node);

// On x [batch, heads, seq, width], the form that models write.
bool fuse_rotary_embedding(Rewriter& out, const Node& node);

// softmax(query key^T * scale + mask) value, written out, as scaled_dot_product_attention.
bool fuse_written_attention(Rewriter& out, const Node& node);
bool fuse_attention(Rewriter& out, const Node& node);
// Before fuse_attention: those whose keys go behind a past.
bool fuse_cached_attention(Rewriter& out, const Node& node);
bool fuse_fixed_cache_attention(Rewriter& out, const Node& node);

}  // namespace portwright
