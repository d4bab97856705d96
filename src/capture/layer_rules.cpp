// Result types of whole layers: convolutions, resizing, pools, recurrent layers, sampling on grids.
#include "capture/rule_parts.h"
#include "capture/shape_math.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

// conv1d, conv2d, conv3d with whole-number padding (torch.nn.functional.conv2d's formula).
Rule convolution(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* input = tensor_type(tracer, arguments[0]);
  const TensorType* weight = tensor_type(tracer, arguments[1]);
  if (input == nullptr || weight == nullptr || input->rank() != weight->rank()) {
    return std::nullopt;
  }
  const auto* strides = std::get_if<IntList>(&arguments[3]);
  const auto* paddings = std::get_if<IntList>(&arguments[4]);
  const auto* dilations = std::get_if<IntList>(&arguments[5]);
  const auto groups = constant_int(arguments[6]);
  if (strides == nullptr || paddings == nullptr || dilations == nullptr || !groups) {
    return std::nullopt;
  }
  tracer.require_equal(input->shape[1], weight->shape[1] * Expr(*groups));
  Shape shape = {input->shape[0], weight->shape[0]};
  auto at = [](const IntList& list, size_t i) { return list.size() == 1 ? list[0] : list.at(i); };
  for (size_t i = 0; i + 2 < input->rank(); ++i) {
    const Expr reach = at(*dilations, i) * (weight->shape[i + 2] - 1);
    const Expr room = input->shape[i + 2] + Expr(2) * at(*paddings, i) - reach - 1;
    shape.push_back(floor_div(room, at(*strides, i)) + 1);
  }
  return one(input->dtype, std::move(shape));
}

// To a given size, or to floor(size * scale_factor) as torch's compute_output_size has it.
Rule upsample(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr || type->rank() < 3) return std::nullopt;
  Shape shape(type->shape.begin(), type->shape.begin() + 2);
  const size_t spatial = type->rank() - 2;
  const auto* factors = std::get_if<FloatList>(&arguments.back());
  if (const auto* size = std::get_if<IntList>(&arguments[1]); size && size->size() == spatial) {
    for (const Expr& item : *size) shape.push_back(tracer.symbols().resolve(item));
  } else if (factors != nullptr && factors->size() == spatial) {
    for (size_t i = 0; i < spatial; ++i) {
      const Real scaled =
          Real::binary(RealOp::kMul, Real::ratio(type->shape[2 + i]), Real((*factors)[i]));
      shape.push_back(round_to_int(scaled, Rounding::kFloor, &tracer.symbols()));
    }
  } else {
    return std::nullopt;
  }
  return one(type->dtype, std::move(shape));
}

// im2col(self, kernel, dilation, padding, stride): [N, C * kernel, places] (torch.nn.Unfold).
Rule im2col(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* type = tensor_type(tracer, arguments[0]);
  if (type == nullptr || type->rank() != 4) return std::nullopt;
  Expr elements = type->shape[1];
  Expr places = 1;
  auto item = [&](size_t list, size_t i) {
    const auto& items = std::get<IntList>(arguments[list]);
    return items.size() == 1 ? items[0] : items.at(i);
  };
  for (size_t i = 0; i < 2; ++i) {
    const Expr kernel = tracer.symbols().resolve(item(1, i));
    elements = elements * kernel;
    const Expr room = type->shape[2 + i] + item(3, i) * Expr(2) - item(2, i) * (kernel - 1) - 1;
    places = places * (floor_div(room, item(4, i)) + 1);
  }
  return one(type->dtype, {type->shape[0], elements, places});
}

// grid_sampler_2d(input [n, c, ...], grid [n, size..., rank]): [n, c, size...].
Rule grid_sampler(Tracer& tracer, const OpInfo&, const Arguments& arguments) {
  const TensorType* input = tensor_type(tracer, arguments[0]);
  const TensorType* grid = tensor_type(tracer, arguments[1]);
  if (input == nullptr || grid == nullptr || input->rank() != grid->rank()) return std::nullopt;
  const TensorType image = *input;
  const TensorType places = *grid;
  tracer.require_equal(image.shape[0], places.shape[0]);
  tracer.require_equal(places.shape.back(), static_cast<int64_t>(image.rank()) - 2);
  Shape shape = {image.shape[0], image.shape[1]};
  shape.insert(shape.end(), places.shape.begin() + 1, places.shape.end() - 1);
  return one(image.dtype, std::move(shape));
}

// lstm.input(input, [h, c], ..., batch_first), gru.input(input, h, ..., batch_first), rnn_*: the
// last layer's states of all steps, then the states after the last step, as they came in.
Rule recurrent(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const auto* batch_first = std::get_if<bool>(&arguments.back());
  const auto* bidirectional = std::get_if<bool>(&arguments[arguments.size() - 2]);
  if (op.operands.size() != 9 || batch_first == nullptr || bidirectional == nullptr) {
    return std::nullopt;  // the overload for packed sequences
  }
  std::vector<TensorType> states;
  if (const auto* list = std::get_if<ValueList>(&arguments[1])) {
    for (ValueId id : *list) states.push_back(tracer.type(id));
  } else if (const TensorType* state = tensor_type(tracer, arguments[1])) {
    states.push_back(*state);
  }
  const TensorType* input = tensor_type(tracer, arguments[0]);
  if (input == nullptr || states.empty() || input->rank() != 3) return std::nullopt;
  const Expr steps = input->shape[*batch_first ? 1 : 0];
  const Expr batch = input->shape[*batch_first ? 0 : 1];
  const Expr width = states[0].shape.at(2) * (*bidirectional ? 2 : 1);
  const DType dtype = input->dtype;
  tracer.require_equal(batch, states[0].shape.at(1));
  ResultTypes results =
      *batch_first ? *one(TensorType{dtype, {batch, steps, width}, Shape{width, batch * width, 1}})
                   : *one(dtype, {steps, batch, width});
  for (const TensorType& state : states) results.push_back(one(dtype, state.shape)->at(0));
  return results;
}

// The size of a pooled dim: torch.nn.MaxPool1d's formula. With ceil_mode the last window starts
// inside of the input or of the padding on its left.
Expr pooled(const Expr& size, const Expr& reach, const Expr& stride, const Expr& padding,
            bool ceil_mode) {
  const Expr room = size + Expr(2) * padding - reach;
  if (!ceil_mode) return floor_div(room, stride) + 1;
  const Expr windows = floor_div(room + stride - 1, stride) + 1;
  const auto spare = (reach - stride).maybe_constant();
  if (padding.is_constant(0) && spare && *spare >= 0) return windows;
  return min(windows, floor_div(size + padding - 1, stride) + 1);
}

// avg_pool(self, kernel, stride, padding, ceil_mode, ...) and max_pool(self, kernel, stride,
// padding, dilation, ceil_mode); an empty stride is the kernel.
Rule pool(Tracer& tracer, const OpInfo& op, const Arguments& arguments) {
  const TensorType* input = tensor_type(tracer, arguments[0]);
  const bool dilated = op.name.starts_with("aten.max_pool");
  std::vector<const IntList*> lists;
  for (size_t i = 1; i < (dilated ? 5U : 4U); ++i) {
    lists.push_back(std::get_if<IntList>(&arguments.at(i)));
    if (lists.back() == nullptr) return std::nullopt;
  }
  const auto* ceil_mode = std::get_if<bool>(&arguments.at(dilated ? 5 : 4));
  const size_t dims = op.name[op.name.find("_pool") + 5] - '0';
  if (input == nullptr || ceil_mode == nullptr || input->rank() < dims) return std::nullopt;
  auto at = [&](const IntList& list, size_t i) {
    return tracer.symbols().resolve(list.size() == 1 ? list[0] : list.at(i));
  };
  Shape shape = input->shape;
  for (size_t i = 0; i < dims; ++i) {
    const Expr kernel = at(*lists[0], i);
    const Expr reach = dilated ? at(*lists[3], i) * (kernel - 1) + 1 : kernel;
    Expr& size = shape[shape.size() - dims + i];
    size = pooled(size, reach, lists[1]->empty() ? kernel : at(*lists[1], i), at(*lists[2], i),
                  *ceil_mode);
  }
  const DType dtype = input->dtype;
  ResultTypes results = *one(dtype, shape);
  if (op.name.find("with_indices") != std::string::npos) {
    results.push_back(one(DType::kInt64, std::move(shape))->at(0));
  }
  return results;
}

}  // namespace

const std::vector<RuleFamily>& layer_rule_families() {
  static const std::vector<RuleFamily> kFamilies = {
      {convolution, {"conv1d", "conv2d", "conv3d"}},
      {im2col, {"im2col"}},
      {upsample,
       {"upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d",
        "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d",
        "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_upsample_nearest_exact1d",
        "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"}},
      {grid_sampler, {"grid_sampler", "grid_sampler_2d", "grid_sampler_3d"}},
      {recurrent, {"lstm", "gru", "rnn_tanh", "rnn_relu"}},
      {pool,
       {"avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
        "max_pool2d_with_indices", "max_pool3d_with_indices"}},
  };
  return kFamilies;
}

}  // namespace portwright
