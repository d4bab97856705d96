#include "ir/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace portwright {

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  auto fail = [&path](const std::string& what) {
    throw Error(ErrorCode::kIo, path + " cannot be " + what + ": " + std::strerror(errno));
  };
  std::shared_ptr<MappedFile> file(new MappedFile());
  file->path_ = path;
  file->descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // of a pipe
  if (file->descriptor_ < 0) fail("opened");
  file->opened_ = file->stamp();
  if (file->opened_.size == 0) return file;
  // Writable, privately: a program that changes its buffers changes its own pages, not the file.
  void* address = ::mmap(nullptr, static_cast<size_t>(file->opened_.size), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE, file->descriptor_, 0);
  if (address == MAP_FAILED) fail("mapped");
  file->address_ = address;
  return file;
}

MappedFile::~MappedFile() {
  if (address_ != nullptr) ::munmap(address_, static_cast<size_t>(opened_.size));
  if (descriptor_ >= 0) ::close(descriptor_);
}

MappedFile::Stamp MappedFile::stamp() const {
  struct stat facts{};
  if (::fstat(descriptor_, &facts) != 0) {
    throw Error(ErrorCode::kIo, path_ + " cannot be looked at: " + std::strerror(errno));
  }
  if (!S_ISREG(facts.st_mode)) throw Error(ErrorCode::kIo, path_ + " is not a file");
  return {facts.st_size, facts.st_mtim.tv_sec, facts.st_mtim.tv_nsec};
}

std::span<const std::byte> MappedFile::bytes() const {
  if (stamp() != opened_) {
    throw Error(ErrorCode::kIo, path_ + " was changed after it was opened: open it again");
  }
  return {static_cast<const std::byte*>(address_), static_cast<size_t>(opened_.size)};
}

}  // namespace portwright
