// Loop nodes (src/ir/loop_node.h) as ONNX's Loop, and Loops that lowerings of other operators need.
#include "ir/loop_node.h"

#include <array>

#include "onnx/lowering.h"

namespace portwright {
namespace {

constexpr auto kScalar = OnnxBodyValue::Kind::kScalar;

// What rounds join along a dim in which their items differ: a sequence, whose items are copied once
// in the end. bfloat16 has no sequences: there each round copies what is joined so far.
class Joined {
 public:
  Joined(Emitter& e, DType dtype, int64_t dim)
      : e_(e), dtype_(dtype), dim_(dim), in_sequence_(dtype != DType::kBFloat16) {}

  // Before the first round, of this shape with nothing along the dim.
  std::string start(std::vector<Expr> shape) const {
    shape.at(dim_) = 0;
    const std::string nothing = e_.op("Expand", {e_.scalar(0, dtype_), e_.shape(shape)});
    return in_sequence_ ? e_.op("SequenceConstruct", {nothing}) : nothing;
  }
  void open() { before_ = e_.body_input(dtype_, kind()); }
  void add(const std::string& item) const {
    const std::string after = in_sequence_ ? e_.op("SequenceInsert", {before_, item})
                                           : e_.op("Concat", {before_, item}, {{"axis", dim_}});
    e_.body_output(after, dtype_, kind());
  }
  std::string end(const std::string& carried) const {
    return in_sequence_ ? e_.op("ConcatFromSequence", {carried}, {{"axis", dim_}}) : carried;
  }

 private:
  OnnxBodyValue::Kind kind() const {
    return in_sequence_ ? OnnxBodyValue::Kind::kSequence : OnnxBodyValue::Kind::kTensor;
  }

  Emitter& e_;
  DType dtype_;
  int64_t dim_;
  bool in_sequence_;
  std::string before_;  // in the body
};

// Outputs are what is carried, then what is joined (carried too, and longer after each round), then
// what is stacked.
void loop(const LoweringCall& call) {
  Emitter& e = call.emit;
  const LoopNode loop = as_loop(call.node);
  const size_t carried = loop.initial.size();
  const size_t stacked = loop.stacked.size();
  std::vector<std::string> operands = {e.scalar_int(loop.trips), ""};
  std::vector<DType> dtypes;
  for (ValueId id : loop.initial) {
    operands.push_back(e.value(id));
    dtypes.push_back(e.type(id).dtype);
  }
  std::vector<Joined> joined;
  for (size_t i = 0; i < loop.joined.size(); ++i) {
    const TensorType& type = e.type(loop.joined[i]);
    joined.emplace_back(e, type.dtype, constant_int(loop.dims.at(i)));
    operands.push_back(joined.back().start(type.shape));
  }
  std::vector<std::string> captures;
  for (ValueId id : loop.captures) captures.push_back(e.value(id));

  e.open_body(&loop.body);
  const std::string counter = e.body_input(DType::kInt64, kScalar);
  const std::string again = e.body_input(DType::kBool, kScalar);
  e.bind_symbol(loop.counter, e.op("Reshape", {counter, e.ints({1})}));
  std::vector<std::string> before;
  before.reserve(dtypes.size());
  for (DType dtype : dtypes) before.push_back(e.body_input(dtype));
  for (Joined& join : joined) join.open();
  for (size_t i = 0; i < loop.body.inputs.size(); ++i) {
    e.bind(loop.body.inputs[i], i < carried ? before[i] : captures.at(i - carried));
  }
  for (const Node& node : loop.body.nodes) e.lower(node);
  e.begin(call.node);
  e.body_output(again, DType::kBool);
  const auto& results = loop.body.outputs;
  for (size_t i = 0; i < carried; ++i) e.body_output(e.value(results.at(i)), dtypes[i]);
  for (size_t i = 0; i < joined.size(); ++i) {
    joined[i].add(e.value(results.at(carried + stacked + i)));
  }
  for (size_t i = 0; i < stacked; ++i) {
    const ValueId item = results.at(carried + i);
    e.body_output(e.value(item), e.type(item).dtype);
  }
  const auto body = e.close_body();

  const std::vector<std::string> values =
      e.ops("Loop", operands, carried + joined.size() + stacked, {{"body", body}});
  size_t next = 0;
  for (ValueId id : loop.last) e.bind(id, values.at(next++));
  for (size_t i = 0; i < joined.size(); ++i) {
    e.bind(loop.joined[i], joined[i].end(values.at(next++)));
  }
  for (ValueId id : loop.stacked) e.bind(id, values.at(next++));
}

// grouped_mm(input [S, K], weight [E, K, N], offsets [E]): rows up to offsets[i] that earlier
// groups did not take times weight[i]; zeros for rows beyond the last offset. The rounds are the
// groups that have rows, so that weights of the others are not read.
void grouped_product(const LoweringCall& call) {
  Emitter& e = call.emit;
  const DType dtype = call.result().dtype;
  const std::string input = e.tensor(call.arg(0));
  const std::string weight = e.tensor(call.arg(1));
  const std::string ends = e.cast(e.tensor(call.arg(2)), call.type(2).dtype, DType::kInt64);
  const std::string first_axis = e.ints({0});
  const std::string starts =
      e.op("Concat", {first_axis, e.op("Slice", {ends, e.ints({0}), e.ints({-1}), first_axis})},
           {{"axis", int64_t{0}}});
  const std::string groups =
      e.op("Reshape", {e.op("NonZero", {e.op("Greater", {ends, starts})}), e.ints({-1})});
  const std::vector<Expr> nothing = {0, call.result().shape.at(1)};
  Joined products(e, dtype, 0);
  const std::string empty = products.start(nothing);
  const std::string count = e.squeeze(e.op("Shape", {groups}), {0});

  e.open_body();
  const std::string round = e.body_input(DType::kInt64, kScalar);
  const std::string again = e.body_input(DType::kBool, kScalar);
  products.open();
  const std::string group = e.op("Gather", {groups, round}, {{"axis", int64_t{0}}});
  auto row_at = [&](const std::string& rows) {
    return e.unsqueeze(e.op("Gather", {rows, group}, {{"axis", int64_t{0}}}), {0});
  };
  const std::string rows = e.op("Slice", {input, row_at(starts), row_at(ends), first_axis});
  const std::string product =
      e.op("MatMul", {rows, e.op("Gather", {weight, group}, {{"axis", int64_t{0}}})});
  e.body_output(again, DType::kBool);
  products.add(product);
  const auto body = e.close_body();

  const std::string taken = products.end(e.op("Loop", {count, "", empty}, {{"body", body}}));
  const std::string missing = e.op(
      "Sub",
      {e.dim(call.type(0).shape.at(0)), e.op("Slice", {ends, e.ints({-1}), e.ints({INT64_MAX})})});
  const std::string tail = e.op("Concat", {missing, e.dim(nothing[1])}, {{"axis", int64_t{0}}});
  const std::string zeros = e.op("Expand", {e.scalar(0, dtype), tail});
  const std::string all = e.op("Concat", {taken, zeros}, {{"axis", int64_t{0}}});
  call.give(e.reshape(all, nothing, call.result().shape));
}

// _grouped_mm(self, mat2, offs, bias, out_dtype), of which CPUs have the form above.
void grouped_mm(const LoweringCall& call) {
  if (call.type(0).rank() != 2 || call.type(1).rank() != 3 || !call.has(2) || call.has(3)) {
    throw Error(ErrorCode::kUnsupported,
                "_grouped_mm of other than a matrix, a stack of matrices and offsets");
  }
  grouped_product(call);
}

}  // namespace

std::span<const Lowering> loop_lowerings() {
  static constexpr std::array kRows = {
      Lowering{"portwright.loop.default", loop},
      Lowering{"transformers.grouped_mm_fallback.default", grouped_product},
      Lowering{"aten._grouped_mm.default", grouped_mm},
  };
  return kRows;
}

}  // namespace portwright
