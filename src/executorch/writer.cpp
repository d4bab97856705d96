#include "executorch/writer.h"

#include <algorithm>
#include <cstring>

#include "executorch/data_layout.h"
#include "executorch/program_flatbuffer.h"
#include "executorch/pte_header.h"
#include "executorch/validator.h"

namespace portwright {
namespace {

// Everything before the segments.
struct Head {
  std::string bytes;
  uint64_t program_bytes = 0;
};

Head head_of(const PteModel& model, const PteDataLayout& layout) {
  const flatbuffers::DetachedBuffer program = program_flatbuffer(model, layout);
  PteHeader header;
  header.program_bytes = program.size() + sizeof(PteHeader);
  header.segments_offset = aligned(header.program_bytes, kPteSegmentAlignment);
  header.segments_bytes = layout.bytes;

  // The root's offset counts from the file's start, which moves away from it.
  uint32_t root = 0;
  std::memcpy(&root, program.data(), sizeof(root));
  root += sizeof(PteHeader);

  const char* bytes = reinterpret_cast<const char*>(program.data());
  Head head{std::string(bytes, PteHeader::kOffset), header.program_bytes};
  std::memcpy(head.bytes.data(), &root, sizeof(root));
  head.bytes.append(reinterpret_cast<const char*>(&header), sizeof(header));
  head.bytes.append(bytes + PteHeader::kOffset, program.size() - PteHeader::kOffset);
  head.bytes.resize(header.segments_offset, '\0');
  return head;
}

void copy_weight(const Weight& weight, std::byte* target) {
  if (weight.is_contiguous()) {
    const auto bytes = weight.contiguous_bytes();
    std::ranges::copy(bytes, target);
  } else {
    const auto bytes = weight.copy_bytes();
    std::ranges::copy(bytes, target);
  }
}

}  // namespace

PteFacts write_pte(const PteModel& model, const std::string& path) {
  validate(model);
  const PteDataLayout layout = PteDataLayout::of(model);
  const Head head = head_of(model, layout);
  const uint64_t start = head.bytes.size();
  StagedFile file = StagedFile::create(path);
  const PteFacts facts{.file_bytes = start + layout.bytes,
                       .program_bytes = head.program_bytes,
                       .weight_bytes = layout.weight_bytes,
                       .delegate_bytes = layout.payload_bytes};
  // The last byte first: what nothing fills below is zero.
  if (layout.bytes > 0) file.write_at(facts.file_bytes - 1, "", 1);
  file.write_at(0, head.bytes.data(), head.bytes.size());
  for (const auto& [bytes, offset] : layout.payloads) {
    file.write_at(start + offset, bytes->data(), bytes->size());
  }
  std::vector<PlacedWeight> weights = layout.weights;
  for (PlacedWeight& placed : weights) placed.offset += start;
  write_weights(weights, file);
  file.commit();
  return facts;
}

std::string serialize_pte(const PteModel& model) {
  validate(model);
  const PteDataLayout layout = PteDataLayout::of(model);
  std::string file = head_of(model, layout).bytes;
  const size_t start = file.size();
  file.resize(start + layout.bytes, '\0');
  for (const auto& [bytes, offset] : layout.payloads) {
    std::ranges::copy(*bytes, file.data() + start + offset);
  }
  auto* data = reinterpret_cast<std::byte*>(file.data() + start);
  for (const auto& [weight, offset] : layout.weights) {
    copy_weight(*weight, data + offset);
  }
  return file;
}

}  // namespace portwright
