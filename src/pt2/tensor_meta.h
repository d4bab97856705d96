// TensorMeta of the .pt2 schema. Internal to this folder.
#pragma once

#include "ir/program.h"
#include "pt2/symbol_nodes.h"

namespace portwright {

// Of a value in the graph, with symbolic sizes; contiguous strides are worked out.
Json tensor_meta(const TensorType& type, const SymbolNodes& symbols, bool requires_grad);

// Of a stored tensor; `storage_offset` in elements from the start of its entry.
Json weight_meta(const Weight& weight, int64_t storage_offset, bool requires_grad);

}  // namespace portwright
