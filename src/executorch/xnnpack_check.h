// Checks of an XNNPACK payload that the delegate does not make: it reads or crashes instead.
#pragma once

#include <xnnpack_generated.h>

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "executorch/problems.h"

namespace portwright {

// A value that a call of the delegate passes in or takes out.
struct XnnpackExternal {
  uint32_t argument = 0;  // of the call
  bool is_output = false;
  fb_xnnpack::XNNDatatype datatype = fb_xnnpack::XNNDatatype::xnn_datatype_invalid;
  size_t rank = 0;
};

// `named_bytes` has the sizes of the file's named data.
std::vector<XnnpackExternal> check_xnnpack(std::string_view payload,
                                           const std::map<std::string_view, uint64_t>& named_bytes,
                                           Problems& problems);

}  // namespace portwright
