// Lists of numbers in a flatbuffer that was not written by us.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstring>
#include <vector>

namespace portwright {

// A copy, empty when the list is not there. The verifier leaves the items' alignment open, so that
// they are not read in place.
template <typename T>
std::vector<T> copy_of(const flatbuffers::Vector<T>* list) {
  if (list == nullptr || list->size() == 0) return {};
  std::vector<T> copy(list->size());
  std::memcpy(copy.data(), list->Data(), copy.size() * sizeof(T));
  return copy;
}

}  // namespace portwright
