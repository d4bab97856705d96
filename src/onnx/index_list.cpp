#include "onnx/index_list.h"

#include <algorithm>

namespace portwright {
namespace {

// One tensor of indices, for one dim of self.
struct Part {
  std::string value;
  ValueId id = kNoValue;  // kNoValue for a row of a mask's true positions
};

std::vector<Part> parts_of(const LoweringCall& call, IndexList& list) {
  Emitter& e = call.emit;
  std::vector<Part> parts;
  int64_t dim = 0;
  for (ValueId id : std::get<ValueList>(call.arg(1))) {
    if (id == kNoValue) {
      ++dim;
    } else if (e.type(id).dtype == DType::kBool) {
      list.has_masks = true;
      const std::string places = e.op("NonZero", {e.value(id)});
      for (size_t i = 0; i < e.type(id).rank(); ++i) {
        const std::string row = e.scalar(static_cast<double>(i), DType::kInt64);
        parts.push_back({e.op("Gather", {places, row}, {{"axis", int64_t{0}}}), kNoValue});
        list.dims.push_back(dim++);
      }
    } else {
      parts.push_back({e.cast(e.value(id), e.type(id).dtype, DType::kInt64), id});
      list.dims.push_back(dim++);
    }
    if (id != kNoValue) {
      const size_t rank = e.type(id).dtype == DType::kBool ? 1 : e.type(id).rank();
      list.common_rank = std::max(list.common_rank, rank);
    }
  }
  return parts;
}

std::vector<Expr> common_shape(const LoweringCall& call, const std::vector<Part>& parts) {
  std::vector<Expr> shape;
  for (const Part& part : parts) {
    const std::vector<Expr>& own = call.emit.type(part.id).shape;
    if (own.size() > shape.size()) shape.insert(shape.begin(), own.size() - shape.size(), Expr(1));
    for (size_t i = 0; i < own.size(); ++i) {
      Expr& size = shape[shape.size() - own.size() + i];
      if (size.is_constant(1)) size = own[i];
    }
  }
  return shape;
}

// The parts in their common shape; with masks it is known at run time only.
void broadcast(const LoweringCall& call, const IndexList& list, std::vector<Part>& parts) {
  Emitter& e = call.emit;
  if (parts.size() == 1) return;
  std::string shape;
  if (list.has_masks) {
    std::string all = parts[0].value;
    for (const Part& part : parts) all = e.op("Expand", {all, e.op("Shape", {part.value})});
    shape = e.op("Shape", {all});
  }
  for (Part& part : parts) {
    const bool wide =
        part.id != kNoValue && !list.has_masks && e.type(part.id).shape == list.common;
    if (wide) continue;
    part.value = e.op("Expand", {part.value, list.has_masks ? shape : e.shape(list.common)});
  }
}

}  // namespace

size_t IndexList::position() const {
  const bool adjacent = dims.back() - dims.front() + 1 == static_cast<int64_t>(dims.size());
  return adjacent ? static_cast<size_t>(dims.front()) : 0;
}

std::vector<int64_t> IndexList::to_front(size_t rank) const {
  std::vector<int64_t> order = dims;
  for (int64_t i = 0; i < static_cast<int64_t>(rank); ++i) {
    if (std::find(dims.begin(), dims.end(), i) == dims.end()) order.push_back(i);
  }
  return order;
}

std::vector<int64_t> IndexList::to_position(size_t result_rank) const {
  std::vector<int64_t> order;
  const auto inner = static_cast<int64_t>(common_rank);
  order.reserve(result_rank);
  for (size_t i = 0; i < position(); ++i) order.push_back(inner + static_cast<int64_t>(i));
  for (int64_t i = 0; i < inner; ++i) order.push_back(i);
  for (size_t i = order.size(); i < result_rank; ++i) order.push_back(static_cast<int64_t>(i));
  return order;
}

std::vector<int64_t> IndexList::from_position(size_t result_rank) const {
  const std::vector<int64_t> forward = to_position(result_rank);
  std::vector<int64_t> order(forward.size());
  for (size_t i = 0; i < forward.size(); ++i) order[forward[i]] = static_cast<int64_t>(i);
  return order;
}

std::string IndexList::result_shape(const LoweringCall& call) const {
  Emitter& e = call.emit;
  std::vector<Expr> before, after;
  for (size_t i = 0; i < call.type(0).rank(); ++i) {
    if (std::find(dims.begin(), dims.end(), static_cast<int64_t>(i)) != dims.end()) continue;
    (before.size() < position() ? before : after).push_back(call.type(0).shape[i]);
  }
  if (!has_masks) {
    before.insert(before.end(), common.begin(), common.end());
    before.insert(before.end(), after.begin(), after.end());
    return e.shape(before);
  }
  std::vector<std::string> pieces;
  if (!before.empty()) pieces.push_back(e.shape(before));
  pieces.push_back(e.op("Shape", {places}, {{"start", int64_t{0}}, {"end", int64_t{-1}}}));
  if (!after.empty()) pieces.push_back(e.shape(after));
  return pieces.size() == 1 ? pieces[0] : e.op("Concat", pieces, {{"axis", int64_t{0}}});
}

IndexList index_list(const LoweringCall& call) {
  Emitter& e = call.emit;
  IndexList list;
  std::vector<Part> parts = parts_of(call, list);
  if (!list.has_masks) list.common = common_shape(call, parts);
  broadcast(call, list, parts);
  const auto last = static_cast<int64_t>(list.common_rank);
  std::vector<std::string> columns;
  columns.reserve(parts.size());
  for (const Part& part : parts) columns.push_back(e.unsqueeze(part.value, {last}));
  list.places = columns.size() == 1 ? columns[0] : e.op("Concat", columns, {{"axis", last}});
  return list;
}

std::string reordered(Emitter& e, const std::string& value, const std::vector<int64_t>& order) {
  return std::is_sorted(order.begin(), order.end()) ? value : e.transpose(value, order);
}

}  // namespace portwright
