#include "executorch/validator.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>

#include "base/error.h"
#include "executorch/memory_check.h"
#include "executorch/method_check.h"
#include "executorch/problems.h"

namespace portwright {
namespace {

std::string quoted(const std::string& text) { return "'" + text + "'"; }

// Whether the source holds all elements of the weight.
bool is_inside(const Weight& weight) {
  if (weight.source == nullptr || weight.storage_offset < 0) return false;
  if (weight.numel() == 0) return true;
  int64_t last = weight.storage_offset;
  for (size_t i = 0; i < weight.shape.size(); ++i) {
    if (weight.strides[i] < 0) return false;
    last += (weight.shape[i] - 1) * weight.strides[i];
  }
  return (static_cast<uint64_t>(last) + 1) * element_size(weight.dtype) <=
         weight.source->bytes().size();
}

void check_weights(const PteModel& model, Problems& problems) {
  auto check = [&](const Weight& weight) {
    if (!is_inside(weight)) problems.add("its elements lie outside of its source");
  };
  for (size_t i = 0; i < model.constants.size(); ++i) {
    problems.at("constant " + std::to_string(i));
    check(model.constants[i]);
  }
  for (size_t i = 0; i < model.initial_states.size(); ++i) {
    problems.at("initial state " + std::to_string(i));
    check(model.initial_states[i]);
  }
  for (const auto& [key, weight] : model.named_data) {
    problems.at("named data " + quoted(key));
    check(weight);
  }
}

void check_names(const PteModel& model, Problems& problems) {
  std::set<std::string_view> names, keys;
  problems.at("the model");
  if (model.methods.empty()) problems.add("it has no methods");
  for (const PteMethod& method : model.methods) {
    if (method.name.empty()) problems.add("a method has no name");
    if (!names.insert(method.name).second) {
      problems.add("two methods are called " + quoted(method.name));
    }
  }
  for (const auto& [key, weight] : model.named_data) {
    if (key.empty()) problems.add("named data has no name");
    if (!keys.insert(key).second) problems.add("two data are called " + quoted(key));
  }
}

}  // namespace

std::vector<std::string> problems_of(const PteModel& model) {
  Problems problems;
  check_names(model, problems);
  check_weights(model, problems);
  if (!problems.empty()) return problems.lines();  // what follows reads them
  std::map<std::string_view, uint64_t> named_bytes;
  for (const auto& [key, weight] : model.named_data) named_bytes[key] = weight.byte_size();
  for (const PteMethod& method : model.methods) {
    check_method(model, method, named_bytes, problems);
  }
  if (!problems.empty()) return problems.lines();
  for (const PteMethod& method : model.methods) {
    problems.at("method " + quoted(method.name));
    check_memory(method, problems);
  }
  return problems.lines();
}

std::string summary(const std::vector<std::string>& problems) {
  constexpr size_t kMost = 20;
  std::string text;
  for (size_t i = 0; i < std::min(problems.size(), kMost); ++i) text += "\n  " + problems[i];
  if (problems.size() > kMost) {
    text += "\n  and " + std::to_string(problems.size() - kMost) + " more";
  }
  return text;
}

void validate(const PteModel& model) {
  const std::vector<std::string> problems = problems_of(model);
  if (problems.empty()) return;
  throw Error(
      ErrorCode::kInternal,
      "the .pte model is not sound, and would not run; please report it:" + summary(problems));
}

std::optional<uint64_t> byte_size(const PteTensor& tensor) {
  uint64_t bytes = element_size(tensor.dtype);
  for (const int32_t size : tensor.sizes) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) {
      return std::nullopt;
    }
  }
  return bytes;
}

bool is_permutation(std::vector<uint8_t> order, size_t rank) {
  if (order.size() != rank) return false;
  std::ranges::sort(order);
  for (size_t i = 0; i < rank; ++i) {
    if (order[i] != i) return false;
  }
  return true;
}

}  // namespace portwright
