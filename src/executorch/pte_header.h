// The first bytes of a .pte file: a flatbuffer's root and name, and between them and the rest of
// the flatbuffer the extended header, which says where the program ends and the segments begin.
#pragma once

#include <array>
#include <cstdint>

namespace portwright {

// As it lies in the file; numbers are little-endian.
struct PteHeader {
  static constexpr std::array<char, 4> kMagic = {'e', 'h', '0', '0'};
  static constexpr uint64_t kOffset = 8;   // behind the root's offset and "ET12"
  static constexpr uint32_t kLength = 32;  // a multiple of every alignment in the schema

  std::array<char, 4> magic = kMagic;
  uint32_t length = kLength;
  uint64_t program_bytes = 0;  // from the file's start, this header included
  uint64_t segments_offset = 0;
  uint64_t segments_bytes = 0;  // up to the end of the last
};
static_assert(sizeof(PteHeader) == PteHeader::kLength);

}  // namespace portwright
