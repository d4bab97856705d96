// Constant folding.
// Needs: nothing. Ensures: small operators (at most 4,096 elements) whose operands are all
// constants of the program are constants themselves. Parameters and buffers are never folded.
//   %1 : i64[3] = aten.arange.default(3, None, None, None, None)
//   %2 : i64[3] = aten.add.Tensor(%1, 1, 1)         =>   input constant %0 "_folded_0" : i64[3] =
//   [1, 2, 3]
#include <cmath>
#include <cstring>
#include <functional>
#include <string_view>
#include <unordered_map>

#include "passes/pass.h"
#include "passes/rewrite.h"

namespace portwright {
namespace {

constexpr int64_t kMaxElements = 4096;

// A dense tensor in the widest type of its kind: integers and bools as int64, floats as double.
struct Elements {
  std::vector<int64_t> shape;
  bool floating = false;
  std::vector<int64_t> ints;
  std::vector<double> floats;

  size_t size() const { return floating ? floats.size() : ints.size(); }
  double real(size_t i) const { return floating ? floats[i] : static_cast<double>(ints[i]); }
  bool truth(size_t i) const { return floating ? floats[i] != 0 : ints[i] != 0; }
};

int64_t count(const std::vector<int64_t>& shape) {
  int64_t numel = 1;
  for (int64_t size : shape) {
    if (__builtin_mul_overflow(numel, size, &numel)) return INT64_MAX;
  }
  return numel;
}

template <typename T, typename Target>
void widen(const std::vector<std::byte>& bytes, std::vector<Target>& target) {
  for (size_t i = 0; i + sizeof(T) <= bytes.size(); i += sizeof(T)) {
    T item;
    std::memcpy(&item, bytes.data() + i, sizeof(T));
    target.push_back(static_cast<Target>(item));
  }
}

template <typename T, typename Source>
std::vector<std::byte> narrow(const std::vector<Source>& items) {
  std::vector<std::byte> bytes(items.size() * sizeof(T));
  for (size_t i = 0; i < items.size(); ++i) {
    const T item = static_cast<T>(items[i]);
    std::memcpy(bytes.data() + i * sizeof(T), &item, sizeof(T));
  }
  return bytes;
}

std::optional<Elements> read(const Weight& weight) {
  if (weight.numel() > kMaxElements) return std::nullopt;
  Elements elements{weight.shape, is_floating_point(weight.dtype), {}, {}};
  const std::vector<std::byte> bytes = weight.copy_bytes();
  switch (weight.dtype) {
    case DType::kBool:
    case DType::kUInt8: widen<uint8_t>(bytes, elements.ints); break;
    case DType::kInt32: widen<int32_t>(bytes, elements.ints); break;
    case DType::kInt64: widen<int64_t>(bytes, elements.ints); break;
    case DType::kFloat32: widen<float>(bytes, elements.floats); break;
    case DType::kFloat64: widen<double>(bytes, elements.floats); break;
    default: return std::nullopt;
  }
  return elements;
}

// The elements as a weight of `dtype`, converted as torch's casts do.
std::optional<Weight> write(const Elements& elements, DType dtype) {
  std::vector<std::byte> bytes;
  auto narrowed = [&]<typename T> {
    bytes = elements.floating ? narrow<T>(elements.floats) : narrow<T>(elements.ints);
  };
  switch (dtype) {
    case DType::kBool:
      for (size_t i = 0; i < elements.size(); ++i) bytes.push_back(std::byte{elements.truth(i)});
      break;
    case DType::kInt32: narrowed.operator()<int32_t>(); break;
    case DType::kInt64: narrowed.operator()<int64_t>(); break;
    case DType::kFloat32: narrowed.operator()<float>(); break;
    case DType::kFloat64: narrowed.operator()<double>(); break;
    default: return std::nullopt;
  }
  return Weight::from_host(dtype, elements.shape, std::move(bytes));
}

std::optional<std::vector<int64_t>> constant_shape(const std::vector<Expr>& exprs) {
  std::vector<int64_t> shape;
  for (const Expr& expr : exprs) {
    if (!expr.is_constant()) return std::nullopt;
    shape.push_back(expr.constant());
  }
  if (count(shape) > kMaxElements) return std::nullopt;
  return shape;
}

std::optional<Elements> number(const Argument& argument) {
  if (const auto* expr = std::get_if<Expr>(&argument)) {
    if (!expr->is_constant()) return std::nullopt;
    return Elements{{}, false, {expr->constant()}, {}};
  }
  if (const auto* flag = std::get_if<bool>(&argument)) return Elements{{}, false, {*flag}, {}};
  if (const auto* value = std::get_if<double>(&argument)) return Elements{{}, true, {}, {*value}};
  return std::nullopt;
}

// Position in `from` of the element that broadcasting puts at `index` of `shape`.
size_t broadcast_index(size_t index, const std::vector<int64_t>& shape,
                       const std::vector<int64_t>& from) {
  size_t position = 0, step = 1;
  for (size_t i = 0; i < from.size(); ++i) {
    const size_t dim = shape.size() - 1 - i;
    const auto coordinate = static_cast<int64_t>(index % static_cast<size_t>(shape[dim]));
    index /= static_cast<size_t>(shape[dim]);
    const int64_t size = from[from.size() - 1 - i];
    if (size != 1) position += static_cast<size_t>(coordinate) * step;
    step *= static_cast<size_t>(size);
  }
  return position;
}

struct Call {
  const Node& node;
  const TensorType& type;
  std::vector<int64_t> shape;
  const std::function<std::optional<Elements>(size_t)>& operand;
};
using Evaluator = std::optional<Elements> (*)(const Call& call);

std::optional<Elements> broadcast_to(const Elements& elements, const std::vector<int64_t>& shape) {
  Elements result{shape, elements.floating, {}, {}};
  const auto numel = static_cast<size_t>(count(shape));
  for (size_t i = 0; i < numel; ++i) {
    const size_t at = broadcast_index(i, shape, elements.shape);
    if (elements.floating) {
      result.floats.push_back(elements.floats[at]);
    } else {
      result.ints.push_back(elements.ints[at]);
    }
  }
  return result;
}

std::optional<Elements> filled(const Call& call) {
  const bool full = call.node.op == "aten.full.default";
  const int64_t fill = call.node.op == "aten.ones.default" ? 1 : 0;
  const auto value = full ? number(call.node.arguments.at(1)) : number(Expr(fill));
  return value ? broadcast_to(*value, call.shape) : std::nullopt;
}

std::optional<Elements> scalar(const Call& call) { return number(call.node.arguments.at(0)); }

std::optional<Elements> arange(const Call& call) {
  const auto& arguments = call.node.arguments;
  const bool from_zero = call.node.op == "aten.arange.default";
  const auto start = from_zero ? number(Expr(0)) : number(arguments.at(0));
  const auto step =
      call.node.op == "aten.arange.start_step" ? number(arguments.at(2)) : number(Expr(1));
  if (!start || !step || start->floating || step->floating) return std::nullopt;
  Elements result{call.shape, false, {}, {}};
  for (int64_t i = 0; i < count(call.shape); ++i) {
    result.ints.push_back(start->ints[0] + i * step->ints[0]);
  }
  return result;
}

std::optional<Elements> reshaped(const Call& call) {
  auto operand = call.operand(0);
  if (operand) operand->shape = call.shape;
  return operand;
}

std::optional<Elements> cast(const Call& call) {
  auto operand = call.operand(0);
  // A float out of an integer type's range has no defined cast.
  if (operand && operand->floating && is_integral(call.type.dtype)) {
    for (double item : operand->floats) {
      if (!(std::abs(item) < 2147483648.0)) return std::nullopt;
    }
  }
  return operand;
}

std::optional<Elements> expanded(const Call& call) {
  const auto operand = call.operand(0);
  return operand ? broadcast_to(*operand, call.shape) : std::nullopt;
}

template <typename IntegerOp, typename RealOp>
std::optional<Elements> binary(const Call& call, IntegerOp integer_op, RealOp real_op,
                               bool truth = false) {
  const auto left = call.operand(0);
  const auto right = call.operand(1);
  if (!left || !right) return std::nullopt;
  const bool floating = left->floating || right->floating;
  Elements result{call.shape, floating && !truth, {}, {}};
  const auto numel = static_cast<size_t>(count(call.shape));
  for (size_t i = 0; i < numel; ++i) {
    const size_t a = broadcast_index(i, call.shape, left->shape);
    const size_t b = broadcast_index(i, call.shape, right->shape);
    if (!floating) {
      result.ints.push_back(integer_op(left->ints[a], right->ints[b]));
    } else if (truth) {
      result.ints.push_back(real_op(left->real(a), right->real(b)) != 0);
    } else {
      result.floats.push_back(real_op(left->real(a), right->real(b)));
    }
  }
  return result;
}

// add.Tensor and sub.Tensor take a third operand, alpha.
bool plain_alpha(const Call& call) {
  if (call.node.arguments.size() < 3) return true;
  const auto* alpha = std::get_if<Expr>(&call.node.arguments[2]);
  return alpha != nullptr && alpha->is_constant(1);
}

// Wrapping, as torch's integer arithmetic.
int64_t wrap(uint64_t value) { return static_cast<int64_t>(value); }
uint64_t bits(int64_t value) { return static_cast<uint64_t>(value); }

std::optional<Elements> add(const Call& call) {
  if (!plain_alpha(call)) return std::nullopt;
  return binary(
      call, [](int64_t a, int64_t b) { return wrap(bits(a) + bits(b)); },
      [](double a, double b) { return a + b; });
}

std::optional<Elements> sub(const Call& call) {
  if (!plain_alpha(call)) return std::nullopt;
  return binary(
      call, [](int64_t a, int64_t b) { return wrap(bits(a) - bits(b)); },
      [](double a, double b) { return a - b; });
}

std::optional<Elements> mul(const Call& call) {
  return binary(
      call, [](int64_t a, int64_t b) { return wrap(bits(a) * bits(b)); },
      [](double a, double b) { return a * b; });
}

template <typename Compare>
std::optional<Elements> compare(const Call& call) {
  return binary(
      call, [](int64_t a, int64_t b) -> int64_t { return Compare()(a, b); },
      [](double a, double b) -> double { return Compare()(a, b); }, true);
}

struct BothTrue {
  bool operator()(double a, double b) const { return a != 0 && b != 0; }
  bool operator()(int64_t a, int64_t b) const { return a != 0 && b != 0; }
};
struct EitherTrue {
  bool operator()(double a, double b) const { return a != 0 || b != 0; }
  bool operator()(int64_t a, int64_t b) const { return a != 0 || b != 0; }
};

std::optional<Elements> logical_not(const Call& call) {
  const auto operand = call.operand(0);
  if (!operand) return std::nullopt;
  Elements result{operand->shape, false, {}, {}};
  for (size_t i = 0; i < operand->size(); ++i) result.ints.push_back(!operand->truth(i));
  return result;
}

std::optional<Elements> neg(const Call& call) {
  auto operand = call.operand(0);
  if (!operand) return std::nullopt;
  for (int64_t& item : operand->ints) item = wrap(0 - bits(item));
  for (double& item : operand->floats) item = -item;
  return operand;
}

const std::unordered_map<std::string_view, Evaluator>& evaluators() {
  static const std::unordered_map<std::string_view, Evaluator> kTable = {
      {"aten.full.default", filled},
      {"aten.zeros.default", filled},
      {"aten.ones.default", filled},
      {"aten.scalar_tensor.default", scalar},
      {"aten.arange.default", arange},
      {"aten.arange.start", arange},
      {"aten.arange.start_step", arange},
      {"aten._to_copy.default", cast},
      {"aten.view.default", reshaped},
      {"aten.reshape.default", reshaped},
      {"aten.unsqueeze.default", reshaped},
      {"aten.squeeze.dim", reshaped},
      {"aten.expand.default", expanded},
      {"aten.add.Tensor", add},
      {"aten.sub.Tensor", sub},
      {"aten.mul.Tensor", mul},
      {"aten.neg.default", neg},
      {"aten.eq.Tensor", compare<std::equal_to<>>},
      {"aten.ne.Tensor", compare<std::not_equal_to<>>},
      {"aten.lt.Tensor", compare<std::less<>>},
      {"aten.le.Tensor", compare<std::less_equal<>>},
      {"aten.gt.Tensor", compare<std::greater<>>},
      {"aten.ge.Tensor", compare<std::greater_equal<>>},
      {"aten.eq.Scalar", compare<std::equal_to<>>},
      {"aten.ne.Scalar", compare<std::not_equal_to<>>},
      {"aten.lt.Scalar", compare<std::less<>>},
      {"aten.le.Scalar", compare<std::less_equal<>>},
      {"aten.gt.Scalar", compare<std::greater<>>},
      {"aten.ge.Scalar", compare<std::greater_equal<>>},
      {"aten.logical_and.default", compare<BothTrue>},
      {"aten.logical_or.default", compare<EitherTrue>},
      {"aten.bitwise_and.Tensor", compare<BothTrue>},
      {"aten.logical_not.default", logical_not},
  };
  return kTable;
}

class Folder {
 public:
  explicit Folder(Program& program) : program_(program) {
    for (size_t i = 0; i < program.inputs.size(); ++i) {
      const InputSpec& spec = program.inputs[i];
      names_.emplace(spec.target, true);
      if (spec.kind == InputKind::kConstantTensor)
        constants_[program.graph.inputs[i]] = *spec.weight;
    }
  }

  bool run() {
    std::vector<Node> kept;
    bool changed = false;
    for (Node& node : program_.graph.nodes) {
      if (fold(node)) {
        changed = true;
      } else {
        kept.push_back(std::move(node));
      }
    }
    program_.graph.nodes = std::move(kept);
    return changed;
  }

 private:
  bool fold(const Node& node) {
    auto evaluator = evaluators().find(node.op);
    if (evaluator == evaluators().end()) return false;
    const ValueId result = node.result();
    const TensorType type = program_.graph.type(result);
    const auto shape = constant_shape(type.shape);
    // bitwise_and of integers is no logical and.
    if (!shape || (node.op == "aten.bitwise_and.Tensor" && type.dtype != DType::kBool))
      return false;
    const std::function<std::optional<Elements>(size_t)> operand = [&](size_t index) {
      return operand_elements(node, index);
    };
    auto elements = evaluator->second({node, type, *shape, operand});
    if (!elements) return false;
    elements->shape = *shape;
    auto weight = write(*elements, type.dtype);
    if (!weight) return false;
    program_.graph.inputs.push_back(result);
    program_.graph.values[result].type.strides.reset();
    program_.inputs.push_back({InputKind::kConstantTensor, new_name(), false, weight});
    constants_[result] = std::move(*weight);
    return true;
  }

  std::optional<Elements> operand_elements(const Node& node, size_t index) const {
    const Argument& argument = node.arguments.at(index);
    const auto* ref = std::get_if<ValueRef>(&argument);
    if (ref == nullptr) return number(argument);
    auto found = constants_.find(ref->id);
    return found == constants_.end() ? std::nullopt : read(found->second);
  }

  std::string new_name() {
    std::string name;
    do {
      name = "_folded_" + std::to_string(next_++);
    } while (!names_.emplace(name, true).second);
    return name;
  }

  Program& program_;
  std::unordered_map<ValueId, Weight> constants_;
  std::unordered_map<std::string, bool> names_;
  size_t next_ = 0;
};

}  // namespace

bool fold_constants(Program& program) {
  const bool changed = Folder(program).run();
  if (changed) eliminate_dead_code(program);
  return changed;
}

}  // namespace portwright
