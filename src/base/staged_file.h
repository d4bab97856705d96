// Writing a file so that nobody ever sees half of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace portwright {

// A file that is written beside its final name and renamed when it is whole. Removed again when it
// is destroyed before commit(). All failures are Error(kIo) with the path and the system's reason.
class StagedFile {
 public:
  StagedFile() = default;
  StagedFile(StagedFile&& other) noexcept { swap(other); }
  StagedFile& operator=(StagedFile&& other) noexcept {
    swap(other);
    return *this;
  }
  ~StagedFile();

  static StagedFile create(const std::string& path);
  void write_at(uint64_t offset, const void* data, size_t bytes) const;
  void commit();

 private:
  void swap(StagedFile& other) noexcept;
  [[noreturn]] void fail(const std::string& what) const;

  std::string path_, staged_path_;
  int descriptor_ = -1;
};

}  // namespace portwright
