// Checks of one method: that every index names something of the right kind, and that every tensor
// has the memory that it needs.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>

#include "executorch/problems.h"
#include "executorch/pte_model.h"

namespace portwright {

// `named_bytes` has the sizes of the model's named data.
void check_method(const PteModel& model, const PteMethod& method,
                  const std::map<std::string_view, uint64_t>& named_bytes, Problems& problems);

}  // namespace portwright
