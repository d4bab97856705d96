// Which file a run of this process's memory is mapped from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace portwright {

class MemoryMap {
 public:
  // The mappings of files as they are now; none on a system without /proc.
  static MemoryMap of_process();

  struct Origin {
    std::string path;     // without links
    uint64_t offset = 0;  // bytes
  };
  // The place of these bytes in a file, if one mapping holds all of them and none of its pages was
  // written to since: they are the file's, byte for byte.
  std::optional<Origin> origin(std::span<const std::byte> bytes) const;

 private:
  struct Mapping {
    uintptr_t begin = 0, end = 0;
    uint64_t offset = 0;
    bool is_private = false;
    std::string path;
  };
  std::vector<Mapping> mappings_;  // in the order of their addresses
};

}  // namespace portwright
