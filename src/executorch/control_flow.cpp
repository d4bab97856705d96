// Loops and branches of a method, by jumps.
#include <algorithm>

#include "executorch/emitter.h"

namespace portwright {
namespace {

const PteOperator kClone = {"aten::clone", "out"};
const PteOperator kCat = {"aten::cat", "out"};
const PteOperator kFull = {"aten::full", "out"};
const PteOperator kCopyIndex = {"executorch_prim::et_copy_index", "tensor"};

}  // namespace

uint32_t PteEmitter::next_instruction() const {
  return static_cast<uint32_t>(method_.instructions.size());
}

// The target has this value from now on, in memory of its own.
void PteEmitter::assign(PteId target, PteId from) { call(kClone, {from, none(), target, target}); }

// What a round computes and hands on; the body's values are emitted in a scope of their own.
void PteEmitter::emit_round(const LoopNode& loop, std::span<const PteId> last,
                            std::span<const PteId> stacked, std::span<const PteId> joined,
                            PteId counter) {
  const Graph& body = loop.body;
  std::vector<PteId> captures;
  captures.reserve(loop.captures.size());
  for (ValueId id : loop.captures) captures.push_back(tensor(id));
  scopes_.emplace_back().graph = &body;
  scopes_.back().symbols[loop.counter] = counter;
  for (size_t i = 0; i < body.inputs.size(); ++i) {
    scopes_.back().values[body.inputs[i]] =
        i < last.size() ? last[i] : captures.at(i - last.size());
  }
  for (const Node& node : body.nodes) emit_node(node);
  std::vector<PteId> results;
  results.reserve(body.outputs.size());
  for (ValueId id : body.outputs) results.push_back(tensor(id));
  for (size_t i = 0; i < stacked.size(); ++i)
    call(kCopyIndex, {stacked[i], results.at(last.size() + i), counter});
  for (size_t i = 0; i < joined.size(); ++i) {
    const PteId item = results.at(last.size() + stacked.size() + i);
    const PteId longer = add(method_.values.at(joined[i]));
    call(kCat, {add(PteTensorList{{joined[i], item}}), number(loop.dims.at(i)), longer, longer});
    assign(joined[i], longer);
  }
  for (size_t i = 0; i < last.size(); ++i) {  // one carried value may become another
    const bool is_carried = std::find(last.begin(), last.end(), results[i]) != last.end();
    if (is_carried && results[i] != last[i]) results[i] = copied(results[i]);
  }
  for (size_t i = 0; i < last.size(); ++i) {
    if (results[i] != last[i]) assign(last[i], results[i]);
  }
  scopes_.pop_back();
}

// A counter, a conditional jump behind the loop and a jump back.
void PteEmitter::emit_loop(const Node& node) {
  const LoopNode loop = as_loop(node);
  const PteId trips = number(loop.trips);
  std::vector<PteId> last, stacked, joined;
  for (size_t i = 0; i < loop.last.size(); ++i) {
    const PteId initial = tensor(loop.initial[i]);
    last.push_back(result(loop.last[i]));
    assign(last.back(), initial);
  }
  const auto start_empty = [&](ValueId id, size_t dim) {
    const PteId made = result(id);
    std::get<PteTensor>(method_.values.at(made)).dynamic = true;
    IntList shape = type(id).shape;
    shape.at(dim) = 0;
    call(kFull, {int_list(shape), integer(0), made, made});
    return made;
  };
  for (ValueId id : loop.stacked) stacked.push_back(start_empty(id, 0));
  for (size_t i = 0; i < loop.joined.size(); ++i)
    joined.push_back(start_empty(loop.joined[i], loop.dims.at(i).constant()));

  const PteId counter = add(int64_t{0});
  method_.instructions.emplace_back(PteMoveCall{integer(0), counter});
  const uint32_t start = next_instruction();
  const PteId goes_on = prim("executorch_prim::lt.Scalar", {counter, trips}, false);
  const uint32_t leave = next_instruction();
  method_.instructions.emplace_back(PteJumpFalse{goes_on, 0});
  emit_round(loop, last, stacked, joined, counter);
  call({"executorch_prim::add", "Scalar"}, {counter, integer(1), counter});
  method_.instructions.emplace_back(PteJumpFalse{boolean(false), start});
  std::get<PteJumpFalse>(method_.instructions.at(leave)).destination = next_instruction();
}

// A conditional jump behind the first side, and from its end one behind the other side.
void PteEmitter::emit_branch(const Branch& branch) {
  const Node& choice = program_.graph.nodes[branch.choices];
  const PteId condition = tensor(std::get<ValueRef>(choice.arguments.at(0)).id);
  const PteId holds = prim("aten::_local_scalar_dense.", {condition}, false);
  for (size_t i = branch.choices; i < branch.end; ++i) result(program_.graph.nodes[i].result());
  const uint32_t start = next_instruction();
  method_.instructions.emplace_back(PteJumpFalse{holds, 0});
  emit_side(branch, branch.begin, branch.otherwise, 1);
  const uint32_t leave = next_instruction();
  method_.instructions.emplace_back(PteJumpFalse{boolean(false), 0});
  std::get<PteJumpFalse>(method_.instructions.at(start)).destination = next_instruction();
  emit_side(branch, branch.otherwise, branch.choices, 2);
  std::get<PteJumpFalse>(method_.instructions.at(leave)).destination = next_instruction();
}

// What one side computes becomes the choices' results.
void PteEmitter::emit_side(const Branch& branch, size_t begin, size_t end, size_t operand) {
  scopes_.push_back({scopes_.back().graph, scopes_.back().values, {}, {}, {}});
  emit_nodes(begin, end);
  for (size_t i = branch.choices; i < branch.end; ++i) {
    const Node& choice = program_.graph.nodes[i];
    assign(tensor(choice.result()), tensor(std::get<ValueRef>(choice.arguments.at(operand)).id));
  }
  scopes_.pop_back();
}

}  // namespace portwright
