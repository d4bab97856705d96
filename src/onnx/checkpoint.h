// The .safetensors files of a checkpoint, as external data of an ONNX model beside them.
// Source: the format's page, https://huggingface.co/docs/safetensors; external data: ONNX's
// docs/ExternalData.md and what onnx.checker and ONNX Runtime refuse.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/memory_map.h"
#include "ir/mapped_file.h"
#include "ir/weight.h"

namespace portwright {

class Checkpoint {
 public:
  // Reads the headers of all .safetensors files of `folder`, which is the folder of the model's
  // path or lies in it: runtimes read no absolute paths, no "..", no links.
  //
  // Error(kInvalidArgument) for another folder, for files behind links, and where there is none;
  // Error(kCorrupt) for a header that is no safetensors header or points out of its file;
  // Error(kIo).
  static Checkpoint open(const std::string& folder, const std::string& model_path);

  struct Place {
    std::string location;  // relative to the model's folder
    uint64_t offset = 0;   // bytes
  };
  // Where a contiguous weight lies, byte for byte: the file that its memory is mapped from, or the
  // tensor of that name when its bytes are the same.
  std::optional<Place> find(const std::string& name, const Weight& weight) const;

 private:
  struct File {
    std::string location;
    std::string path;  // without links
    std::shared_ptr<const MappedFile> mapped;
  };
  struct Tensor {
    size_t file = 0;
    DType dtype = DType::kFloat32;
    std::vector<int64_t> shape;
    uint64_t offset = 0, bytes = 0;
  };
  void add_file(File file);
  bool holds(const Tensor& tensor, const Weight& weight) const;

  std::vector<File> files_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  MemoryMap memory_;
};

}  // namespace portwright
