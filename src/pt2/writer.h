// Writes a Program as a .pt2 archive that torch.export.load reads.
#pragma once

#include <cstdint>
#include <string>

#include "pt2/interface.h"
#include "pt2/schema.h"

namespace portwright {

// Weights and constants are streamed from where they lie, unpickled; parts of storages that several
// of them share are written once. No sample inputs are written (they would be a pickle). The file
// is written aside and renamed. Gives its size.
//
// Error(kIo), and Error(kUnsupported) as write_model.
uint64_t write_pt2(const Program& program, const Pt2Interface& interface, SchemaTable& schemas,
                   const std::string& path);

}  // namespace portwright
