// Result types of operators whose sizes data decides: unbacked symbols (data_dependent.cpp).
#include "capture/rule_parts.h"
#include "capture/shape_math.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

// nonzero: [count, rank]; nonzero_numpy: one [count] per dim.
Rule nonzero(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const auto* mask = std::get_if<ValueRef>(&arguments[0]);
  if (mask == nullptr) return std::nullopt;
  const auto rank = static_cast<int64_t>(tracer.type(mask->id).rank());
  const Expr count = tracer.count_of_true(mask->id);
  if (op.name == "aten.nonzero.default") return one(DType::kInt64, {count, rank});
  return list_of(std::vector<TensorType>(rank, TensorType{DType::kInt64, {count}, {}}));
}

Rule masked_select(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  const TensorType* mask = tensor_type(tracer, arguments[1]);
  if (type == nullptr || mask == nullptr) return std::nullopt;
  const DType dtype = type->dtype;
  const Shape wide = broadcast(tracer, Shape(type->shape), Shape(mask->shape));
  ValueId id = std::get<ValueRef>(arguments[1]).id;
  if (tracer.type(id).shape != wide) {
    id = tracer.record_one("aten.expand.default", {ValueRef{id}, IntList(wide), false});
  }
  return one(dtype, {tracer.count_of_true(id)});
}

// _unique2, unique_consecutive: (elements, inverse, counts); unique_dim has the dim first.
Rule unique(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* found = tensor_type(tracer, arguments[0]);
  if (found == nullptr) return std::nullopt;
  const TensorType type = *found;
  const bool by_dim = op.name == "aten.unique_dim.default";
  if (op.name == "aten.unique_consecutive.default" && !std::holds_alternative<None>(arguments[3])) {
    return std::nullopt;
  }
  const size_t dim = by_dim ? wrap_dim(*constant_int(arguments[1]), type.rank()) : 0;
  const torch::jit::Stack sampled = tracer.run_on_samples(op, arguments);
  const Expr size = tracer.size_from_data(sampled, 0, static_cast<int64_t>(dim));
  Shape elements = by_dim ? type.shape : Shape{size};
  if (by_dim) elements[dim] = size;
  const Shape inverse = by_dim ? Shape{type.shape[dim]} : type.shape;
  auto asked = [&](size_t i, const Shape& shape) {
    return sampled[i].toTensor().numel() == 0 ? Shape{0} : shape;
  };
  ResultTypes results = *one(type.dtype, elements);
  results.push_back(one(DType::kInt64, asked(1, inverse))->at(0));
  results.push_back(one(DType::kInt64, asked(2, {size}))->at(0));
  return results;
}

Rule bincount(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const Expr size = tracer.size_from_data(tracer.run_on_samples(op, arguments), 0, 0);
  if (std::holds_alternative<None>(arguments[1])) return one(DType::kInt64, {size});
  const TensorType* weights = tensor_type(tracer, arguments[1]);
  const bool single = weights != nullptr && weights->dtype == DType::kFloat32;
  return one(single ? DType::kFloat32 : DType::kFloat64, {size});
}

// repeat_interleave.Tensor(repeats, output_size), .self_Tensor(self, repeats, dim, output_size),
// .self_int(self, repeats, dim, output_size).
Rule repeat_interleave(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const bool indices = op.name == "aten.repeat_interleave.Tensor";
  const TensorType* found = tensor_type(tracer, arguments[0]);
  if (found == nullptr) return std::nullopt;
  const TensorType type = *found;
  const auto dim_argument = indices ? std::optional<int64_t>(0) : constant_int(arguments[2]);
  const size_t dim = dim_argument ? wrap_dim(*dim_argument, type.rank()) : 0;
  Shape shape = dim_argument ? type.shape : Shape{product(type.shape)};
  const auto* given = std::get_if<Expr>(&arguments.back());
  const auto* times = indices ? nullptr : std::get_if<Expr>(&arguments[1]);
  if (times != nullptr) {
    shape[dim] = shape[dim] * tracer.symbols().resolve(*times);
  } else if (given != nullptr) {
    shape[dim] = tracer.symbols().resolve(*given);
  } else {
    shape[dim] =
        tracer.size_from_data(tracer.run_on_samples(op, arguments), 0, static_cast<int64_t>(dim));
  }
  return one(indices ? DType::kInt64 : type.dtype, std::move(shape));
}

}  // namespace

const std::vector<RuleFamily>& data_rule_families() {
  static const std::vector<RuleFamily> kFamilies = {
      {nonzero, {"nonzero", "nonzero_numpy"}},
      {masked_select, {"masked_select"}},
      {unique, {"_unique2", "unique_consecutive", "unique_dim"}},
      {bincount, {"bincount"}},
      {repeat_interleave, {"repeat_interleave"}},
  };
  return kFamilies;
}

}  // namespace portwright
