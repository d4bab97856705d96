#include "base/staged_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/error.h"

namespace portwright {

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

}  // namespace portwright
