// From Program to a .pte file in memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "executorch/bounds.h"
#include "executorch/lifetimes.h"
#include "executorch/pte_model.h"
#include "ir/program.h"

namespace portwright {

enum class ExecutorchBackend : uint8_t {
  kPortable,  // the runtime's own kernels
  kXnnpack,   // what XNNPACK takes in its delegate, the rest by the runtime's kernels
};

struct ExecutorchOptions {
  ExecutorchBackend backend = ExecutorchBackend::kPortable;
  AllocationOptions allocation;
  BoundsPolicy bounds;
  std::string method = "forward";
  // What the capture decided, and the libraries that took part: for the record (ir/record.h).
  std::vector<std::string> notes;
  std::map<std::string, std::string> versions;
};

struct ExecutorchExport {
  PteModel model;
  // What the export took for granted: the bounds of sizes that have none of their own.
  std::vector<std::string> notes;
  std::string record;  // ir/record.h; a part of the model, too
  // The largest sizes of the program's dims.
  std::map<SymbolId, int64_t> bounds;
  std::shared_ptr<const SymbolTable> symbols;
};

// Error(kMissingLowering) that lists all operators without a kernel, with the model's lines;
// Error(kUnsupported) for what the format or the runtime cannot hold.
ExecutorchExport lower_to_executorch(const Program& program, const ExecutorchOptions& options);

}  // namespace portwright
