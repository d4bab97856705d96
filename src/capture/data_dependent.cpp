// Values and sizes that come from tensor data: each becomes an unbacked symbol whose hint is what
// the sample inputs give, bound by a node when the program runs. Decisions on such a symbol are
// guards like any other.
#include <ATen/core/Scalar.h>

#include <string_view>
#include <unordered_set>

#include "capture/provenance.h"
#include "capture/shape_math.h"
#include "capture/sym_node.h"
#include "capture/tracer.h"
#include "ir/data_symbols.h"

namespace portwright {
namespace {

ValueId operand_value(Tracer& tracer, const c10::IValue& value) {
  const at::Tensor tensor = value.toTensor();
  if (auto* traced = TracedTensorImpl::of(tensor)) return tracer.current_value(*traced);
  return tracer.constant_value(tensor);
}

bool integral(DType dtype) {
  return dtype != DType::kFloat16 && dtype != DType::kBFloat16 && dtype != DType::kFloat32 &&
         dtype != DType::kFloat64 && !is_complex(dtype);
}

}  // namespace

Expr Tracer::data_symbol(int64_t sample, Interval range, bool is_size) {
  const Place place = current_place();
  SymbolInfo info;
  info.range = range;
  info.hint = sample;
  info.origin = is_size ? "a size that data decides" : "a value of a tensor";
  if (place.source.known()) info.origin += " at " + to_string(place.source);
  info.unbacked = true;
  info.is_size = is_size;
  return symbols().add_symbol(std::move(info));
}

void Tracer::bind(const std::string& op, std::vector<Argument> arguments) {
  Node node;
  node.op = op;
  node.arguments = std::move(arguments);
  node.provenance = current_provenance();
  program_->graph.nodes.push_back(std::move(node));
}

std::optional<Expr> Tracer::operand_of_sizes(const Argument& argument) {
  if (const auto* expr = std::get_if<Expr>(&argument)) return symbols().resolve(*expr);
  const auto* ref = std::get_if<ValueRef>(&argument);
  return ref == nullptr ? std::nullopt : item_of_sizes(ref->id);
}

// Arithmetic that models do with torch functions on numbers: torch.div(length, window, "trunc").
std::optional<Expr> Tracer::item_of_sizes(ValueId id) {
  if (!type(id).shape.empty() || !integral(type(id).dtype) || type(id).dtype == DType::kBool) {
    return std::nullopt;
  }
  if (const at::Tensor* tensor = constant(id)) return tensor->item().to<int64_t>();
  // A number that has been read is a symbol from then on, and so is what is computed from it.
  if (auto read = item_symbols_.find(id); read != item_symbols_.end()) {
    return symbols().resolve(read->second);
  }
  find_producers();
  const auto producer = producers_.find(id);
  if (producer == producers_.end()) return std::nullopt;
  const Node node = program_->graph.nodes[producer->second];
  static const std::unordered_set<std::string_view> kCopies = {
      "aten._to_copy.default", "aten.clone.default", "aten.scalar_tensor.default"};
  const auto a = operand_of_sizes(node.arguments.at(node.op == "aten.full.default" ? 1 : 0));
  if (!a) return std::nullopt;
  if (kCopies.contains(node.op) || node.op == "aten.full.default") return a;
  if (node.arguments.size() < 2) return std::nullopt;
  const auto b = operand_of_sizes(node.arguments[1]);
  if (!b) return std::nullopt;
  const auto* text = std::get_if<std::string>(&node.arguments.back());
  const auto* scale = std::get_if<Expr>(&node.arguments.back());
  const bool sums = node.op == "aten.add.Tensor" || node.op == "aten.sub.Tensor";
  if (sums && scale != nullptr) {
    return node.op == "aten.add.Tensor" ? *a + *b * *scale : *a - *b * *scale;
  }
  if (node.op == "aten.rsub.Scalar" && scale != nullptr) return *b - *a * *scale;
  if (node.op == "aten.mul.Tensor") return *a * *b;
  if (node.op == "aten.remainder.Scalar" || node.op == "aten.remainder.Tensor") return mod(*a, *b);
  const bool floors = node.op == "aten.floor_divide.default" || (text && *text == "floor");
  const bool truncates =
      text && *text == "trunc" && symbols().range(*a).lo >= 0 && symbols().range(*b).lo > 0;
  if (floors || truncates) return floor_div(*a, *b);
  return std::nullopt;
}

Expr Tracer::symbol_of_item(ValueId id, bool is_size) {
  if (const auto known = item_of_sizes(id)) return *known;
  if (auto known = item_symbols_.find(id); known != item_symbols_.end()) {
    return symbols().resolve(known->second);
  }
  const TensorType& operand = type(id);
  if (!integral(operand.dtype)) {
    const Place place = current_place();
    throw Error(ErrorCode::kDataDependent,
                "the model reads a float out of a tensor while it is traced (" + describe(id) +
                    "), so what it does next depends on data that only exists at run time. Keep it "
                    "as a tensor, or compute it outside the model and pass it in",
                place.source, place.module_path);
  }
  const bool truth = operand.dtype == DType::kBool;
  const int64_t value = sample(id).item().to<int64_t>();
  const Interval range = truth     ? Interval{0, 1}
                         : is_size ? Interval{0, Interval::kInfinity}
                                   : Interval{};
  const Expr symbol = data_symbol(value, range, is_size);
  bind(kBindItem, {ValueRef{id}, symbol});
  item_symbols_.emplace(id, symbol);
  return symbol;
}

Expr Tracer::count_of_true(ValueId mask) {
  if (auto known = counts_.find(mask); known != counts_.end()) {
    return symbols().resolve(known->second);
  }
  const ValueId truth = type(mask).dtype == DType::kBool
                            ? mask
                            : record_one("aten.ne.Scalar", {ValueRef{mask}, Expr(0)});
  const Expr count =
      symbol_of_item(record_one("aten.sum.default", {ValueRef{truth}, None{}}), true);
  counts_.emplace(mask, count);
  return count;
}

Expr Tracer::size_from_data(const torch::jit::Stack& results, size_t output, int64_t dim) {
  const Expr symbol =
      data_symbol(results.at(output).toTensor().size(dim), {0, Interval::kInfinity}, true);
  pending_sizes_.push_back({symbol, output, dim});
  return symbol;
}

void Tracer::bind_pending_sizes() {
  const std::vector<PendingSize> pending = std::exchange(pending_sizes_, {});
  const std::vector<Output> outputs = program_->graph.nodes.back().outputs;
  for (const PendingSize& size : pending) {
    bind(kBindSize,
         {ValueRef{std::get<ValueId>(outputs.at(size.output))}, Expr(size.dim), size.symbol});
  }
}

bool Tracer::decide(const Predicate& predicate) {
  const Place place = current_place();
  return symbols().guard(predicate, GuardKind::kDecision, place.source, place.module_path);
}

bool Tracer::read_truth(ValueId id) {
  if (!integral(type(id).dtype)) id = record_one("aten.ne.Scalar", {ValueRef{id}, Expr(0)});
  return decide(Predicate::compare(symbol_of_item(id, false), Relation::kNe, 0));
}

// Same rank, sizes and elements.
bool Tracer::read_equal(ValueId a, ValueId b) {
  const std::vector<Expr> left = type(a).shape;
  const std::vector<Expr> right = type(b).shape;
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    if (!decide(Predicate::compare(left[i], Relation::kEq, right[i]))) return false;
  }
  const ValueId same = record_one("aten.eq.Tensor", {ValueRef{a}, ValueRef{b}});
  return read_truth(record_one("aten.all.default", {ValueRef{same}}));
}

c10::SymNode Tracer::item_node(TracedTensorImpl& tensor, bool is_count) {
  const ValueId id = current_value(tensor);
  const bool truth = type(id).dtype == DType::kBool;
  const Expr symbol = symbol_of_item(id, is_count);
  if (!truth) return c10::make_intrusive<TracedSymNode>(symbol, symbols_ptr());
  return c10::make_intrusive<TracedSymNode>(Predicate::compare(symbol, Relation::kNe, 0),
                                            symbols_ptr());
}

void Tracer::call_data_dependent(const OpInfo& op, torch::jit::Stack* stack) {
  const size_t count = op.operands.size();
  const auto operand = [&](size_t i) {
    return operand_value(*this, (*stack)[stack->size() - count + i]);
  };
  c10::IValue result;
  if (op.name == "aten.item.default" || op.name == "aten._local_scalar_dense.default") {
    const ValueId id = operand(0);
    const bool truth = type(id).dtype == DType::kBool;
    const Expr symbol = symbol_of_item(id, false);
    const auto& table = symbols_ptr();
    result = truth ? c10::IValue(to_sym_bool(Predicate::compare(symbol, Relation::kNe, 0), table))
                   : c10::IValue(to_sym_int(symbol, table));
  } else if (op.name == "aten.is_nonzero.default") {
    result = read_truth(operand(0));
  } else if (op.name == "aten.equal.default") {
    result = read_equal(operand(0), operand(1));
  } else {
    const Place place = current_place();
    throw Error(ErrorCode::kDataDependent,
                "the model reads a tensor's value while it is traced (" + op.name +
                    "), so what it does next depends on data that only exists at run time. "
                    "Compute the value outside the model and pass it in, or keep it as a tensor",
                place.source, place.module_path);
  }
  stack->erase(stack->end() - static_cast<int64_t>(count), stack->end());
  stack->push_back(std::move(result));
}

}  // namespace portwright
