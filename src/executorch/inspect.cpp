#include "executorch/inspect.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "executorch/reader.h"
#include "executorch/record.h"
#include "executorch/xnnpack_payload.h"

namespace portwright {
namespace {

using nlohmann::ordered_json;
using Counts = std::map<std::string, uint64_t>;

struct ValueFacts {
  ordered_json operator()(None) const { return {{"kind", "none"}}; }
  ordered_json operator()(bool value) const { return {{"kind", "bool"}, {"value", value}}; }
  ordered_json operator()(int64_t value) const { return {{"kind", "int"}, {"value", value}}; }
  ordered_json operator()(double value) const { return {{"kind", "float"}, {"value", value}}; }
  ordered_json operator()(const std::string& value) const {
    return {{"kind", "string"}, {"value", value}};
  }
  ordered_json operator()(const PteTensor& tensor) const {
    return {{"dtype", to_string(tensor.dtype)},
            {"dims", tensor.sizes},
            {"shape", tensor.dynamic ? "dynamic" : "static"},
            {"memory", tensor.allocation ? "planned" : "caller"}};
  }
  template <typename List>
  ordered_json operator()(const List&) const {
    return {{"kind", "list"}};
  }
};

ordered_json values_of(const PteMethod& method, const std::vector<PteId>& ids) {
  ordered_json facts = ordered_json::array();
  for (PteId id : ids) facts.push_back(std::visit(ValueFacts{}, method.values.at(id)));
  return facts;
}

std::string name_of(const PteOperator& op) {
  return op.overload.empty() ? op.name : op.name + "." + op.overload;
}

Counts kernel_calls(const PteMethod& method) {
  Counts counts;
  for (const PteInstruction& instruction : method.instructions) {
    const auto* call = std::get_if<PteKernelCall>(&instruction);
    if (call != nullptr) ++counts[name_of(method.operators.at(call->op))];
  }
  return counts;
}

struct Delegated {
  uint64_t delegates = 0;
  Counts operators;  // of those whose payload is known
};

std::map<std::string, Delegated> delegated_by_backend(const PteMethod& method) {
  std::map<std::string, Delegated> backends;
  for (const PteDelegate& delegate : method.delegates) {
    auto& [delegates, operators] = backends[delegate.backend];
    ++delegates;
    if (delegate.backend != kXnnpackBackend) continue;
    for (const auto* node : *XnnpackPayload::read(delegate.payload).graph->xnodes()) {
      ++operators[fb_xnnpack::EnumNameXNodeUnion(node->xnode_union_type())];
    }
  }
  return backends;
}

ordered_json facts_of(const PteMethod& method) {
  ordered_json facts;
  facts["inputs"] = values_of(method, method.inputs);
  facts["outputs"] = values_of(method, method.outputs);
  facts["instructions"] = method.instructions.size();
  facts["kernels"] = kernel_calls(method);
  facts["delegated"] = ordered_json::object();
  for (const auto& [backend, delegated] : delegated_by_backend(method)) {
    facts["delegated"][backend] = {{"delegates", delegated.delegates},
                                   {"operators", delegated.operators}};
  }
  facts["arenas"] = ordered_json::array();  // without the runtime's own, which is empty
  for (size_t i = 1; i < method.arena_sizes.size(); ++i) {
    facts["arenas"].push_back(method.arena_sizes[i]);
  }
  return facts;
}

// Sums of bytes, each run of them once.
class Sizes {
 public:
  uint64_t add(const Weight& weight) {
    const auto bytes = weight.contiguous_bytes();
    return seen_.emplace(bytes.data(), bytes.size()).second ? bytes.size() : 0;
  }
  uint64_t add(const std::vector<Weight>& weights) {
    uint64_t sum = 0;
    for (const Weight& weight : weights) sum += add(weight);
    return sum;
  }

 private:
  std::set<std::pair<const std::byte*, size_t>> seen_;
};

ordered_json sizes_of(const PteFile& file) {
  Sizes sizes;
  const uint64_t constants = sizes.add(file.model.constants);
  const uint64_t states = sizes.add(file.model.initial_states);
  uint64_t delegates = 0, named_data = 0;
  for (const PteMethod& method : file.model.methods) {
    for (const PteDelegate& delegate : method.delegates) delegates += delegate.payload.size();
  }
  for (const PteNamedData& data : file.model.named_data) named_data += sizes.add(data.weight);
  return {{"program", file.program_bytes},
          {"constants", constants},
          {"initial_states", states},
          {"delegates", delegates},
          {"named_data", named_data}};
}

}  // namespace

std::string inspect_pte(const std::string& path) {
  const PteFile file = read_pte(path);
  ordered_json facts;
  facts["file_bytes"] = file.file_bytes;
  facts["sizes"] = sizes_of(file);
  for (const PteMethod& method : file.model.methods) {
    facts["methods"][method.name] = facts_of(method);
  }
  const std::string record = record_summary(std::string(record_of(file.model)));
  if (!record.empty()) facts["export"] = ordered_json::parse(record);
  return facts.dump(2, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace portwright
