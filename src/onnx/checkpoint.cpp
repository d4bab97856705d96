#include "onnx/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace portwright {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr uint64_t kLongestHeader = 100'000'000;  // the format's own limit
constexpr size_t kLengthBytes = 8;

struct NamedType {
  std::string_view name;
  DType dtype;
};
constexpr std::array kTypes = {
    NamedType{"F64", DType::kFloat64},        NamedType{"F32", DType::kFloat32},
    NamedType{"F16", DType::kFloat16},        NamedType{"BF16", DType::kBFloat16},
    NamedType{"I64", DType::kInt64},          NamedType{"I32", DType::kInt32},
    NamedType{"I16", DType::kInt16},          NamedType{"I8", DType::kInt8},
    NamedType{"U64", DType::kUInt64},         NamedType{"U32", DType::kUInt32},
    NamedType{"U16", DType::kUInt16},         NamedType{"U8", DType::kUInt8},
    NamedType{"BOOL", DType::kBool},          NamedType{"F8_E4M3", DType::kFloat8E4M3FN},
    NamedType{"F8_E5M2", DType::kFloat8E5M2},
};

constexpr const char* kChoices =
    "copy the weights (weights=\"copy\"), or put the model beside a checkpoint of plain files (cp "
    "-rL "
    "makes one of links)";

[[noreturn]] void corrupt(const std::string& path, const std::string& what) {
  throw Error(ErrorCode::kCorrupt, path + " is no whole .safetensors file: " + what);
}

// The folder of the checkpoint, seen from the model's.
fs::path location_of(const std::string& folder, const std::string& model_path) {
  std::error_code failure;
  const fs::path inside = fs::canonical(folder, failure);
  if (failure) throw Error(ErrorCode::kIo, folder + " cannot be read: " + failure.message());
  const fs::path parent = fs::absolute(model_path).parent_path();
  const fs::path outside = fs::canonical(parent, failure);
  if (failure)
    throw Error(ErrorCode::kIo, parent.string() + " cannot be read: " + failure.message());
  fs::path relative = inside.lexically_relative(outside);
  if (relative.empty() || *relative.begin() == "..") {
    throw Error(ErrorCode::kInvalidArgument,
                "weights=\"reference\" needs the model in the checkpoint's folder, " +
                    inside.string() +
                    ", or above it, because runtimes read external data from there only; " +
                    outside.string() + " is neither: save it there, or " + kChoices);
  }
  return relative == "." ? fs::path() : relative;
}

// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {...}}
Json read_header(const std::string& path, std::span<const std::byte> bytes) {
  uint64_t length = 0;
  if (bytes.size() < kLengthBytes) corrupt(path, "it ends before its header");
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kLongestHeader || length > bytes.size() - kLengthBytes) {
    corrupt(path, "its header of " + std::to_string(length) + " bytes is longer than the file");
  }
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  Json header = Json::parse(text, text + length, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) corrupt(path, "its header is no JSON object");
  return header;
}

// The elements of a list, which floats are not: they would be cast, out of range too.
std::vector<int64_t> whole_numbers(const Json& list) {
  std::vector<int64_t> numbers;
  for (const Json& item : list) {
    if (!item.is_number_integer()) throw std::invalid_argument("no integer");
    numbers.push_back(item.get<int64_t>());
  }
  return numbers;
}

// The bytes of a tensor of this shape; nothing on overflow.
std::optional<uint64_t> size_of(const std::vector<int64_t>& shape, DType dtype) {
  uint64_t bytes = element_size(dtype);
  for (int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) {
      return std::nullopt;
    }
  }
  return bytes;
}

}  // namespace

Checkpoint Checkpoint::open(const std::string& folder, const std::string& model_path) {
  const fs::path location = location_of(folder, model_path);
  Checkpoint checkpoint;
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  for (const fs::path& path : found) {
    if (fs::is_symlink(path)) {
      throw Error(ErrorCode::kInvalidArgument,
                  path.string() + " is a link, which runtimes do not follow: " + kChoices);
    }
    checkpoint.add_file({(location / path.filename()).string(), fs::canonical(path).string(),
                         MappedFile::open(path.string())});
  }
  if (found.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                folder + " has no .safetensors file that weights=\"reference\" could point into: " +
                    kChoices);
  }
  checkpoint.memory_ = MemoryMap::of_process();
  return checkpoint;
}

void Checkpoint::add_file(File file) {
  const auto bytes = file.mapped->bytes();
  const Json header = read_header(file.path, bytes);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  const uint64_t data = kLengthBytes + length;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    try {
      const auto type = std::find_if(kTypes.begin(), kTypes.end(), [&](const NamedType& item) {
        return item.name == entry.at("dtype").get_ref<const std::string&>();
      });
      if (type == kTypes.end()) continue;  // of a type that ONNX models have not
      Tensor tensor{files_.size(), type->dtype, whole_numbers(entry.at("shape")), 0, 0};
      const std::vector<int64_t> ends = whole_numbers(entry.at("data_offsets"));
      const auto begin = static_cast<uint64_t>(ends.at(0));
      const auto end = static_cast<uint64_t>(ends.at(1));
      if (begin > end || end > bytes.size() - data ||
          size_of(tensor.shape, type->dtype) != end - begin) {
        corrupt(file.path, "the tensor '" + name + "' lies outside of it");
      }
      tensor.offset = data + begin;
      tensor.bytes = end - begin;
      tensors_.insert_or_assign(name, std::move(tensor));
    } catch (const std::logic_error&) {  // of whole_numbers
      corrupt(file.path, "the entry of '" + name + "' in its header");
    } catch (const Json::exception&) {
      corrupt(file.path, "the entry of '" + name + "' in its header");
    }
  }
  files_.push_back(std::move(file));
}

std::optional<Checkpoint::Place> Checkpoint::find(const std::string& name,
                                                  const Weight& weight) const {
  const auto bytes = weight.contiguous_bytes();
  if (const auto origin = memory_.origin(bytes)) {
    for (const File& file : files_) {
      if (file.path == origin->path) return Place{file.location, origin->offset};
    }
  }
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || !holds(found->second, weight)) return std::nullopt;
  return Place{files_[found->second.file].location, found->second.offset};
}

bool Checkpoint::holds(const Tensor& tensor, const Weight& weight) const {
  if (tensor.dtype != weight.dtype || tensor.shape != weight.shape) return false;
  const auto stored = files_[tensor.file].mapped->bytes().subspan(tensor.offset, tensor.bytes);
  const auto bytes = weight.contiguous_bytes();
  return stored.size() == bytes.size() &&
         std::memcmp(stored.data(), bytes.data(), bytes.size()) == 0;
}

}  // namespace portwright
