// .pte files that are truncated, damaged or made to harm: an error, or a model, but never a crash.
#include <gtest/gtest.h>
#include <program_generated.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <random>

#include "base/error.h"
#include "executorch/inspect.h"
#include "executorch/pte_header.h"
#include "executorch/reader.h"
#include "executorch/writer.h"
#include "pte_models.h"

namespace portwright {
namespace {

class HostilePte : public testing::Test {
 protected:
  HostilePte()
      : descriptor(::memfd_create("hostile.pte", MFD_CLOEXEC)),
        path("/proc/self/fd/" + std::to_string(descriptor)),
        whole(serialize_pte(everything())) {}
  ~HostilePte() override { ::close(descriptor); }

  void write(const std::string& content) const {
    EXPECT_EQ(::ftruncate(descriptor, 0), 0);
    EXPECT_EQ(::pwrite(descriptor, content.data(), content.size(), 0),
              static_cast<ssize_t>(content.size()));
  }

  // Whether the file is taken; what is taken can be written again.
  bool reads(const std::string& content) const {
    write(content);
    try {
      serialize_pte(read_pte(path).model);
      inspect_pte(path);
      return true;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported)
          << error.what();
      return false;
    }
  }

  template <typename T>
  std::string with(size_t offset, T number) const {
    std::string changed = whole;
    std::memcpy(changed.data() + offset, &number, sizeof(number));
    return changed;
  }

  int descriptor;  // of a file in memory
  std::string path, whole;
};

TEST_F(HostilePte, EveryTruncation) {
  EXPECT_TRUE(reads(whole));
  for (size_t length = 1; length < whole.size(); ++length) {
    EXPECT_FALSE(reads(whole.substr(0, length))) << length;
  }
}

TEST_F(HostilePte, EveryByteChanged) {
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int change : {0x01, 0x07, 0x80, 0xff}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ change);
      reads(changed);
    }
  }
}

TEST_F(HostilePte, RandomBytes) {
  std::mt19937 random(7);
  for (int round = 0; round < 2000; ++round) {
    std::string changed = whole;
    for (int i = 0; i < 6; ++i) changed[random() % changed.size()] = static_cast<char>(random());
    reads(changed);
  }
}

TEST_F(HostilePte, HeadersThatLie) {
  constexpr size_t kLength = 12, kProgram = 16, kSegments = 24, kData = 32;
  for (size_t field : {kProgram, kSegments, kData}) {
    for (const uint64_t number : {UINT64_MAX, UINT64_MAX - 127, uint64_t{1} << 63, uint64_t{0}}) {
      EXPECT_FALSE(reads(with(field, number))) << field << " " << number;
    }
  }
  EXPECT_FALSE(reads(with(kLength, uint32_t{0})));
  EXPECT_FALSE(reads(with(0, UINT32_MAX)));  // the root
}

// A program of 100 lists that are all the same 8 MiB.
std::string overlapping_lists() {
  namespace fb = executorch_flatbuffer;
  flatbuffers::FlatBufferBuilder out;
  const auto items = out.CreateVector(std::vector<double>(1 << 20));
  std::vector<flatbuffers::Offset<fb::EValue>> values;
  for (int i = 0; i < 100; ++i) {
    const auto list = fb::CreateDoubleList(out, items);
    values.push_back(fb::CreateEValue(out, fb::KernelTypes::DoubleList, list.Union()));
  }
  const std::vector<flatbuffers::Offset<fb::ExecutionPlan>> plans{
      fb::CreateExecutionPlanDirect(out, "forward", 0, &values)};
  fb::FinishProgramBuffer(out, fb::CreateProgramDirect(out, 0, &plans));
  std::string file(reinterpret_cast<const char*>(out.GetBufferPointer()), out.GetSize());
  PteHeader header;
  header.program_bytes = header.segments_offset = file.size() + sizeof(header);
  file.insert(PteHeader::kOffset, reinterpret_cast<const char*>(&header), sizeof(header));
  file[0] = static_cast<char>(file[0] + sizeof(header));
  return file;
}

TEST_F(HostilePte, ASmallFileDoesNotFillTheMemory) {
  write(overlapping_lists());
  try {
    read_pte(path);
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("overlap so often"), std::string::npos)
        << error.what();
  }
}

TEST_F(HostilePte, WhatIsNoFileIsNotWaitedFor) {
  EXPECT_THROW(read_pte(std::filesystem::temp_directory_path()), Error);
  EXPECT_THROW(read_pte("missing.pte"), Error);
}

}  // namespace
}  // namespace portwright
