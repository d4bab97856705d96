// LSTM, GRU and plain recurrent layers.
// Source: ONNX's LSTM, GRU and RNN; torch.nn.LSTM's order of gates and states.
#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr char kLstm[] = "LSTM";
constexpr char kGru[] = "GRU";
constexpr char kRnn[] = "RNN";
constexpr char kTanh[] = "Tanh";
constexpr char kRelu[] = "Relu";

// What an ONNX operator calls its gates by torch's: i, f, g, o are i, o, f, g there, and r, z, n
// are z, r, n.
std::vector<int64_t> gate_order(const std::string& type) {
  if (type == kLstm) return {0, 3, 1, 2};
  if (type == kGru) return {1, 0, 2};
  return {0};
}

// Operands of aten.lstm.input and its like.
enum : size_t { kInput, kState, kParameters, kBiases, kLayers, kDropout, kTrain, kBoth, kFirst };

struct Layer {
  const LoweringCall& call;
  const std::string& type;
  const ValueList& parameters;
  int64_t layer;
  int64_t directions;
  size_t per_direction;  // parameters

  // The i-th parameter of all directions, its gates in ONNX's order: [directions, gates * hidden,
  // ...].
  std::string stacked(size_t i) const {
    Emitter& e = call.emit;
    std::vector<std::string> parts;
    for (int64_t d = 0; d < directions; ++d) {
      const size_t at = static_cast<size_t>(layer * directions + d) * per_direction + i;
      const std::string& value = e.value(parameters.at(at));
      parts.push_back(e.unsqueeze(in_order(value), {0}));
    }
    return parts.size() == 1 ? parts[0] : e.op("Concat", parts, {{"axis", int64_t{0}}});
  }

  std::string in_order(const std::string& value) const {
    Emitter& e = call.emit;
    const std::vector<int64_t> order = gate_order(type);
    if (order.size() == 1) return value;
    const std::vector<std::string> gates =
        e.ops("Split", {value}, order.size(),
              {{"axis", int64_t{0}}, {"num_outputs", static_cast<int64_t>(order.size())}});
    std::vector<std::string> moved;
    moved.reserve(order.size());
    for (int64_t gate : order) moved.push_back(gates[gate]);
    return e.op("Concat", moved, {{"axis", int64_t{0}}});
  }

  // This layer's part of a state [layers * directions, batch, hidden].
  std::string state(const std::string& all) const {
    Emitter& e = call.emit;
    return e.op("Slice", {all, e.ints({layer * directions}), e.ints({(layer + 1) * directions}),
                          e.ints({0})});
  }
};

struct LayerResults {
  std::string sequence;             // [length, batch, directions * hidden]
  std::vector<std::string> states;  // hidden, and an LSTM's cell
};

LayerResults run_layer(const Layer& layer, const std::string& input,
                       const std::vector<std::string>& states, const char* activation) {
  Emitter& e = layer.call.emit;
  const bool biases = flag(layer.call.arg(kBiases));
  const std::string recurrent = layer.stacked(1);
  std::vector<std::string> operands = {input, layer.stacked(0), recurrent, "", ""};
  if (biases) {
    operands[3] = e.op("Concat", {layer.stacked(2), layer.stacked(3)}, {{"axis", int64_t{1}}});
  }
  for (const std::string& state : states) operands.push_back(layer.state(state));
  const ValueId weight = layer.parameters.at(1);  // [gates * hidden, hidden]
  OnnxAttributes attributes = {{"hidden_size", constant_int(e.type(weight).shape.at(1))}};
  if (layer.directions == 2) attributes.emplace_back("direction", std::string("bidirectional"));
  if (layer.type == kGru) attributes.emplace_back("linear_before_reset", int64_t{1});
  if (activation != nullptr) {
    attributes.emplace_back("activations", std::vector<std::string>(layer.directions, activation));
  }
  std::vector<std::string> results =
      e.ops(layer.type, operands, 1 + states.size(), std::move(attributes));
  const std::string order = e.transpose(results[0], {0, 2, 1, 3});  // directions beside hidden
  const std::string sequence = e.op("Reshape", {order, e.ints({0, 0, -1})});
  results.erase(results.begin());
  return {sequence, results};
}

// One direction of an LSTM whose hidden state is projected, which ONNX's LSTM is not: a Loop over
// the sequence. Parameters are W_ih, W_hh, b_ih and b_hh if there are biases, W_hr.
struct Direction {
  std::string sequence;  // [length, batch, projected]
  std::string hidden, cell;
};

Direction run_projected(const Layer& layer, int64_t direction, const std::string& input,
                        const std::vector<std::string>& states) {
  Emitter& e = layer.call.emit;
  const int64_t number = layer.layer * layer.directions + direction;
  auto parameter = [&](size_t i) {
    return e.value(layer.parameters.at(static_cast<size_t>(number) * layer.per_direction + i));
  };
  auto weight = [&](size_t i) { return e.matrix_transposed(parameter(i), 2); };
  auto at = [&](const std::string& value, const std::string& place) {
    return e.op("Gather", {value, place}, {{"axis", int64_t{0}}});
  };
  std::string gates = e.op("MatMul", {input, weight(0)});
  if (flag(layer.call.arg(kBiases))) {
    gates = e.op("Add", {gates, e.op("Add", {parameter(2), parameter(3)})});
  }
  const std::string recurrent = weight(1);
  const std::string projection = weight(layer.per_direction - 1);
  const std::string index = e.scalar(static_cast<double>(number), DType::kInt64);
  const std::string shape = e.op("Shape", {input}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
  const std::string length = e.squeeze(shape, {0});
  const std::string last = e.op("Sub", {length, e.scalar(1, DType::kInt64)});
  const DType dtype = layer.call.result().dtype;
  const std::vector<std::string> operands = {length, "", at(states[0], index),
                                             at(states[1], index)};

  e.open_body();
  const std::string round = e.body_input(DType::kInt64, OnnxBodyValue::Kind::kScalar);
  const std::string again = e.body_input(DType::kBool, OnnxBodyValue::Kind::kScalar);
  const std::string hidden = e.body_input(dtype);
  const std::string cell = e.body_input(dtype);
  const std::string step = direction == 0 ? round : e.op("Sub", {last, round});
  const std::string all = e.op("Add", {at(gates, step), e.op("MatMul", {hidden, recurrent})});
  const auto parts = e.ops("Split", {all}, 4, {{"axis", int64_t{-1}}, {"num_outputs", int64_t{4}}});
  const std::string kept = e.op("Mul", {e.op("Sigmoid", {parts[1]}), cell});
  const std::string added = e.op("Mul", {e.op("Sigmoid", {parts[0]}), e.op("Tanh", {parts[2]})});
  const std::string next = e.op("Add", {kept, added});
  const std::string shown = e.op("Mul", {e.op("Sigmoid", {parts[3]}), e.op("Tanh", {next})});
  const std::string projected = e.op("MatMul", {shown, projection});
  e.body_output(again, DType::kBool);
  e.body_output(projected, dtype);
  e.body_output(next, dtype);
  e.body_output(projected, dtype);
  const auto body = e.close_body();

  const auto results = e.ops("Loop", operands, 3, {{"body", body}});
  if (direction == 0) return {results[2], results[0], results[1]};
  const std::string reversed =
      e.op("Slice", {results[2], e.ints({-1}), e.ints({INT64_MIN}), e.ints({0}), e.ints({-1})});
  return {reversed, results[0], results[1]};
}

LayerResults run_projected_layer(const Layer& layer, const std::string& input,
                                 const std::vector<std::string>& states) {
  Emitter& e = layer.call.emit;
  std::vector<std::string> sequences, hidden, cells;
  for (int64_t d = 0; d < layer.directions; ++d) {
    const Direction found = run_projected(layer, d, input, states);
    sequences.push_back(found.sequence);
    hidden.push_back(e.unsqueeze(found.hidden, {0}));
    cells.push_back(e.unsqueeze(found.cell, {0}));
  }
  auto joined = [&](const std::vector<std::string>& parts, int64_t axis) {
    return parts.size() == 1 ? parts[0] : e.op("Concat", parts, {{"axis", axis}});
  };
  return {joined(sequences, 2), {joined(hidden, 0), joined(cells, 0)}};
}

template <const char* kType, const char* kActivation>
void recurrent(const LoweringCall& call) {
  Emitter& e = call.emit;
  const std::string type = kType;
  if (flag(call.arg(kTrain)) && constant_number(call.arg(kDropout)) != 0.0) {
    throw Error(ErrorCode::kUnsupported, "dropout between layers: call model.eval()");
  }
  const auto& parameters = std::get<ValueList>(call.arg(kParameters));
  const int64_t layers = constant_int(call.arg(kLayers));
  const int64_t directions = flag(call.arg(kBoth)) ? 2 : 1;
  const size_t plain = flag(call.arg(kBiases)) ? 4 : 2;
  const size_t per_direction = parameters.size() / static_cast<size_t>(layers * directions);
  const bool projected = per_direction != plain;
  // Without a batch there is one more dim, of one row.
  const bool batched = call.type(kInput).rank() == 3;
  const bool batch_first = flag(call.arg(kFirst)) && batched;
  std::string value = e.tensor(call.arg(kInput));
  if (!batched) value = e.unsqueeze(value, {1});
  if (batch_first) value = e.transpose(value, {1, 0, 2});
  std::vector<std::string> states;
  if (const auto* list = std::get_if<ValueList>(&call.arg(kState))) {
    for (ValueId id : *list) states.push_back(e.value(id));
  } else {
    states.push_back(e.tensor(call.arg(kState)));
  }
  if (!batched) {
    for (std::string& state : states) state = e.unsqueeze(state, {1});
  }
  std::vector<std::vector<std::string>> last(states.size());
  for (int64_t i = 0; i < layers; ++i) {
    const Layer layer{call, type, parameters, i, directions, per_direction};
    LayerResults results = projected ? run_projected_layer(layer, value, states)
                                     : run_layer(layer, value, states, kActivation);
    value = results.sequence;
    for (size_t s = 0; s < states.size(); ++s) last[s].push_back(results.states[s]);
  }
  if (batch_first) value = e.transpose(value, {1, 0, 2});
  call.give(batched ? value : e.squeeze(value, {1}), 0);
  for (size_t s = 0; s < states.size(); ++s) {
    std::string state = layers == 1 ? last[s][0] : e.op("Concat", last[s], {{"axis", int64_t{0}}});
    call.give(batched ? state : e.squeeze(state, {1}), s + 1);
  }
}

}  // namespace

std::span<const Lowering> recurrent_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"aten.lstm.input", recurrent<kLstm, nullptr>},
      Lowering{"aten.gru.input", recurrent<kGru, nullptr>},
      Lowering{"aten.rnn_tanh.input", recurrent<kRnn, kTanh>},
      Lowering{"aten.rnn_relu.input", recurrent<kRnn, kRelu>},
  };
  return kRows;
}

}  // namespace portwright
