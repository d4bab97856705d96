#include "pt2/zip_reader.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "pt2/zip_format.h"

namespace portwright {
namespace {

using Bytes = std::span<const std::byte>;

// Little-endian numbers of a mapped file, every read inside its bounds.
class ZipBytes {
 public:
  ZipBytes(Bytes bytes, const std::string& path) : bytes_(bytes), path_(path) {}

  [[noreturn]] void corrupt(const std::string& what) const {
    throw Error(ErrorCode::kCorrupt,
                path_ + " is no .pt2 archive or is damaged: " + what + "; save or fetch it again");
  }

  Bytes range(uint64_t offset, uint64_t size, const char* what) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) {
      corrupt(std::string(what) + " at " + std::to_string(offset) + " (" + std::to_string(size) +
              " bytes) lies outside its " + std::to_string(bytes_.size()) + " bytes");
    }
    return bytes_.subspan(offset, size);
  }

  template <typename T>
  T number(uint64_t offset, const char* what) const {
    T value;
    std::memcpy(&value, range(offset, sizeof(T), what).data(), sizeof(T));
    return value;
  }

  size_t size() const { return bytes_.size(); }

 private:
  Bytes bytes_;
  const std::string& path_;
};

struct Directory {
  uint64_t offset = 0;
  uint64_t size = 0;
};

Directory find_directory(const ZipBytes& file) {
  constexpr size_t kLongestComment = 0xffff;
  if (file.size() < zip::kEndOfDirectorySize) file.corrupt("it is too short");
  const size_t last = file.size() - zip::kEndOfDirectorySize;
  const size_t first = last > kLongestComment ? last - kLongestComment : 0;
  size_t at = last;
  while (file.number<uint32_t>(at, "end of directory") != zip::kEndOfDirectory) {
    if (at == first) file.corrupt("it has no end of directory");
    --at;
  }
  Directory found{file.number<uint32_t>(at + 16, "directory offset"),
                  file.number<uint32_t>(at + 12, "directory size")};
  if (at >= zip::kLocator64Size &&
      file.number<uint32_t>(at - zip::kLocator64Size, "locator") == zip::kLocator64) {
    const auto end = file.number<uint64_t>(at - zip::kLocator64Size + 8, "locator");
    file.range(end, zip::kEndOfDirectory64Size, "zip64 end of directory");
    if (file.number<uint32_t>(end, "zip64 end of directory") != zip::kEndOfDirectory64) {
      file.corrupt("its zip64 end of directory is not where it should be");
    }
    found = {file.number<uint64_t>(end + 48, "directory offset"),
             file.number<uint64_t>(end + 40, "directory size")};
  }
  file.range(found.offset, found.size, "directory");
  return found;
}

struct Record {
  std::string name;
  uint64_t header_offset = 0;
  uint64_t size = 0;
  uint64_t bytes = 0;  // of the record itself
};

// Replaces the numbers that did not fit 32 bits by those of the zip64 field.
void read_zip64(const ZipBytes& file, uint64_t field, uint64_t end, Record& record,
                uint64_t& packed) {
  while (field + 4 <= end) {
    const auto id = file.number<uint16_t>(field, "extra field");
    const auto size = file.number<uint16_t>(field + 2, "extra field");
    uint64_t at = field + 4;
    field = at + size;
    if (id != zip::kZip64Field) continue;
    for (uint64_t* value : {&record.size, &packed, &record.header_offset}) {
      if (*value != zip::kIn64) continue;
      *value = file.number<uint64_t>(at, "zip64 field");
      at += sizeof(uint64_t);
    }
  }
}

Record read_record(const ZipBytes& file, uint64_t at, const std::string& path) {
  file.range(at, zip::kDirectoryRecordSize, "directory record");
  if (file.number<uint32_t>(at, "directory record") != zip::kDirectoryRecord) {
    file.corrupt("its directory is malformed");
  }
  const auto name_size = file.number<uint16_t>(at + 28, "name");
  const auto extra_size = file.number<uint16_t>(at + 30, "extra field");
  const auto comment_size = file.number<uint16_t>(at + 32, "comment");
  Record record;
  record.bytes = zip::kDirectoryRecordSize + name_size + extra_size + comment_size;
  file.range(at, record.bytes, "directory record");
  const Bytes name = file.range(at + zip::kDirectoryRecordSize, name_size, "name");
  record.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
  uint64_t packed = file.number<uint32_t>(at + 20, "size");
  record.size = file.number<uint32_t>(at + 24, "size");
  record.header_offset = file.number<uint32_t>(at + 42, "offset");
  const uint64_t extra = at + zip::kDirectoryRecordSize + name_size;
  read_zip64(file, extra, extra + extra_size, record, packed);
  if (file.number<uint16_t>(at + 10, "method") != zip::kStored ||
      (file.number<uint16_t>(at + 8, "flags") & zip::kEncrypted) != 0) {
    throw Error(ErrorCode::kUnsupported,
                path + " holds '" + record.name +
                    "' compressed or encrypted; .pt2 archives are stored plain: save it anew with "
                    "torch.export.save");
  }
  if (packed != record.size) file.corrupt("'" + record.name + "' has two sizes");
  return record;
}

}  // namespace

ZipReader ZipReader::open(const std::string& path) {
  ZipReader archive;
  archive.path_ = path;
  archive.file_ = MappedFile::open(path);
  const ZipBytes file(archive.file_->bytes(), path);
  const Directory directory = find_directory(file);
  for (uint64_t at = directory.offset; at < directory.offset + directory.size;) {
    Record record = read_record(file, at, path);
    at += record.bytes;
    if (file.number<uint32_t>(record.header_offset, "header") != zip::kLocalHeader) {
      file.corrupt("'" + record.name + "' has no header");
    }
    const uint64_t data = record.header_offset + zip::kLocalHeaderSize +
                          file.number<uint16_t>(record.header_offset + 26, "header") +
                          file.number<uint16_t>(record.header_offset + 28, "header");
    file.range(data, record.size, "entry");
    // The folder at the top is called after the file; nothing else depends on it.
    const size_t slash = record.name.find('/');
    if (slash != std::string::npos) record.name.erase(0, slash + 1);
    if (!archive.entries_.emplace(record.name, Entry{data, record.size}).second) {
      file.corrupt("'" + record.name + "' is there twice");
    }
  }
  return archive;
}

const ZipReader::Entry& ZipReader::find(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    throw Error(ErrorCode::kCorrupt,
                path_ + " lacks '" + std::string(name) + "': it is no complete .pt2 archive");
  }
  return found->second;
}

std::string_view ZipReader::text(std::string_view name) const {
  const Entry& entry = find(name);
  const auto bytes = file_->bytes().subspan(entry.offset, entry.size);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::shared_ptr<const WeightSource> ZipReader::source(std::string_view name) const {
  const Entry& entry = find(name);
  return std::make_shared<WeightSlice>(file_, entry.offset, entry.size);
}

}  // namespace portwright
