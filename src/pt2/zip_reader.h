// Reads a zip archive of stored entries in place.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "ir/mapped_file.h"

namespace portwright {

// The entries of a mapped archive by name. Every number of the file is checked against the file's
// size; nothing is allocated by a number that the file states.
class ZipReader {
 public:
  // Error(kIo); Error(kCorrupt) for a file that is no zip, is truncated, or has entries that
  // overlap its end; Error(kUnsupported) for compressed or encrypted entries.
  static ZipReader open(const std::string& path);

  struct Entry {
    size_t offset = 0;
    size_t size = 0;
  };
  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  bool contains(std::string_view name) const { return entries_.contains(name); }
  // Error(kCorrupt) when there is no such entry.
  std::string_view text(std::string_view name) const;
  std::shared_ptr<const WeightSource> source(std::string_view name) const;
  const std::string& path() const { return path_; }

 private:
  const Entry& find(std::string_view name) const;

  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace portwright
