#include "executorch/reader.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "base/error.h"
#include "executorch/flatbuffer_list.h"
#include "executorch/program_reader.h"
#include "executorch/pte_header.h"
#include "executorch/validator.h"
#include "ir/mapped_file.h"

namespace portwright {
namespace {

namespace fb = executorch_flatbuffer;

[[noreturn]] void corrupt(const std::string& what) { throw Error(ErrorCode::kCorrupt, what); }

struct Range {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

// The first tensor that has a constant or state says what it is.
using Owners = std::map<uint32_t, const PteTensor*>;

class FileReader {
 public:
  explicit FileReader(std::shared_ptr<const MappedFile> file)
      : file_(std::move(file)), bytes_(file_->bytes()), budget_(bytes_.size()) {}

  PteFile read() {
    read_header();
    program_ = &verified_program();
    read_segments();
    PteFile file;
    const auto payload = [&](const fb::BackendDelegateDataReference& place) {
      return payload_at(place);
    };
    file.model.methods = read_methods(*program_, payload, budget_);
    file.model.constants = read_constants(file.model);
    file.model.initial_states = read_states(file.model);
    file.model.named_data = read_named_data();
    file.file_bytes = bytes_.size();
    file.program_bytes = header_.program_bytes;
    return file;
  }

 private:
  void read_header() {
    constexpr std::string_view kName = "ET12";
    if (bytes_.size() < PteHeader::kOffset + sizeof(PteHeader) ||
        std::memcmp(bytes_.data() + 4, kName.data(), kName.size()) != 0) {
      corrupt("it does not begin as one");
    }
    std::memcpy(&header_, bytes_.data() + PteHeader::kOffset, sizeof(header_));
    if (header_.magic != PteHeader::kMagic || header_.length < PteHeader::kLength) {
      throw Error(ErrorCode::kUnsupported,
                  "it has no header that says where its segments are, as ExecuTorch 1.0 and later "
                  "write it");
    }
    const uint64_t size = bytes_.size();
    const bool fits = header_.program_bytes <= size && header_.segments_offset <= size &&
                      header_.segments_bytes <= size - header_.segments_offset;
    if (!fits) {
      corrupt("it has " + std::to_string(size) +
              " bytes; its header says that the program ends at " +
              std::to_string(header_.program_bytes) + ", and that segments of " +
              std::to_string(header_.segments_bytes) + " bytes begin at " +
              std::to_string(header_.segments_offset));
    }
  }

  const fb::Program& verified_program() const {
    const auto* start = reinterpret_cast<const uint8_t*>(bytes_.data());
    flatbuffers::Verifier verifier(start, header_.program_bytes);
    if (!fb::VerifyProgramBuffer(verifier)) corrupt("its program is truncated or damaged");
    return *fb::GetProgram(start);
  }

  void read_segments() {
    if (program_->segments() == nullptr) return;
    for (const fb::DataSegment* segment : *program_->segments()) {
      const uint64_t offset = segment->offset(), bytes = segment->size();
      if (offset > header_.segments_bytes || bytes > header_.segments_bytes - offset) {
        corrupt("segment " + std::to_string(segments_.size()) + ", " + std::to_string(bytes) +
                " bytes at " + std::to_string(offset) + ", lies outside of its segments");
      }
      segments_.push_back({header_.segments_offset + offset, bytes});
    }
  }

  const Range& segment(uint32_t index) const {
    if (index >= segments_.size()) {
      corrupt("it has no segment " + std::to_string(index));
    }
    return segments_[index];
  }

  std::string_view payload_at(const fb::BackendDelegateDataReference& place) const {
    if (place.location() == fb::DataLocation::SEGMENT) {
      const auto& [offset, bytes] = segment(place.index());
      return {reinterpret_cast<const char*>(bytes_.data()) + offset, bytes};
    }
    const auto* inline_data = program_->backend_delegate_data();
    if (inline_data == nullptr || place.index() >= inline_data->size()) {
      corrupt("it has no payload " + std::to_string(place.index()));
    }
    const auto* data = inline_data->Get(place.index())->data();
    if (data == nullptr) return {};
    return {reinterpret_cast<const char*>(data->data()), data->size()};
  }

  std::vector<Weight> read_constants(const PteModel& model) {
    if (program_->constant_buffer() != nullptr && program_->constant_buffer()->size() > 1) {
      throw Error(ErrorCode::kUnsupported,
                  "it has constants inside of its program, as ExecuTorch before 0.7 wrote them");
    }
    const fb::SubsegmentOffsets* table = program_->constant_segment();
    if (table == nullptr) return {};
    return read_table(*table, owners(model, false));
  }

  std::vector<Weight> read_states(const PteModel& model) {
    const auto* tables = program_->mutable_data_segments();
    if (tables == nullptr || tables->size() == 0) return {};
    return read_table(*tables->Get(0), owners(model, true));
  }

  static Owners owners(const PteModel& model, bool is_state) {
    Owners found;
    for (const PteMethod& method : model.methods) {
      for (const PteValue& value : method.values) {
        const auto* tensor = std::get_if<PteTensor>(&value);
        if (tensor == nullptr || !tensor->data) continue;
        if (tensor->allocation.has_value() == is_state) found.emplace(*tensor->data, tensor);
      }
    }
    return found;
  }

  std::vector<Weight> read_table(const fb::SubsegmentOffsets& table, const Owners& owners) {
    const std::vector<uint64_t> offsets = copy_of(table.offsets());
    if (offsets.size() < 2) return {};  // the placeholder
    const Range whole = segment(table.segment_index());
    std::set<uint64_t> ends(offsets.begin(), offsets.end());
    ends.insert(whole.bytes);
    std::vector<Weight> weights;
    for (uint32_t i = 1; i < offsets.size(); ++i) {
      budget_.spend(sizeof(Weight) + sizeof(WeightSlice));
      const uint64_t offset = offsets[i];
      if (offset > whole.bytes) corrupt("data " + std::to_string(i) + " lies outside its segment");
      const auto owner = owners.find(i - 1);
      const auto end = ends.upper_bound(offset);
      const uint64_t bytes = end == ends.end() ? 0 : std::min(*end, whole.bytes) - offset;
      weights.push_back(owner == owners.end() ? weight_of_bytes({whole.offset + offset, bytes})
                                              : weight_of_tensor(*owner->second, whole, offset));
    }
    return weights;
  }

  Weight weight_of_bytes(const Range& range) const {
    return weight_at(range, DType::kUInt8, {static_cast<int64_t>(range.bytes)});
  }

  Weight weight_of_tensor(const PteTensor& tensor, const Range& whole, uint64_t offset) const {
    const std::optional<uint64_t> bytes = byte_size(tensor);
    if (!bytes || !is_permutation(tensor.dim_order, tensor.sizes.size()) ||
        *bytes > whole.bytes - offset) {
      corrupt("a tensor with data at " + std::to_string(offset) + " of a segment of " +
              std::to_string(whole.bytes) + " bytes has no sound sizes");
    }
    std::vector<int64_t> shape;
    shape.reserve(tensor.dim_order.size());
    for (uint8_t dim : tensor.dim_order) shape.push_back(tensor.sizes[dim]);
    return weight_at({whole.offset + offset, *bytes}, tensor.dtype, std::move(shape));
  }

  Weight weight_at(const Range& range, DType dtype, std::vector<int64_t> shape) const {
    Weight weight;
    weight.source = std::make_shared<WeightSlice>(file_, range.offset, range.bytes);
    weight.dtype = dtype;
    weight.strides = contiguous_strides(shape);
    weight.shape = std::move(shape);
    return weight;
  }

  std::vector<PteNamedData> read_named_data() {
    std::vector<PteNamedData> all;
    if (program_->named_data() == nullptr) return all;
    for (const fb::NamedData* data : *program_->named_data()) {
      if (data->key() == nullptr) corrupt("it has data without a name");
      budget_.spend(sizeof(PteNamedData) + sizeof(WeightSlice) + data->key()->size());
      all.push_back({data->key()->str(), weight_of_bytes(segment(data->segment_index()))});
    }
    return all;
  }

  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> bytes_;
  CopyBudget budget_;
  PteHeader header_;
  const fb::Program* program_ = nullptr;
  std::vector<Range> segments_;  // from the file's start
};

}  // namespace

PteFile read_pte(const std::string& path) {
  try {
    PteFile file = FileReader(MappedFile::open(path)).read();
    const std::vector<std::string> problems = problems_of(file.model);
    if (!problems.empty()) corrupt("it would not run:" + summary(problems));
    return file;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kIo) throw;
    throw Error(error.code(), path + " is no .pte file that Portwright reads: " + error.what());
  }
}

}  // namespace portwright
