// Weights of a .pt2 archive. Internal to this folder.
#pragma once

#include <string>

#include "pt2/reader.h"
#include "pt2/zip_reader.h"

namespace portwright {

// Adds the tensors that the table `config` of the archive lists; their bytes are in `folder`.
void read_weights(const ZipReader& archive, const std::string& config, const std::string& folder,
                  StoredWeights& weights);

}  // namespace portwright
