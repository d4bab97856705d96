#include "pt2/zip_writer.h"

#include <libdeflate.h>
#include <zlib.h>

#include <algorithm>

#include "base/parallel.h"
#include "base/staged_file.h"
#include "pt2/zip_format.h"

namespace portwright {
namespace {

constexpr uint64_t kAlignment = 64;
constexpr size_t kChunk = size_t{8} << 20;
constexpr uint16_t kPaddingField = 0x4246;  // "FB", PyTorch's own padding
constexpr size_t kFieldHeader = 4;
constexpr size_t kZip64Sizes = 16;
constexpr uint16_t kVersion = 45;  // zip64
constexpr uint16_t kUtf8Names = 0x0800;
constexpr uint16_t kFirstOfJanuary1980 = 0x21;

void append(std::string& text, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
}

uint32_t in_32_bits(uint64_t value) {
  return value >= zip::kIn64 ? zip::kIn64 : static_cast<uint32_t>(value);
}

bool needs_64(uint64_t value) { return value >= zip::kIn64; }

// Version, flags, method, time, date, checksum and sizes: the same in both headers.
void append_facts(std::string& text, uint32_t checksum, uint64_t bytes, const std::string& name) {
  append(text, kVersion, 2);
  append(text, kUtf8Names, 2);
  append(text, zip::kStored, 2);
  append(text, 0, 2);
  append(text, kFirstOfJanuary1980, 2);
  append(text, checksum, 4);
  append(text, in_32_bits(bytes), 4);
  append(text, in_32_bits(bytes), 4);
  append(text, name.size(), 2);
}

size_t local_zip64_bytes(uint64_t bytes) {
  return needs_64(bytes) ? kFieldHeader + kZip64Sizes : 0;
}

}  // namespace

void ZipWriter::add(std::string name, std::string text) {
  auto owned = std::make_shared<const std::string>(std::move(text));
  add(std::move(name), std::as_bytes(std::span(*owned)), owned);
}

void ZipWriter::add(std::string name, std::span<const std::byte> bytes,
                    std::shared_ptr<const void> keep) {
  entries_.push_back({std::move(name), bytes, std::move(keep)});
}

uint64_t ZipWriter::lay_out() {
  uint64_t end = 0;
  for (Entry& entry : entries_) {
    entry.header_offset = end;
    const uint64_t unpadded = end + zip::kLocalHeaderSize + entry.name.size() + kFieldHeader +
                              local_zip64_bytes(entry.bytes.size());
    entry.data_offset = (unpadded + kAlignment - 1) / kAlignment * kAlignment;
    end = entry.data_offset + entry.bytes.size();
  }
  return end;
}

std::string ZipWriter::local_header(const Entry& entry) {
  std::string text;
  append(text, zip::kLocalHeader, 4);
  append_facts(text, entry.checksum, entry.bytes.size(), entry.name);
  const uint64_t all = entry.data_offset - entry.header_offset;
  append(text, all - zip::kLocalHeaderSize - entry.name.size(), 2);
  text += entry.name;
  if (needs_64(entry.bytes.size())) {
    append(text, zip::kZip64Field, 2);
    append(text, kZip64Sizes, 2);
    append(text, entry.bytes.size(), 8);
    append(text, entry.bytes.size(), 8);
  }
  append(text, kPaddingField, 2);
  append(text, all - text.size() - 2, 2);
  text.resize(all, 'Z');
  return text;
}

std::string ZipWriter::directory_record(const Entry& entry) {
  std::string field;
  if (needs_64(entry.bytes.size())) {
    append(field, entry.bytes.size(), 8);
    append(field, entry.bytes.size(), 8);
  }
  if (needs_64(entry.header_offset)) append(field, entry.header_offset, 8);
  std::string text;
  append(text, zip::kDirectoryRecord, 4);
  append(text, kVersion, 2);
  append_facts(text, entry.checksum, entry.bytes.size(), entry.name);
  append(text, field.empty() ? 0 : kFieldHeader + field.size(), 2);
  append(text, 0, 12);  // comment, disk, attributes
  text.resize(zip::kDirectoryRecordSize - 4, '\0');
  append(text, in_32_bits(entry.header_offset), 4);
  text += entry.name;
  if (!field.empty()) {
    append(text, zip::kZip64Field, 2);
    append(text, field.size(), 2);
    text += field;
  }
  return text;
}

std::string ZipWriter::end_of_directory(uint64_t offset, uint64_t bytes) const {
  std::string text;
  if (needs_64(offset) || needs_64(bytes) || entries_.size() >= zip::kCountIn64) {
    append(text, zip::kEndOfDirectory64, 4);
    append(text, zip::kEndOfDirectory64Size - 12, 8);
    append(text, kVersion, 2);
    append(text, kVersion, 2);
    append(text, 0, 8);  // disks
    append(text, entries_.size(), 8);
    append(text, entries_.size(), 8);
    append(text, bytes, 8);
    append(text, offset, 8);
    append(text, zip::kLocator64, 4);
    append(text, 0, 4);
    append(text, offset + bytes, 8);
    append(text, 1, 4);
  }
  const uint64_t count = std::min<uint64_t>(entries_.size(), zip::kCountIn64);
  append(text, zip::kEndOfDirectory, 4);
  append(text, 0, 4);  // disks
  append(text, count, 2);
  append(text, count, 2);
  append(text, in_32_bits(bytes), 4);
  append(text, in_32_bits(offset), 4);
  append(text, 0, 2);
  return text;
}

uint64_t ZipWriter::write(const std::string& path) {
  struct Chunk {
    Entry* entry;
    std::span<const std::byte> bytes;
    uint32_t checksum = 0;
  };
  const uint64_t directory_offset = lay_out();
  std::vector<Chunk> chunks;
  for (Entry& entry : entries_) {
    for (size_t at = 0; at < entry.bytes.size(); at += kChunk) {
      chunks.push_back(
          {&entry, entry.bytes.subspan(at, std::min(kChunk, entry.bytes.size() - at))});
    }
  }
  StagedFile file = StagedFile::create(path);
  parallel_for(chunks.size(), writer_threads(directory_offset), [&](size_t i) {
    Chunk& chunk = chunks[i];
    chunk.checksum = libdeflate_crc32(0, chunk.bytes.data(), chunk.bytes.size());
    const auto at = static_cast<uint64_t>(chunk.bytes.data() - chunk.entry->bytes.data());
    file.write_at(chunk.entry->data_offset + at, chunk.bytes.data(), chunk.bytes.size());
  });
  for (const Chunk& chunk : chunks) {
    chunk.entry->checksum = static_cast<uint32_t>(crc32_combine(
        chunk.entry->checksum, chunk.checksum, static_cast<z_off_t>(chunk.bytes.size())));
  }
  std::string directory;
  for (const Entry& entry : entries_) {
    const std::string header = local_header(entry);
    file.write_at(entry.header_offset, header.data(), header.size());
    directory += directory_record(entry);
  }
  directory += end_of_directory(directory_offset, directory.size());
  file.write_at(directory_offset, directory.data(), directory.size());
  file.commit();
  return directory_offset + directory.size();
}

}  // namespace portwright
