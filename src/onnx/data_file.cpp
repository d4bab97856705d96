#include "onnx/data_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "base/error.h"

namespace portwright {
namespace {

constexpr uint64_t kAlignment = 4096;
constexpr size_t kChunk = size_t{8} << 20;
constexpr uint64_t kParallelThreshold = uint64_t{64} << 20;

std::string identity(const Weight& weight) {
  std::string key(to_string(weight.dtype));
  auto append = [&key](int64_t value) {
    key.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  append(reinterpret_cast<int64_t>(weight.source->bytes().data()));
  append(weight.storage_offset);
  for (int64_t size : weight.shape) append(size);
  for (int64_t stride : weight.strides) append(stride);
  return key;
}

// One run of bytes and where it goes.
struct Chunk {
  const std::byte* data;
  size_t bytes;
  uint64_t offset;
};

}  // namespace

StagedFile StagedFile::create(const std::string& path) {
  StagedFile file;
  file.path_ = path;
  file.staged_path_ = path + ".partial-" + std::to_string(::getpid());
  file.descriptor_ =
      ::open(file.staged_path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (file.descriptor_ < 0) file.fail("cannot be created");
  if (std::filesystem::is_directory(path)) {  // else commit() would find out, after other files
    errno = EISDIR;
    file.fail("cannot be replaced");
  }
  return file;
}

StagedFile::~StagedFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(staged_path_.c_str());
}

void StagedFile::swap(StagedFile& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(staged_path_, other.staged_path_);
  std::swap(descriptor_, other.descriptor_);
}

void StagedFile::fail(const std::string& what) const {
  const int reason = errno;
  std::string text = path_ + " " + what + ": " + std::strerror(reason);
  if (reason == ENOSPC || reason == EDQUOT) text += "; free space, or write to another disk";
  if (reason == ENOENT) text += "; create the folder first";
  if (reason == EACCES || reason == EROFS) text += "; choose a folder that you may write to";
  throw Error(ErrorCode::kIo, text);
}

void StagedFile::write_at(uint64_t offset, const void* data, size_t bytes) const {
  const char* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::pwrite(descriptor_, next, bytes, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("cannot be written");
    }
    next += written;
    offset += static_cast<uint64_t>(written);
    bytes -= static_cast<size_t>(written);
  }
}

void StagedFile::commit() {
  if (::close(std::exchange(descriptor_, -1)) != 0 ||
      std::rename(staged_path_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(staged_path_.c_str());
    errno = reason;
    fail("cannot be finished");
  }
}

DataLayout DataLayout::of(const OnnxModel& model, size_t threshold) {
  DataLayout layout;
  std::unordered_map<std::string, size_t> seen;
  uint64_t end = 0;
  for (const OnnxInitializer& item : model.initializers) {
    const size_t bytes = item.weight.byte_size();
    if (bytes < threshold) continue;
    auto [entry, added] = seen.try_emplace(identity(item.weight), layout.pieces.size());
    if (added) {
      const uint64_t offset = (end + kAlignment - 1) / kAlignment * kAlignment;
      layout.pieces.push_back({item.weight, offset, bytes});
      end = offset + bytes;
    }
    layout.piece_by_name.emplace(item.name, entry->second);
  }
  return layout;
}

std::optional<DataLayout::Piece> DataLayout::place_of(const std::string& initializer) const {
  auto found = piece_by_name.find(initializer);
  if (found == piece_by_name.end()) return std::nullopt;
  return pieces[found->second];
}

uint64_t write_weights(const DataLayout& layout, const StagedFile& file) {
  uint64_t total = 0;
  std::vector<Chunk> chunks;
  for (const DataLayout::Piece& piece : layout.pieces) {
    total = piece.offset + piece.bytes;
    if (!piece.weight.is_contiguous()) continue;
    const auto bytes = piece.weight.contiguous_bytes();
    for (size_t at = 0; at < bytes.size(); at += kChunk) {
      chunks.push_back({bytes.data() + at, std::min(kChunk, bytes.size() - at), piece.offset + at});
    }
  }
  // Several writers: on memory-backed disks the copy itself is the cost.
  std::atomic<size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_lock;
  auto work = [&] {
    try {
      for (size_t i = next++; i < chunks.size(); i = next++) {
        file.write_at(chunks[i].offset, chunks[i].data, chunks[i].bytes);
      }
    } catch (...) {
      const std::lock_guard lock(failure_lock);
      failure = std::current_exception();
      next = chunks.size();
    }
  };
  std::vector<std::thread> helpers;
  if (total >= kParallelThreshold) {
    for (unsigned i = 1; i < std::min(4U, std::thread::hardware_concurrency()); ++i) {
      helpers.emplace_back(work);
    }
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
  // Strided weights are gathered one at a time.
  for (const DataLayout::Piece& piece : layout.pieces) {
    if (piece.weight.is_contiguous()) continue;
    const auto bytes = piece.weight.copy_bytes();
    file.write_at(piece.offset, bytes.data(), bytes.size());
  }
  return total;
}

}  // namespace portwright
