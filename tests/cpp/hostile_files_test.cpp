// Files that are truncated, damaged or made to harm, given to what reads them: an error, or facts,
// but never a crash and never a look outside of the folder.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "ir/text.h"
#include "onnx/checkpoint.h"
#include "onnx/export.h"
#include "onnx/inspect.h"
#include "onnx/record.h"
#include "onnx/writer.h"

namespace portwright {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProgram = R"ir(program {
  symbol rows in [0, inf] hint 4 from "x.size(0)" size
  guard decision mod(rows, 2) == 0 at "model.py":7 in "head"
  input parameter %w "weight" : f32[300, 2] = zeros
  input user %x "x" : f32[rows, 2]
  %0 : f32[rows, 300] = aten.linear.default(%x, %w, None) at "model.py":9
  output user "result" %0
})ir";

class HostileFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder = fs::temp_directory_path() / ("portwright-hostile-" + std::to_string(::getpid()));
    fs::create_directories(folder / "inside");
    write_onnx(lower(parse(kProgram), {}), path("model.onnx"), true);
    onnx = read("model.onnx");
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string path(const std::string& name) const { return (folder / "inside" / name).string(); }
  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary | std::ios::trunc) << content;
  }

  // Everything that reads an .onnx file.
  void read_onnx(const std::string& content) const {
    write("bad.onnx", content);
    try {
      inspect_onnx(path("bad.onnx"));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
    }
    try {
      read_onnx_record(path("bad.onnx"));
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported)
          << error.what();
    }
  }

  // Whether a checkpoint with this file is taken.
  bool opens(const std::string& content) const {
    write("model.safetensors", content);
    try {
      Checkpoint::open(path(""), path("model.onnx"));
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << error.what();
      return false;
    }
  }

  static std::string safetensors(const std::string& header, size_t data) {
    const uint64_t length = header.size();
    return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header +
           std::string(data, '\1');
  }

  fs::path folder;
  std::string onnx;
};

TEST_F(HostileFiles, EveryTruncationOfAModel) {
  for (size_t length = 0; length < onnx.size(); ++length) read_onnx(onnx.substr(0, length));
}

TEST_F(HostileFiles, EveryByteOfAModelChanged) {
  for (size_t at = 0; at < onnx.size(); ++at) {
    for (const int change : {0x07, 0x80}) {
      std::string changed = onnx;
      changed[at] = static_cast<char>(changed[at] ^ change);
      read_onnx(changed);
    }
  }
}

TEST_F(HostileFiles, RandomBytesInAModel) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::string changed = onnx;
    for (int i = 0; i < 8; ++i) changed[random() % changed.size()] = static_cast<char>(random());
    read_onnx(changed);
  }
}

// The model's external data with another location and length.
std::string moved(const std::string& onnx, const std::string& location, const std::string& length) {
  std::string changed = onnx;
  auto replace = [&](const std::string& old, const std::string& text) {
    const size_t at = changed.find(old);
    ASSERT_NE(at, std::string::npos);
    ASSERT_EQ(old.size(), text.size());  // lengths before it stay true
    changed.replace(at, old.size(), text);
  };
  replace("model.onnx_data", location);
  replace("2400", length);
  return changed;
}

TEST_F(HostileFiles, ExternalDataElsewhereIsNotLookedAt) {
  std::ofstream(folder / "secret") << "secret";
  write("secret-in-here", "seen");
  for (const char* location :
       {"../secret\0\0\0\0\0\0", "/etc/hostname/.", "..//..//secret/", "././././../sec."}) {
    std::string text(location);
    text.resize(std::string("model.onnx_data").size(), '/');
    write("bad.onnx", moved(onnx, text, "2400"));
    const auto facts = nlohmann::json::parse(inspect_onnx(path("bad.onnx")));
    EXPECT_FALSE(facts.at("external_data").at(0).at("present")) << text;
  }
  fs::remove(path("model.onnx_data"));
  fs::create_symlink(folder / "secret", path("model.onnx_data"));
  const auto facts = nlohmann::json::parse(inspect_onnx(path("model.onnx")));
  EXPECT_FALSE(facts.at("external_data").at(0).at("present"));
}

TEST_F(HostileFiles, LengthsThatAreNone) {
  for (const char* length : {"-240", "1e99", "    ", "24 0", "0x10"}) {
    write("bad.onnx", moved(onnx, "model.onnx_data", length));
    EXPECT_THROW(inspect_onnx(path("bad.onnx")), Error) << length;
  }
}

TEST_F(HostileFiles, WhatIsNoFileIsNotWaitedFor) {
  ASSERT_EQ(::mkfifo(path("pipe.onnx").c_str(), 0600), 0);
  fs::create_directory(path("folder.onnx"));
  for (const char* name : {"pipe.onnx", "folder.onnx", "missing.onnx"}) {
    EXPECT_THROW(inspect_onnx(path(name)), Error) << name;
    EXPECT_THROW(read_onnx_record(path(name)), Error) << name;
  }
  write("model.safetensors", safetensors(R"({})", 0));
  ASSERT_EQ(::mkfifo(path("pipe.safetensors").c_str(), 0600), 0);
  EXPECT_THROW(Checkpoint::open(path(""), path("model.onnx")), Error);
}

constexpr const char* kHeader = R"({"weight":{"dtype":"F32","shape":[4,2],"data_offsets":[0,32]},)"
                                R"("bias":{"dtype":"F32","shape":[2],"data_offsets":[32,40]}})";

TEST_F(HostileFiles, EveryTruncationOfACheckpoint) {
  const std::string whole = safetensors(kHeader, 40);
  EXPECT_TRUE(opens(whole));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(opens(whole.substr(0, length))) << length;
  }
}

TEST_F(HostileFiles, EveryByteOfACheckpointChanged) {
  const std::string whole = safetensors(kHeader, 40);
  for (size_t at = 0; at < whole.size() - 40; ++at) {
    for (const int change : {0x10, 0x80}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ change);
      opens(changed);
    }
  }
}

TEST_F(HostileFiles, CheckpointHeadersThatLie) {
  const std::pair<const char*, const char*> places[] = {
      {"[4,2]", "[0,32000]"},
      {"[4,2]", "[32,0]"},
      {"[4,2]", "[-32,0]"},
      {"[4,2]", "[0,-1]"},
      {"[4,2]", "[0,18446744073709551615]"},
      {"[4,2]", "[18446744073709551584,18446744073709551616]"},
      {"[4,2]", "[0.0,32.0]"},
      {"[4,2]", "[0,1e300]"},
      {"[4,2]", "[32]"},
      {"[4,2]", "[]"},
      {"[4,2]", "{}"},
      {"[4,2]", "\"0,32\""},
      {"[9223372036854775807,9223372036854775807]", "[0,32]"},
      {"[4611686018427387904,4]", "[0,0]"},
      {"[-4,-2]", "[0,32]"},
      {"[4.0,2.0]", "[0,32]"},
      {"[1e300]", "[0,32]"},
      {"{}", "[0,32]"},
      {"null", "[0,32]"},
  };
  for (const auto& [shape, offsets] : places) {
    const std::string header = std::string(R"({"weight":{"dtype":"F32","shape":)") + shape +
                               R"(,"data_offsets":)" + offsets + "}}";
    EXPECT_FALSE(opens(safetensors(header, 40))) << header;
  }
  for (const char* header :
       {"", "[]", "null", "{", R"({"a":1})", R"({"a":{"dtype":3}})", R"({"a":{"dtype":"F32"}})"}) {
    EXPECT_FALSE(opens(safetensors(header, 40))) << header;
  }
  EXPECT_FALSE(opens(safetensors(std::string(1 << 20, '['), 0)));
  for (const uint64_t length : {UINT64_MAX, UINT64_MAX - 7, uint64_t{1} << 63, uint64_t{49}}) {
    EXPECT_FALSE(opens(std::string(reinterpret_cast<const char*>(&length), 8) + "{}"));
  }
}

TEST_F(HostileFiles, CheckpointsThatAreLinks) {
  std::ofstream(folder / "outside.safetensors", std::ios::binary) << safetensors(kHeader, 40);
  fs::create_symlink(folder / "outside.safetensors", path("model.safetensors"));
  EXPECT_THROW(Checkpoint::open(path(""), path("model.onnx")), Error);
}

}  // namespace
}  // namespace portwright
