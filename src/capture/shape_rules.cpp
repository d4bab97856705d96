// Hand-written result types of hot operators and of those that the Meta kernels get wrong with
// symbols; sizes that data decides are in data_rules.cpp. Everything else is probed (probing.cpp).
#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "capture/rule_parts.h"
#include "capture/shape_math.h"
#include "capture/sym_node.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

bool flag(const Argument& argument) {
  const auto* value = std::get_if<bool>(&argument);
  return value != nullptr && *value;
}

Rule elementwise(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* first = nullptr;
  Shape shape;
  for (const Argument& argument : arguments) {
    if (std::holds_alternative<ValueList>(argument)) return std::nullopt;
    const TensorType* type = tensor_type(tracer, argument);
    if (type == nullptr) continue;
    const Shape operand = type->shape;
    shape = first == nullptr ? operand : broadcast(tracer, shape, operand);
    if (first == nullptr) first = tensor_type(tracer, argument);
  }
  if (first == nullptr) return std::nullopt;
  TensorType result{tracer.probe_dtype(op, arguments), std::move(shape), {}};
  for (const Argument& argument : arguments) {
    const TensorType* type = tensor_type(tracer, argument);
    if (type == nullptr || type->shape != result.shape) continue;
    result.strides = preserved_strides(tracer, *type);
    break;
  }
  return one(std::move(result));
}

// Row-major results of the first operand's shape.
Rule like_first(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr) return std::nullopt;
  Shape shape = type->shape;
  return one(tracer.probe_dtype(op, arguments), std::move(shape));
}

// clone, _to_copy, *_like: layout by the memory format operand.
Rule copy(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr) return std::nullopt;
  TensorType result{DType::kFloat32, type->shape, {}};
  const auto* format = std::get_if<MemoryFormat>(&arguments.back());
  if (format == nullptr || format->name == "preserve_format") {
    result.strides = preserved_strides(tracer, *type);
  } else if (format->name != "contiguous_format") {
    return std::nullopt;
  }
  result.dtype = tracer.probe_dtype(op, arguments);
  return one(std::move(result));
}

Rule linear(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* input = tensor_type(tracer, arguments[0]);
  const TensorType* weight = tensor_type(tracer, arguments[1]);
  if (input == nullptr || weight == nullptr || weight->rank() != 2 || input->rank() == 0) {
    return std::nullopt;
  }
  tracer.require_equal(input->shape.back(), weight->shape[1]);
  Shape shape = tensor_type(tracer, arguments[0])->shape;
  shape.back() = weight->shape[0];
  return one(input->dtype, std::move(shape));
}

Rule matmul(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* left = tensor_type(tracer, arguments[0]);
  const TensorType* right = tensor_type(tracer, arguments[1]);
  if (left == nullptr || right == nullptr || left->rank() < 2 || right->rank() < 2) {
    return std::nullopt;
  }
  const DType dtype = left->dtype;
  const Shape a = left->shape;
  const Shape b = right->shape;
  tracer.require_equal(a[a.size() - 1], b[b.size() - 2]);
  Shape shape = broadcast(tracer, Shape(a.begin(), a.end() - 2), Shape(b.begin(), b.end() - 2));
  shape.push_back(a[a.size() - 2]);
  shape.push_back(b[b.size() - 1]);
  return one(dtype, std::move(shape));
}

Rule attention(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* query = tensor_type(tracer, arguments[0]);
  const TensorType* key = tensor_type(tracer, arguments[1]);
  const TensorType* value = tensor_type(tracer, arguments[2]);
  if (query == nullptr || key == nullptr || value == nullptr) return std::nullopt;
  tracer.require_equal(query->shape.back(), key->shape.back());
  tracer.require_equal(key->shape[key->rank() - 2], value->shape[value->rank() - 2]);
  const Shape value_shape = value->shape;
  Shape shape = query->shape;
  const DType dtype = query->dtype;
  if (const TensorType* mask = tensor_type(tracer, arguments[3])) {
    // The mask broadcasts over [..., query length, key length].
    Shape scores = shape;
    scores.back() = value_shape[value_shape.size() - 2];
    broadcast(tracer, scores, Shape(mask->shape));
  }
  shape.back() = value_shape.back();
  return one(dtype, std::move(shape));
}

// At the sample's sizes: symbolic strides may not show that they fit.
void require_possible_view(Tracer& tracer, const TensorType& from, const Shape& shape) {
  auto at_sample = [&](const Shape& exprs) {
    Shape sizes;
    for (const Expr& expr : exprs) sizes.emplace_back(tracer.symbols().hint(expr));
    return sizes;
  };
  if (view_strides({from.dtype, at_sample(from.shape), at_sample(strides_of(from))},
                   at_sample(shape))) {
    return;
  }
  auto text = [](const Shape& exprs) {
    std::string joined;
    for (const Expr& expr : exprs) joined += (joined.empty() ? "" : ", ") + to_string(expr);
    return "[" + joined + "]";
  };
  const Place place = current_place();
  throw Error(ErrorCode::kInvalidArgument,
              "view of shape " + text(shape) + " is impossible for a tensor with shape " +
                  text(from.shape) + " and strides " + text(strides_of(from)) +
                  ", as in eager; use reshape",
              place.source, place.module_path);
}

Rule view(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto* requested = std::get_if<IntList>(&arguments[1]);
  if (type == nullptr || requested == nullptr) return std::nullopt;
  const DType dtype = type->dtype;
  Shape shape = infer_view(tracer, Shape(type->shape), *requested);
  for (Expr& size : shape) size = tracer.symbols().resolve(size);  // by what was learnt just now
  TensorType result{dtype, std::move(shape), {}};
  const TensorType& from = *tensor_type(tracer, arguments[0]);
  result.strides = view_strides(from, result.shape);
  if (!result.strides && op.name == "aten.view.default") {
    require_possible_view(tracer, from, result.shape);
  }
  return one(std::move(result));
}

Rule flatten(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto start_dim = constant_int(arguments[1]);
  const auto end_dim = constant_int(arguments[2]);
  if (type == nullptr || type->rank() == 0 || !start_dim || !end_dim) return std::nullopt;
  const size_t start = wrap_dim(*start_dim, type->rank());
  const size_t end = wrap_dim(*end_dim, type->rank());
  Shape shape(type->shape.begin(), type->shape.begin() + static_cast<int64_t>(start));
  shape.push_back(product(std::span(type->shape).subspan(start, end - start + 1)));
  shape.insert(shape.end(), type->shape.begin() + static_cast<int64_t>(end) + 1, type->shape.end());
  TensorType result{type->dtype, std::move(shape), {}};
  result.strides = view_strides(*type, result.shape);
  return one(std::move(result));
}

Rule permuted(const TensorType& type, const std::vector<size_t>& order) {
  const Shape strides = strides_of(type);
  TensorType result{type.dtype, {}, Shape()};
  for (size_t dim : order) {
    result.shape.push_back(type.shape[dim]);
    result.strides->push_back(strides[dim]);
  }
  return one(std::move(result));
}

Rule permute(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto* dims = std::get_if<IntList>(&arguments[1]);
  if (type == nullptr || dims == nullptr) return std::nullopt;
  std::vector<size_t> order;
  for (const Expr& dim : *dims) order.push_back(wrap_dim(dim.constant(), type->rank()));
  return permuted(*type, order);
}

std::vector<size_t> identity_order(size_t rank) {
  std::vector<size_t> order(rank);
  for (size_t i = 0; i < rank; ++i) order[i] = i;
  return order;
}

Rule transpose(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr || type->rank() == 0) return std::nullopt;
  std::vector<size_t> order = identity_order(type->rank());
  std::swap(order[wrap_dim(*constant_int(arguments[1]), type->rank())],
            order[wrap_dim(*constant_int(arguments[2]), type->rank())]);
  return permuted(*type, order);
}

Rule t(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr) return std::nullopt;
  std::vector<size_t> order = identity_order(type->rank());
  std::reverse(order.begin(), order.end());
  return permuted(*type, order);
}

Rule unsqueeze(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto dim = constant_int(arguments[1]);
  if (type == nullptr || !dim) return std::nullopt;
  const auto at = static_cast<int64_t>(wrap_dim(*dim, type->rank() + 1));
  TensorType result = *type;
  result.shape.insert(result.shape.begin() + at, Expr(1));
  if (result.strides) {
    const Expr step =
        at < static_cast<int64_t>(type->rank()) ? type->shape[at] * (*type->strides)[at] : Expr(1);
    result.strides->insert(result.strides->begin() + at, step);
  }
  return one(std::move(result));
}

// Whether a dim is squeezed decides on the result's rank, so 1 is not like other sizes here, but
// for code that says that it is.
bool is_squeezed(Tracer& tracer, const Expr& size) {
  return tracer.holds(Predicate::compare(size, Relation::kEq, 1), reads_as_operator());
}

Rule squeeze(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  if (found == nullptr) return std::nullopt;
  const TensorType type = *found;
  const bool named = arguments.size() > 1;
  std::vector<bool> asked(type.rank(), !named);
  if (named) {
    if (const auto* list = std::get_if<IntList>(&arguments[1])) {
      for (const Expr& dim : *list) asked.at(wrap_dim(dim.constant(), type.rank())) = true;
    } else if (type.rank() > 0) {
      asked.at(wrap_dim(*constant_int(arguments[1]), type.rank())) = true;
    }
  }
  TensorType result{type.dtype, {}, {}};
  Shape strides;
  for (size_t i = 0; i < type.rank(); ++i) {
    if (asked[i] && is_squeezed(tracer, type.shape[i])) continue;
    result.shape.push_back(type.shape[i]);
    if (type.strides) strides.push_back((*type.strides)[i]);
  }
  if (type.strides) result.strides = std::move(strides);
  return one(std::move(result));
}

Rule expand(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  const auto* requested = std::get_if<IntList>(&arguments[1]);
  if (found == nullptr || requested == nullptr) return std::nullopt;
  const TensorType type = *found;
  if (requested->size() < type.rank()) return std::nullopt;
  const size_t offset = requested->size() - type.rank();
  const Shape old_strides = strides_of(type);
  TensorType result{type.dtype, *requested, Shape(requested->size(), Expr(0))};
  for (size_t i = 0; i < requested->size(); ++i) {
    if (i < offset) continue;
    const Expr size = type.shape[i - offset];
    const Expr wanted = tracer.symbols().resolve((*requested)[i]);
    if (wanted.is_constant(-1) || wanted == size) {
      result.shape[i] = size;
      (*result.strides)[i] = old_strides[i - offset];
    } else if (!is_one(tracer, size)) {
      if (tracer.symbols().hint(size) != 1 || tracer.symbols().hint(wanted) == 1) {
        tracer.require_equal(size, wanted);
        (*result.strides)[i] = old_strides[i - offset];
      } else {
        tracer.require_equal(size, 1);
      }
    }
  }
  return one(std::move(result));
}

Rule slice(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  const auto dim_argument = constant_int(arguments[1]);
  const auto* given = std::get_if<Expr>(&arguments[4]);
  if (found == nullptr || !dim_argument || given == nullptr) return std::nullopt;
  const Expr step = tracer.symbols().resolve(*given);
  if (!tracer.holds(Predicate::compare(step, Relation::kGt, 0))) return std::nullopt;
  TensorType type = *found;
  const size_t dim = wrap_dim(*dim_argument, type.rank());
  const SliceBounds bounds = clamp_slice(tracer, type.shape[dim], arguments[2], arguments[3]);
  Shape strides = strides_of(type);
  type.shape[dim] = ceil_div(bounds.end - bounds.start, step);
  strides[dim] = strides[dim] * step;
  type.strides = std::move(strides);
  return one(std::move(type));
}

Rule select(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto dim_argument = constant_int(arguments[1]);
  if (type == nullptr || !dim_argument) return std::nullopt;
  const auto dim = static_cast<int64_t>(wrap_dim(*dim_argument, type->rank()));
  TensorType result{type->dtype, type->shape, strides_of(*type)};
  result.shape.erase(result.shape.begin() + dim);
  result.strides->erase(result.strides->begin() + dim);
  return one(std::move(result));
}

// diagonal(self, offset, dim1, dim2): the diagonal is the last dim.
Rule diagonal(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto offset = constant_int(arguments[1]);
  const auto first = constant_int(arguments[2]);
  const auto second = constant_int(arguments[3]);
  if (type == nullptr || !offset || !first || !second) return std::nullopt;
  const size_t rows = wrap_dim(*first, type->rank());
  const size_t columns = wrap_dim(*second, type->rank());
  const Expr below = type->shape[rows] + Expr(std::min<int64_t>(*offset, 0));
  const Expr right = type->shape[columns] - Expr(std::max<int64_t>(*offset, 0));
  const Shape strides = strides_of(*type);
  TensorType result{type->dtype, {}, Shape()};
  for (size_t i = 0; i < type->rank(); ++i) {
    if (i == rows || i == columns) continue;
    result.shape.push_back(type->shape[i]);
    result.strides->push_back(strides[i]);
  }
  result.shape.push_back(*offset == 0 ? min(below, right) : max(min(below, right), 0));
  result.strides->push_back(strides[rows] + strides[columns]);
  return one(std::move(result));
}

// The [start, length) part of `type` along `dim`, with its strides.
TensorType part_of(const TensorType& type, size_t dim, const Expr& length) {
  TensorType part{type.dtype, type.shape, strides_of(type)};
  part.shape[dim] = length;
  return normalized(std::move(part));
}

Rule split_with_sizes(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  const auto* sizes = std::get_if<IntList>(&arguments[1]);
  if (found == nullptr || sizes == nullptr) return std::nullopt;
  const TensorType type = *found;
  const size_t dim = wrap_dim(*constant_int(arguments[2]), type.rank());
  Expr total = 0;
  std::vector<TensorType> parts;
  for (const Expr& size : *sizes) {
    total = total + size;
    parts.push_back(part_of(type, dim, size));
  }
  tracer.require_equal(total, type.shape[dim]);
  return list_of(std::move(parts));
}

// Parts of `size` along `dim`, the last one smaller or as large. How many there are depends on the
// sizes: the number at the sample is a guard unless it always is that.
Rule equal_parts(Tracer& tracer, const TensorType& type, size_t dim, const Expr& size) {
  const Expr extent = type.shape[dim];
  const int64_t count = tracer.symbols().hint(ceil_div(extent, size));
  const Expr rest = extent - size * Expr(count - 1);
  auto as_at_sample = [&](const Predicate& predicate) { return tracer.holds(predicate, false); };
  if (count < 1 || !as_at_sample(Predicate::compare(rest, Relation::kGe, 1)) ||
      !as_at_sample(Predicate::compare(rest, Relation::kLe, size))) {
    return std::nullopt;
  }
  std::vector<TensorType> parts(count - 1, part_of(type, dim, size));
  parts.push_back(part_of(type, dim, rest));
  return list_of(std::move(parts));
}

Rule split(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  const auto* size = std::get_if<Expr>(&arguments[1]);
  if (found == nullptr || size == nullptr) return std::nullopt;
  const TensorType type = *found;
  const size_t dim = wrap_dim(*constant_int(arguments[2]), type.rank());
  if (auto count = divide_exactly(type.shape[dim], *size); count && count->is_constant()) {
    return list_of(std::vector<TensorType>(count->constant(), part_of(type, dim, *size)));
  }
  return equal_parts(tracer, type, dim, tracer.symbols().resolve(*size));
}

Rule chunk(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  const auto count = constant_int(arguments[1]);
  if (found == nullptr || !count || *count < 1) return std::nullopt;
  const TensorType type = *found;
  const size_t dim = wrap_dim(*constant_int(arguments[2]), type.rank());
  if (auto size = divide_exactly(type.shape[dim], Expr(*count)); size && !size->is_constant(0)) {
    return list_of(std::vector<TensorType>(*count, part_of(type, dim, *size)));
  }
  return equal_parts(tracer, type, dim, ceil_div(type.shape[dim], *count));
}

// The number of results fixes the size.
Rule unbind(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr) return std::nullopt;
  const size_t dim = wrap_dim(*constant_int(arguments[1]), type->rank());
  const Expr extent = type->shape[dim];
  const int64_t count = tracer.symbols().hint(extent);
  tracer.require_equal(extent, count);
  const Rule item = select(tracer, op, {arguments[0], arguments[1], Expr(0)});
  return list_of(std::vector<TensorType>(count, item->at(0).types[0]));
}

Rule cat(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const auto* list = std::get_if<ValueList>(&arguments[0]);
  const auto dim_argument = constant_int(arguments[1]);
  if (list == nullptr || !dim_argument) return std::nullopt;
  std::vector<Shape> shapes;
  for (ValueId id : *list) {
    const Shape& shape = tracer.type(id).shape;
    // torch skips empty tensors of shape [0], whatever the others' rank.
    if (shape.size() == 1 && shape[0].is_constant(0)) continue;
    shapes.push_back(shape);
  }
  if (shapes.empty()) return std::nullopt;
  const size_t dim = wrap_dim(*dim_argument, shapes[0].size());
  Shape result = shapes[0];
  for (size_t i = 1; i < shapes.size(); ++i) {
    for (size_t d = 0; d < result.size(); ++d) {
      if (d == dim) {
        result[d] = result[d] + shapes[i].at(d);
      } else {
        tracer.require_equal(result[d], shapes[i].at(d));
      }
    }
  }
  for (Expr& size : result) size = tracer.symbols().resolve(size);
  DType dtype = tracer.type(list->at(0)).dtype;
  for (ValueId id : *list) {
    if (tracer.type(id).dtype != dtype) return std::nullopt;
  }
  (void)op;
  return one(dtype, std::move(result));
}

Rule embedding(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* weight = tensor_type(tracer, arguments[0]);
  const TensorType* indices = tensor_type(tracer, arguments[1]);
  if (weight == nullptr || indices == nullptr) return std::nullopt;
  Shape shape = indices->shape;
  shape.push_back(weight->shape.at(1));
  return one(weight->dtype, std::move(shape));
}

// A dtype operand, else what the fill value or the default gives.
DType factory_dtype(const Argument& dtype, DType fallback) {
  const auto* given = std::get_if<DType>(&dtype);
  return given != nullptr ? *given : fallback;
}

DType number_dtype(const Argument& number) {
  if (std::holds_alternative<bool>(number)) return DType::kBool;
  return std::holds_alternative<Expr>(number)
             ? DType::kInt64
             : to_dtype(at::typeMetaToScalarType(at::get_default_dtype()));
}

Rule arange(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const size_t numbers = op.name == "aten.arange.default" ? 1
                         : op.name == "aten.arange.start" ? 2
                                                          : 3;
  std::vector<Expr> bounds;
  for (size_t i = 0; i < numbers; ++i) {
    const auto* expr = std::get_if<Expr>(&arguments[i]);
    if (expr == nullptr) return std::nullopt;
    bounds.push_back(tracer.symbols().resolve(*expr));
  }
  const Expr start = numbers == 1 ? Expr(0) : bounds[0];
  const Expr end = numbers == 1 ? bounds[0] : bounds[1];
  const Expr step = numbers == 3 ? bounds[2] : Expr(1);
  return one(factory_dtype(arguments[numbers], DType::kInt64), {ceil_div(end - start, step)});
}

Rule filled(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const auto* size = std::get_if<IntList>(&arguments[0]);
  if (size == nullptr) return std::nullopt;
  const bool full = op.name == "aten.full.default";
  const DType fallback = number_dtype(full ? arguments[1] : Argument(0.0));
  Shape shape;
  for (const Expr& item : *size) shape.push_back(tracer.symbols().resolve(item));
  return one(factory_dtype(arguments[full ? 2 : 1], fallback), std::move(shape));
}

// new_zeros(self, size, dtype, ...), new_full(self, size, fill, dtype, ...).
Rule new_filled(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto* size = std::get_if<IntList>(&arguments[1]);
  if (type == nullptr || size == nullptr) return std::nullopt;
  const bool full = op.name == "aten.new_full.default";
  const DType dtype = factory_dtype(arguments[full ? 3 : 2], type->dtype);
  Shape shape;
  for (const Expr& item : *size) shape.push_back(tracer.symbols().resolve(item));
  return one(dtype, std::move(shape));
}

// mean.dim, sum.dim_IntList, amax, amin, any.dims, all.dims: (self, dims, keepdim, ...).
Rule reduction(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr) return std::nullopt;
  std::vector<bool> reduced(type->rank(), false);
  if (const auto* dims = std::get_if<IntList>(&arguments[1]); dims != nullptr && !dims->empty()) {
    for (const Expr& dim : *dims) reduced.at(wrap_dim(dim.constant(), type->rank())) = true;
  } else if (const auto dim = constant_int(arguments[1])) {
    reduced.at(wrap_dim(*dim, type->rank())) = true;
  } else {
    reduced.assign(type->rank(), true);
  }
  Shape shape;
  for (size_t i = 0; i < type->rank(); ++i) {
    if (!reduced[i]) {
      shape.push_back(type->shape[i]);
    } else if (flag(arguments[2])) {
      shape.emplace_back(1);
    }
  }
  return one(tracer.probe_dtype(op, arguments), std::move(shape));
}

// repeat(self, repeats), tile(self, dims): what is missing on the left of either counts as 1.
Rule repeat(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto* repeats = std::get_if<IntList>(&arguments[1]);
  if (type == nullptr || repeats == nullptr) return std::nullopt;
  const size_t rank = std::max(repeats->size(), type->rank());
  Shape shape(rank, Expr(1));
  std::copy(type->shape.rbegin(), type->shape.rend(), shape.rbegin());
  for (size_t i = 0; i < repeats->size(); ++i) {
    Expr& size = shape[rank - repeats->size() + i];
    size = size * tracer.symbols().resolve((*repeats)[i]);
  }
  return one(type->dtype, std::move(shape));
}

// pad(self, pad, mode, value), constant_pad_nd(self, pad, value): pairs from the last dim on.
Rule pad(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto* pads = std::get_if<IntList>(&arguments[1]);
  if (type == nullptr || pads == nullptr || pads->size() > 2 * type->rank()) return std::nullopt;
  Shape shape = type->shape;
  for (size_t i = 0; i + 1 < pads->size(); i += 2) {
    Expr& size = shape[shape.size() - 1 - i / 2];
    size = size + tracer.symbols().resolve((*pads)[i]) + tracer.symbols().resolve((*pads)[i + 1]);
  }
  return one(type->dtype, std::move(shape));
}

// index.Tensor: the indexed dims become the broadcast shape of the indices, in place when they are
// adjacent, else in front (numpy's advanced indexing).
Rule index(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  const auto* list = std::get_if<ValueList>(&arguments[1]);
  if (found == nullptr || list == nullptr || list->size() > found->rank()) return std::nullopt;
  const TensorType type = *found;
  std::vector<size_t> indexed;
  Shape common;
  size_t dim = 0;
  for (ValueId id : *list) {
    if (id == kNoValue) {
      ++dim;
      continue;
    }
    const TensorType item = tracer.type(id);
    if (item.dtype == DType::kUInt8) return std::nullopt;
    // A mask stands for one index per dim, as long as it has true elements.
    const bool mask = item.dtype == DType::kBool;
    if (mask && dim + item.rank() > type.rank()) return std::nullopt;
    const Shape shape = mask ? Shape{tracer.count_of_true(id)} : item.shape;
    common = indexed.empty() ? shape : broadcast(tracer, common, shape);
    for (size_t i = 0; i < (mask ? item.rank() : 1); ++i, ++dim) {
      if (mask) tracer.require_equal(type.shape[dim], item.shape[i]);
      indexed.push_back(dim);
    }
  }
  if (indexed.empty()) return std::nullopt;
  const bool adjacent = indexed.back() - indexed.front() + 1 == indexed.size();
  Shape shape;
  if (!adjacent) shape = common;
  for (size_t i = 0; i < type.rank(); ++i) {
    const bool is_indexed = std::find(indexed.begin(), indexed.end(), i) != indexed.end();
    if (!is_indexed) {
      shape.push_back(type.shape[i]);
    } else if (adjacent && i == indexed.front()) {
      shape.insert(shape.end(), common.begin(), common.end());
    }
  }
  return one(type.dtype, std::move(shape));
}

Rule gather(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const TensorType* indices = tensor_type(tracer, arguments[2]);
  if (type == nullptr || indices == nullptr) return std::nullopt;
  return one(type->dtype, Shape(indices->shape));
}

// mm, bmm, and addmm, baddbmm whose first operand is added to the product.
Rule plain_matmul(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const bool added = arguments.size() > 2;
  const TensorType* a = tensor_type(tracer, arguments[added ? 1 : 0]);
  const TensorType* b = tensor_type(tracer, arguments[added ? 2 : 1]);
  if (a == nullptr || b == nullptr || a->rank() < 2 || a->rank() != b->rank()) return std::nullopt;
  const size_t last = a->rank() - 1;
  tracer.require_equal(a->shape[last], b->shape[last - 1]);
  Shape shape(a->shape);
  if (last == 2) tracer.require_equal(a->shape[0], b->shape[0]);
  shape[last] = b->shape[last];
  return one(a->dtype, std::move(shape));
}

// as_strided(self, size, stride, storage_offset): as told.
Rule as_strided(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const auto* sizes = std::get_if<IntList>(&arguments[1]);
  const auto* strides = std::get_if<IntList>(&arguments[2]);
  if (type == nullptr || sizes == nullptr || strides == nullptr) return std::nullopt;
  TensorType result{type->dtype, *sizes, *strides};
  for (Expr& size : result.shape) size = tracer.symbols().resolve(size);
  for (Expr& stride : *result.strides) stride = tracer.symbols().resolve(stride);
  return one(std::move(result));
}

Rule index_select(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const TensorType* indices = tensor_type(tracer, arguments[2]);
  if (type == nullptr || indices == nullptr || type->rank() == 0) return std::nullopt;
  Shape shape = type->shape;
  shape[wrap_dim(*constant_int(arguments[1]), type->rank())] = product(indices->shape);
  return one(type->dtype, std::move(shape));
}

// index_copy, index_add(self, dim, index, source): the source fits but along the dim.
Rule index_into(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const TensorType* indices = tensor_type(tracer, arguments[2]);
  const TensorType* source = tensor_type(tracer, arguments[3]);
  if (type == nullptr || indices == nullptr || source == nullptr || type->rank() == 0 ||
      type->rank() != source->rank()) {
    return std::nullopt;
  }
  const size_t dim = wrap_dim(*constant_int(arguments[1]), type->rank());
  for (size_t d = 0; d < type->rank(); ++d) {
    tracer.require_equal(d == dim ? product(indices->shape) : type->shape[d], source->shape[d]);
  }
  return one(type->dtype, type->shape);
}

const std::vector<RuleFamily>& families() {
  static const std::vector<RuleFamily> kFamilies = {
      {elementwise,
       {"add",         "sub",        "mul",         "rsub",        "div",         "floor_divide",
        "remainder",   "fmod",       "pow",         "maximum",     "minimum",     "fmax",
        "fmin",        "atan2",      "eq",          "ne",          "lt",          "le",
        "gt",          "ge",         "logical_and", "logical_or",  "logical_xor", "logical_not",
        "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "neg",         "abs",
        "relu",        "relu6",      "silu",        "gelu",        "sigmoid",     "tanh",
        "exp",         "expm1",      "log",         "log1p",       "log2",        "sqrt",
        "rsqrt",       "reciprocal", "sin",         "cos",         "tan",         "erf",
        "erfc",        "sign",       "floor",       "ceil",        "round",       "trunc",
        "clamp",       "clamp_min",  "clamp_max",   "hardtanh",    "hardswish",   "hardsigmoid",
        "leaky_relu",  "elu",        "softplus",    "mish",        "isnan",       "isinf",
        "masked_fill", "square",     "lerp",        "addcmul",     "addcdiv",     "threshold",
        "log_sigmoid", "nan_to_num", "logaddexp",   "dropout",     "__and__",     "__or__"}},
      {like_first, {"triu",          "tril",          "softmax",        "_softmax",
                    "log_softmax",   "_log_softmax",  "cumsum",         "cumprod",
                    "layer_norm",    "rms_norm",      "group_norm",     "batch_norm",
                    "instance_norm", "scatter",       "scatter_add",    "scatter_reduce",
                    "index_put",     "slice_scatter", "select_scatter", "diagonal_scatter",
                    "index_fill",    "flip",          "roll",           "fill"}},
      {copy, {"clone", "_to_copy", "ones_like", "zeros_like", "full_like", "empty_like"}},
      {linear, {"linear"}},
      {matmul, {"matmul"}},
      {plain_matmul, {"mm", "bmm", "addmm", "baddbmm"}},
      {attention, {"scaled_dot_product_attention"}},
      {view, {"reshape", "_unsafe_view", "_reshape_alias"}},
      {flatten, {"flatten"}},
      {permute, {"permute"}},
      {transpose, {"transpose"}},
      {t, {"t"}},
      {unsqueeze, {"unsqueeze"}},
      {squeeze, {"squeeze"}},
      {expand, {"expand"}},
      {slice, {"slice"}},
      {select, {"select"}},
      {diagonal, {"diagonal"}},
      {split_with_sizes, {"split_with_sizes"}},
      {unbind, {"unbind"}},
      {cat, {"cat"}},
      {embedding, {"embedding"}},
      {arange, {"arange"}},
      {filled, {"zeros", "ones", "empty", "full"}},
      {new_filled, {"new_zeros", "new_ones", "new_empty", "new_full"}},
      {repeat, {"repeat", "tile"}},
      {pad, {"pad", "constant_pad_nd"}},
      {index, {"index"}},
      {gather, {"gather"}},
      {as_strided, {"as_strided"}},
      {index_select, {"index_select"}},
      {index_into, {"index_copy", "index_add"}},
  };
  return kFamilies;
}

const std::unordered_map<std::string_view, ShapeRule>& rules_by_overload() {
  static const std::unordered_map<std::string_view, ShapeRule> kRules = {
      {"aten.where.self", elementwise},   {"aten.view.default", view},
      {"aten.split.Tensor", split},       {"aten.chunk.default", chunk},
      {"aten.mean.dim", reduction},       {"aten.sum.dim_IntList", reduction},
      {"aten.amax.default", reduction},   {"aten.amin.default", reduction},
      {"aten.any.dim", reduction},        {"aten.all.dim", reduction},
      {"aten.argmax.default", reduction},
  };
  return kRules;
}

std::unordered_map<std::string_view, ShapeRule> make_rules_by_base() {
  std::unordered_map<std::string_view, ShapeRule> rules;
  for (const auto* table : {&families(), &data_rule_families(), &layer_rule_families()}) {
    for (const RuleFamily& family : *table) {
      for (std::string_view op : family.ops) rules.emplace(op, family.rule);
    }
  }
  return rules;
}

}  // namespace

ShapeRule find_shape_rule(const std::string& name) {
  if (auto found = rules_by_overload().find(name); found != rules_by_overload().end()) {
    return found->second;
  }
  static const auto kByBase = make_rules_by_base();
  static constexpr std::string_view kNamespace = "aten.";
  if (name.rfind(kNamespace, 0) != 0) return nullptr;
  const std::string base = name.substr(kNamespace.size(), name.rfind('.') - kNamespace.size());
  auto found = kByBase.find(base);
  return found == kByBase.end() ? nullptr : found->second;
}

}  // namespace portwright
