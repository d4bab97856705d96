// The record of an export (ir/record.h) of a .pte file, which has it as named data.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "executorch/bounds.h"
#include "executorch/pte_model.h"
#include "executorch/writer.h"
#include "ir/record.h"

namespace portwright {

// The bounds of the program's dims, by symbol.
std::map<SymbolId, int64_t> bounds_of_dims(const SymbolTable& symbols, const Bounds& bounds);

std::string pte_record(const Program& program, const std::map<SymbolId, int64_t>& bounds,
                       const std::vector<std::string>& notes,
                       const std::map<std::string, std::string>& versions);

// Makes the record part of the file.
void add_record(PteModel& model, const std::string& record);

// Writes `<stem>.export.json` beside the file: the record with what is known once that is written.
// Gives its path. Error(kIo).
std::string write_record_beside(const std::string& record, const std::string& model_path,
                                const PteFacts& facts);

// The record that add_record put there; empty when the model has none.
std::string_view record_of(const PteModel& model);

// The record of a .pte file. Errors of read_pte (executorch/reader.h); Error(kUnsupported) when it
// has no record, as files of other tools.
ExportRecord read_pte_record(const std::string& path);

}  // namespace portwright
