// Which parts of a program XNNPACK runs.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "executorch/bounds.h"
#include "ir/program.h"

namespace portwright {

struct PartitionOptions {
  // A delegate's weights are in memory twice while it is loaded: where a layer ends, a new delegate
  // begins when the last one holds at least this many bytes.
  uint64_t cut_bytes = uint64_t{32} << 20;
};

// Needs a program that the standard passes and fusions have been over. Ensures that each cluster of
// nodes that XNNPACK takes is one node (see kDelegate).
//   %1 = aten.linear.default(%x, %w, None)        [%2] = portwright.delegate.default(values [%x,
//   %w]) %2 = aten.relu.default(%1)              -->       body(%0, %1): %2 =
//   aten.linear.default(...)
//                                                                   %3 = aten.relu.default(%2)
void partition_for_xnnpack(Program& program, const Bounds& bounds,
                           const PartitionOptions& options = {});

// Why nodes outside of delegates are there: "aten.embedding.default: no kernel of XNNPACK", and how
// many nodes it is. For reports.
std::map<std::string, size_t> xnnpack_refusals(const Program& program);

}  // namespace portwright
