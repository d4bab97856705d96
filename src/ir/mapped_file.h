// A file as a source of weights, mapped and never copied.
#pragma once

#include <memory>
#include <string>

#include "ir/weight.h"

namespace portwright {

class MappedFile final : public WeightSource {
 public:
  // Error(kIo) when the file cannot be opened or mapped.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  ~MappedFile() override;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  // Error(kIo) when the file has been changed since it was opened.
  std::span<const std::byte> bytes() const override;

 private:
  struct Stamp {
    int64_t size = 0;
    int64_t seconds = 0;
    int64_t nanoseconds = 0;
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  MappedFile() = default;
  Stamp stamp() const;

  std::string path_;
  int descriptor_ = -1;
  void* address_ = nullptr;
  Stamp opened_;
};

// A part of another source, which it keeps alive.
class WeightSlice final : public WeightSource {
 public:
  // The range must lie inside the whole.
  WeightSlice(std::shared_ptr<const WeightSource> whole, size_t offset, size_t size)
      : whole_(std::move(whole)), offset_(offset), size_(size) {}
  std::span<const std::byte> bytes() const override {
    return whole_->bytes().subspan(offset_, size_);
  }

 private:
  std::shared_ptr<const WeightSource> whole_;
  size_t offset_, size_;
};

}  // namespace portwright
