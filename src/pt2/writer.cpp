#include "pt2/writer.h"

#include <algorithm>

#include "pt2/format.h"
#include "pt2/model_writer.h"
#include "pt2/tensor_meta.h"
#include "pt2/zip_writer.h"

namespace portwright {
namespace {

struct StoredTensor {
  const InputSpec* spec;
  size_t begin = 0, end = 0;  // bytes of the source that it spans
  size_t piece = 0;
};

// A run of bytes of one source that overlapping tensors share.
struct Piece {
  std::shared_ptr<const WeightSource> source;
  DType dtype = DType::kFloat32;  // torch reads an entry as one dtype
  size_t begin = 0, end = 0;
};

StoredTensor stored(const InputSpec& spec) {
  const Weight& weight = *spec.weight;
  const auto size = static_cast<int64_t>(element_size(weight.dtype));
  int64_t last = weight.storage_offset;
  for (size_t i = 0; i < weight.shape.size(); ++i) {
    last += (weight.shape[i] - 1) * weight.strides[i];
  }
  const int64_t begin = weight.storage_offset * size;
  const int64_t end = weight.numel() == 0 ? begin : (last + 1) * size;
  return {&spec, static_cast<size_t>(begin), static_cast<size_t>(end), 0};
}

// Gives every tensor the piece it lies in; pieces are in the tensors' order.
std::vector<Piece> pieces_of(std::vector<StoredTensor>& tensors) {
  auto place = [](const StoredTensor& tensor) {
    return tensor.spec->weight->source->bytes().data() + tensor.begin;
  };
  std::vector<size_t> by_place(tensors.size());
  for (size_t i = 0; i < by_place.size(); ++i) by_place[i] = i;
  std::stable_sort(by_place.begin(), by_place.end(), [&](size_t a, size_t b) {
    return std::less<>()(place(tensors[a]), place(tensors[b]));
  });
  std::vector<Piece> pieces;
  std::vector<size_t> piece_of(tensors.size());
  for (size_t i : by_place) {
    const StoredTensor& tensor = tensors[i];
    const Weight& weight = *tensor.spec->weight;
    const bool empty = tensor.begin == tensor.end;
    const auto bytes = weight.source->bytes().data();
    const bool shared = !pieces.empty() && !empty &&
                        pieces.back().source->bytes().data() == bytes &&
                        pieces.back().dtype == weight.dtype && tensor.begin < pieces.back().end;
    if (shared) {
      pieces.back().end = std::max(pieces.back().end, tensor.end);
    } else {
      pieces.push_back({weight.source, weight.dtype, tensor.begin, tensor.end});
    }
    piece_of[i] = pieces.size() - 1;
  }
  std::vector<Piece> ordered;
  std::vector<size_t> number(pieces.size(), SIZE_MAX);
  for (size_t i = 0; i < tensors.size(); ++i) {
    size_t& assigned = number[piece_of[i]];
    if (assigned == SIZE_MAX) {
      assigned = ordered.size();
      ordered.push_back(pieces[piece_of[i]]);
    }
    tensors[i].piece = assigned;
  }
  return ordered;
}

// Weights or constants, with the table of where they lie.
void add_tensors(ZipWriter& archive, std::vector<StoredTensor> tensors, const std::string& folder,
                 const std::string& prefix, const std::string& config_name,
                 const Pt2Interface& interface) {
  const std::vector<Piece> pieces = pieces_of(tensors);
  const std::string stem = pt2::kRoot + folder + prefix;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    archive.add(stem + std::to_string(i),
                piece.source->bytes().subspan(piece.begin, piece.end - piece.begin), piece.source);
  }
  Json config = Json::object();
  for (const StoredTensor& tensor : tensors) {
    const Weight& weight = *tensor.spec->weight;
    const auto skipped = static_cast<int64_t>(pieces[tensor.piece].begin);
    const int64_t offset =
        weight.storage_offset - skipped / static_cast<int64_t>(element_size(weight.dtype));
    const bool requires_grad = interface.trainable.contains(tensor.spec->target);
    config[tensor.spec->target] = {{"path_name", prefix + std::to_string(tensor.piece)},
                                   {"is_param", tensor.spec->kind == InputKind::kParameter},
                                   {"use_pickle", false},
                                   {"tensor_meta", weight_meta(weight, offset, requires_grad)}};
  }
  archive.add(pt2::kRoot + config_name, Json{{"config", std::move(config)}}.dump());
}

}  // namespace

uint64_t write_pt2(const Program& program, const Pt2Interface& interface, SchemaTable& schemas,
                   const std::string& path) {
  std::string model = write_model(program, interface, schemas);
  std::vector<StoredTensor> weights, constants;
  for (const InputSpec& spec : program.inputs) {
    if (!spec.weight) continue;
    const bool in_state_dict =
        spec.kind == InputKind::kParameter || (spec.kind == InputKind::kBuffer && spec.persistent);
    (in_state_dict ? weights : constants).push_back(stored(spec));
  }
  ZipWriter archive;
  archive.add(pt2::kRoot + pt2::kFormat, pt2::kFormatValue);
  archive.add(pt2::kRoot + pt2::kVersion, pt2::kVersionValue);
  archive.add(pt2::kRoot + pt2::kZipVersion, pt2::kZipVersionValue);
  archive.add(pt2::kRoot + pt2::kByteOrder, pt2::kByteOrderValue);
  archive.add(pt2::kRoot + pt2::kModel, std::move(model));
  archive.add(pt2::kRoot + pt2::kSampleInputs, "");
  add_tensors(archive, std::move(weights), pt2::kWeights, pt2::kWeightPrefix, pt2::kWeightsConfig,
              interface);
  add_tensors(archive, std::move(constants), pt2::kConstants, pt2::kConstantPrefix,
              pt2::kConstantsConfig, interface);
  return archive.write(path);
}

}  // namespace portwright
