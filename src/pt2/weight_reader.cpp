#include "pt2/weight_reader.h"

#include <limits>

#include "pt2/scope.h"
#include "pt2/torch_numbers.h"

namespace portwright {
namespace {

std::vector<int64_t> plain_ints(const Json& list) {
  std::vector<int64_t> values;
  for (const Json& item : list) {
    values.push_back(item.at("as_int").get<int64_t>());
    if (values.back() < 0) corrupt("a stored tensor with a negative size or stride");
  }
  return values;
}

// Elements from the start of the entry to the end of the tensor; Error(kCorrupt) on overflow.
int64_t extent(const Weight& weight, const std::string& name) {
  int64_t last = weight.storage_offset;
  for (size_t i = 0; i < weight.shape.size(); ++i) {
    if (weight.shape[i] == 0) return 0;
    int64_t step = 0;
    if (__builtin_mul_overflow(weight.shape[i] - 1, weight.strides[i], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      corrupt("the stored tensor '" + name + "' is larger than memory");
    }
  }
  return last + 1;
}

// A mapped entry whose data does not start where its dtype needs it is copied.
std::shared_ptr<const WeightSource> aligned(std::shared_ptr<const WeightSource> source,
                                            size_t alignment) {
  const auto bytes = source->bytes();
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignment == 0) return source;
  return std::make_shared<HostWeightSource>(std::vector<std::byte>(bytes.begin(), bytes.end()));
}

}  // namespace

void read_weights(const ZipReader& archive, const std::string& config, const std::string& folder,
                  StoredWeights& weights) {
  std::map<std::string, std::shared_ptr<const WeightSource>> sources;
  const Json table = Json::parse(archive.text(config)).at("config");
  for (const auto& [name, entry] : table.items()) {
    if (entry.at("use_pickle").get<bool>()) {
      throw Error(ErrorCode::kUnsupported,
                  archive.path() + " stores '" + name +
                      "' as a pickle, which could run any code and is never opened: save the "
                      "program with plain tensors instead of subclasses or custom objects");
    }
    const Json& meta = entry.at("tensor_meta");
    const auto dtype = dtype_of_number(meta.at("dtype").get<int64_t>());
    if (!dtype) {
      throw Error(ErrorCode::kUnsupported, "'" + name + "' has the dtype number " +
                                               meta.at("dtype").dump() +
                                               ", which is not supported");
    }
    Weight weight;
    weight.dtype = *dtype;
    weight.shape = plain_ints(meta.at("sizes"));
    weight.strides = plain_ints(meta.at("strides"));
    weight.storage_offset = meta.at("storage_offset").at("as_int").get<int64_t>();
    if (weight.strides.size() != weight.shape.size() || weight.storage_offset < 0) {
      corrupt("the stored tensor '" + name + "' has no proper layout");
    }
    auto& source = sources[entry.at("path_name").get<std::string>()];
    if (!source) {
      source = aligned(archive.source(folder + entry.at("path_name").get<std::string>()),
                       element_size(weight.dtype));
    }
    weight.source = source;
    const auto held = static_cast<int64_t>(source->bytes().size() / element_size(weight.dtype));
    if (extent(weight, name) > held) {
      corrupt("the stored tensor '" + name + "' needs more than the " + std::to_string(held) +
              " elements of its entry");
    }
    if (meta.at("requires_grad").get<bool>()) weights.trainable.insert(name);
    weights.by_name.emplace(name, std::move(weight));
  }
}

}  // namespace portwright
