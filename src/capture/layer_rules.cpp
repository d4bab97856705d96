// Result types of whole layers whose Meta kernels are decompositions in Python, too slow to probe.
#include "capture/rule_parts.h"
#include "capture/shape_math.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

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

}  // namespace

const std::vector<RuleFamily>& layer_rule_families() {
  static const std::vector<RuleFamily> kFamilies = {
      {grid_sampler, {"grid_sampler", "grid_sampler_2d", "grid_sampler_3d"}},
      {recurrent, {"lstm", "gru", "rnn_tanh", "rnn_relu"}},
  };
  return kFamilies;
}

}  // namespace portwright
