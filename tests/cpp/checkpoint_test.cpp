// Weights of ONNX models by reference to the .safetensors files that they were mapped from.
#include "onnx/checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "onnx/writer.h"

namespace portwright {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kCount = 4096;  // floats of each tensor: some pages

class CheckpointFolder : public testing::Test {
 protected:
  void SetUp() override {
    path = fs::temp_directory_path() / ("portwright-checkpoint-" + std::to_string(::getpid()));
    fs::create_directories(path);
    const std::string end = std::to_string(8 * kCount);
    write("model.safetensors",
          R"({"a":{"dtype":"F32","shape":[4096],"data_offsets":[0,16384]},)"
          R"("b":{"dtype":"F32","shape":[4096],"data_offsets":[16384,)" +
              end + "]}}",
          8 * kCount);
  }
  void TearDown() override { fs::remove_all(path); }

  void write(const std::string& name, const std::string& header, size_t data_bytes) const {
    std::ofstream file(path / name, std::ios::binary);
    const uint64_t length = header.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof(length));
    file << header;
    for (size_t i = 0; i < data_bytes; ++i) file.put(static_cast<char>(i % 251));
  }

  // The two tensors, mapped from the file.
  OnnxModel mapped_model() const {
    const auto file = MappedFile::open((path / "model.safetensors").string());
    const size_t data = file->bytes().size() - 8 * kCount;
    OnnxModel model;
    for (size_t i = 0; i < 2; ++i) {
      Weight weight;
      weight.source = std::make_shared<WeightSlice>(file, data + i * 4 * kCount, 4 * kCount);
      weight.shape = {kCount};
      weight.strides = {1};
      model.initializers.push_back({i == 0 ? "first" : "second", weight});
    }
    return model;
  }

  OnnxFiles written(const OnnxModel& model) const {
    return write_onnx(model, (path / "model.onnx").string(), true, path.string());
  }

  fs::path path;
};

TEST_F(CheckpointFolder, MappedWeightsStayWhereTheyAre) {
  const OnnxFiles files = written(mapped_model());
  EXPECT_EQ(files.referenced, (std::map<std::string, uint64_t>{{"model.safetensors", 8 * kCount}}));
  EXPECT_TRUE(files.copied.empty());
  EXPECT_FALSE(fs::exists(path / "model.onnx_data"));
}

TEST_F(CheckpointFolder, AWeightThatWasWrittenToIsCopied) {
  const OnnxModel model = mapped_model();
  const auto bytes = model.initializers[1].weight.contiguous_bytes();
  std::memset(const_cast<std::byte*>(bytes.data()) + bytes.size() / 2, 1, 8);
  const OnnxFiles files = written(model);
  EXPECT_EQ(files.copied, std::vector<std::string>{"second"});
  EXPECT_EQ(files.data_bytes, 4u * kCount);
}

TEST_F(CheckpointFolder, WeightsInMemoryAreFoundByTheirNames) {
  OnnxModel model = mapped_model();
  for (OnnxInitializer& item : model.initializers) {
    item.weight = Weight::from_host(DType::kFloat32, {kCount}, item.weight.copy_bytes());
  }
  EXPECT_THROW(written(model), Error);  // other names than the file's
  model.initializers[0].name = "a";
  const OnnxFiles files = written(model);
  EXPECT_EQ(files.referenced.at("model.safetensors"), 4u * kCount);
  EXPECT_EQ(files.copied, std::vector<std::string>{"second"});
}

TEST_F(CheckpointFolder, OtherFoldersAndLinksAreRefused) {
  EXPECT_THROW(Checkpoint::open(path.string(), (path / "below" / "model.onnx").string()), Error);
  fs::create_directories(path / "below");
  EXPECT_THROW(Checkpoint::open(path.string(), (path / "below" / "model.onnx").string()), Error);
  fs::create_symlink(path / "model.safetensors", path / "link.safetensors");
  EXPECT_THROW(Checkpoint::open(path.string(), (path / "model.onnx").string()), Error);
}

TEST_F(CheckpointFolder, BrokenHeadersAreErrors) {
  const std::vector<std::string> headers = {
      "",
      "[]",
      "{",
      R"({"a":1})",
      R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
      R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})"};
  for (const std::string& header : headers) {
    write("broken.safetensors", header, 8);
    EXPECT_THROW(Checkpoint::open(path.string(), (path / "model.onnx").string()), Error) << header;
  }
}

}  // namespace
}  // namespace portwright
