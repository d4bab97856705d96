// Reads a .pt2 archive of torch.export.save into a Program.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "pt2/interface.h"
#include "pt2/schema.h"

namespace portwright {

// The tensors of a program by their names in the signature.
struct StoredWeights {
  std::map<std::string, Weight> by_name;
  std::set<std::string, std::less<>> trainable;
};

struct Pt2File {
  Program program;
  Pt2Interface interface;
};

// Weights stay in the file, which is mapped. The sample inputs, a pickle, are not looked at.
//
// Error(kIo); Error(kCorrupt) for a file that is damaged or contradicts itself; Error(kUnsupported)
// for weights that are stored as pickles (they are never unpickled), several programs in one file,
// and graphs that Program cannot hold.
Pt2File read_pt2(const std::string& path, SchemaTable& schemas);

// The same for a document without an archive (models/model.json in one) on weights that lie
// elsewhere.
Pt2File read_model(std::string_view document, StoredWeights weights, SchemaTable& schemas);

}  // namespace portwright
