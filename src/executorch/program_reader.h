// The program of a .pte file as methods of a model.
#pragma once

#include <program_generated.h>

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "executorch/pte_model.h"

namespace portwright {

// How much may be copied out of a file: its parts may be shared, as payloads of equal delegates
// are, but not so often that a small file fills the memory.
class CopyBudget {
 public:
  explicit CopyBudget(uint64_t file_bytes);
  void spend(uint64_t bytes);  // Error(kCorrupt) when it is used up

 private:
  uint64_t left_;
};

// `payload` gives a delegate's bytes. The program must have passed flatbuffers' verifier.
// Error(kCorrupt), Error(kUnsupported).
std::vector<PteMethod> read_methods(
    const executorch_flatbuffer::Program& program,
    const std::function<
        std::string_view(const executorch_flatbuffer::BackendDelegateDataReference&)>& payload,
    CopyBudget& budget);

}  // namespace portwright
