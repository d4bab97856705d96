// A zip archive of stored entries, as PyTorch writes and maps them.
//
// Not minizip: it copies every byte through a 16 KiB buffer on one thread and cannot place an
// entry's data on a boundary. Stored entries need no more than headers and a checksum
// (libdeflate's, which is four times as fast as zlib's; zlib joins those of the parts).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace portwright {

// Collects entries and writes them at once. Data starts at multiples of 64 bytes, so that a reader
// can map it. Same entries, same bytes: no times, no random numbers. Zip64 where sizes need it.
class ZipWriter {
 public:
  void add(std::string name, std::string text);
  // The bytes are read when the archive is written; `keep` holds them alive till then.
  void add(std::string name, std::span<const std::byte> bytes, std::shared_ptr<const void> keep);

  // Written aside and renamed. Gives the file's size. Error(kIo).
  uint64_t write(const std::string& path);

 private:
  struct Entry {
    std::string name;
    std::span<const std::byte> bytes;
    std::shared_ptr<const void> keep;
    uint64_t header_offset = 0;
    uint64_t data_offset = 0;
    uint32_t checksum = 0;
  };

  uint64_t lay_out();
  static std::string local_header(const Entry& entry);
  static std::string directory_record(const Entry& entry);
  std::string end_of_directory(uint64_t offset, uint64_t bytes) const;

  std::vector<Entry> entries_;
};

}  // namespace portwright
