// The program of a .pte file: its methods and where their data lies.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include "executorch/data_layout.h"
#include "executorch/pte_model.h"

namespace portwright {

// Error(kUnsupported) when something does not fit the format's numbers.
flatbuffers::DetachedBuffer program_flatbuffer(const PteModel& model, const PteDataLayout& layout);

}  // namespace portwright
