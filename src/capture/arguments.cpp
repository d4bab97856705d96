// Conversion between the dispatcher's IValues and the IR's Arguments, both ways.
#include <ATen/core/ivalue.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/csrc/autograd/python_variable.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/csrc/utils/python_symnode.h>

#include <cmath>
#include <sstream>

#include "capture/sym_node.h"
#include "capture/tracer.h"

namespace portwright {
namespace {

namespace py = pybind11;

// torch's Python bindings turn `tensor + symint` into a wrapped scalar tensor that holds 7777777 (a
// NaN for a SymFloat, true for a SymBool) and carry the symbolic number in a Python attribute.
// Without this look-up the marker value itself would be computed with.
constexpr int64_t kSymIntMarker = 7777777;

bool may_hide_symbol(const at::Tensor& tensor) {
  if (!tensor.unsafeGetTensorImpl()->is_wrapped_number()) return false;
  if (tensor.scalar_type() == at::kLong) {
    return *static_cast<const int64_t*>(tensor.const_data_ptr()) == kSymIntMarker;
  }
  if (tensor.scalar_type() == at::kBool) return *static_cast<const bool*>(tensor.const_data_ptr());
  return tensor.scalar_type() == at::kDouble &&
         std::isnan(*static_cast<const double*>(tensor.const_data_ptr()));
}

std::optional<Argument> hidden_symbol(const at::Tensor& tensor) {
  if (!may_hide_symbol(tensor)) return std::nullopt;
  py::gil_scoped_acquire gil;
  const auto object = py::reinterpret_steal<py::object>(THPVariable_Wrap(tensor));
  if (!py::hasattr(object, "_wrapped_number")) return std::nullopt;
  const py::object number = object.attr("_wrapped_number");
  if (torch::is_symint(number)) return to_expr(number.cast<c10::SymInt>());
  if (torch::is_symfloat(number)) return to_real(number.cast<c10::SymFloat>());
  if (torch::is_symbool(number)) return to_predicate(number.cast<c10::SymBool>());
  return std::nullopt;
}

Argument wrapped_number(const at::Tensor& tensor) {
  if (auto symbol = hidden_symbol(tensor)) return *symbol;
  switch (tensor.scalar_type()) {
    case at::kLong: return Expr(*static_cast<const int64_t*>(tensor.const_data_ptr()));
    case at::kDouble: return *static_cast<const double*>(tensor.const_data_ptr());
    case at::kBool: return *static_cast<const bool*>(tensor.const_data_ptr());
    default: return None{};
  }
}

ValueId value_of(Tracer& tracer, const at::Tensor& tensor) {
  if (!tensor.defined()) return kNoValue;
  if (auto* traced = TracedTensorImpl::of(tensor)) return tracer.current_value(*traced);
  return tracer.constant_value(tensor);
}

Argument tensor_argument(Tracer& tracer, const at::Tensor& tensor) {
  if (!tensor.defined()) return None{};
  if (!TracedTensorImpl::of(tensor) && tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
    Argument number = wrapped_number(tensor);
    if (const auto* condition = std::get_if<Predicate>(&number)) {
      // Unlike that of other numbers, its dtype is the same as a tensor's where types are promoted.
      return ValueRef{tracer.record_one("aten.scalar_tensor.default",
                                        {*condition, DType::kBool, None{}, None{}, None{}})};
    }
    if (!std::holds_alternative<None>(number)) return number;
  }
  return ValueRef{value_of(tracer, tensor)};
}

Argument number_argument(const c10::IValue& value) {
  if (value.isInt()) return Expr(value.toInt());
  if (value.isSymInt()) return to_expr(value.toSymInt());
  if (value.isBool()) return value.toBool();
  if (value.isSymBool()) return to_predicate(value.toSymBool());
  if (value.isDouble()) return value.toDouble();
  if (value.isSymFloat()) return to_real(value.toSymFloat());
  throw Error(ErrorCode::kUnsupported, "a complex number operand is not supported yet");
}

Argument int_list(const c10::IValue& value) {
  IntList list;
  if (value.isIntList()) {
    for (int64_t item : value.toIntVector()) list.emplace_back(item);
  } else if (value.isSymIntList()) {
    for (const c10::SymInt& item : value.toSymIntVector()) list.push_back(to_expr(item));
  } else if (value.isInt() || value.isSymInt()) {
    list.push_back(std::get<Expr>(number_argument(value)));
  } else {
    for (const c10::IValue& item : value.toListRef()) {
      list.push_back(std::get<Expr>(number_argument(item)));
    }
  }
  return list;
}

template <typename T>
std::string streamed(const T& value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string format_name(at::MemoryFormat format) {
  switch (format) {
    case at::MemoryFormat::Contiguous: return "contiguous_format";
    case at::MemoryFormat::Preserve: return "preserve_format";
    case at::MemoryFormat::ChannelsLast: return "channels_last";
    default: return "channels_last_3d";
  }
}

at::MemoryFormat parse_format(const std::string& name) {
  if (name == "contiguous_format") return at::MemoryFormat::Contiguous;
  if (name == "preserve_format") return at::MemoryFormat::Preserve;
  if (name == "channels_last") return at::MemoryFormat::ChannelsLast;
  return at::MemoryFormat::ChannelsLast3d;
}

at::Tensor wrapped_scalar(const at::Scalar& scalar, at::ScalarType type) {
  at::Tensor tensor = at::scalar_tensor(scalar, at::TensorOptions().dtype(type));
  tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
  return tensor;
}

// A number in a Tensor position.
at::Tensor number_tensor(const Argument& argument, std::span<const int64_t> values) {
  if (const auto* expr = std::get_if<Expr>(&argument)) {
    return wrapped_scalar(evaluate(*expr, values), at::kLong);
  }
  if (const auto* number = std::get_if<double>(&argument)) {
    return wrapped_scalar(*number, at::kDouble);
  }
  if (const auto* flag = std::get_if<bool>(&argument)) return wrapped_scalar(*flag, at::kBool);
  if (const auto* real = std::get_if<Real>(&argument)) {
    return wrapped_scalar(real->evaluate(values), at::kDouble);
  }
  throw Error(ErrorCode::kInternal, "an operand that is no tensor stands where one is needed");
}

c10::IValue value_list(const ValueList& list, OperandKind kind,
                       const std::function<at::Tensor(ValueId)>& tensor) {
  if (kind == OperandKind::kOptionalTensorList) {
    c10::List<std::optional<at::Tensor>> items;
    for (ValueId id : list) {
      items.push_back(id == kNoValue ? std::optional<at::Tensor>() : tensor(id));
    }
    return items;
  }
  c10::List<at::Tensor> items;
  for (ValueId id : list) items.push_back(tensor(id));
  return items;
}

c10::IValue expr_ivalue(const Expr& expr, OperandKind kind, std::span<const int64_t> values) {
  const int64_t value = evaluate(expr, values);
  if (kind == OperandKind::kFloat) return static_cast<double>(value);
  if (kind == OperandKind::kIntList) return c10::List<int64_t>({value});
  return value;
}

}  // namespace

Argument to_argument(Tracer& tracer, const c10::IValue& value, OperandKind kind) {
  if (value.isNone()) return None{};
  switch (kind) {
    case OperandKind::kTensor: return tensor_argument(tracer, value.toTensor());
    case OperandKind::kTensorList: {
      ValueList list;
      for (const at::Tensor& item : value.toTensorVector()) list.push_back(value_of(tracer, item));
      return list;
    }
    case OperandKind::kOptionalTensorList: {
      ValueList list;
      for (const c10::IValue& item : value.toListRef()) {
        list.push_back(item.isNone() ? kNoValue : value_of(tracer, item.toTensor()));
      }
      return list;
    }
    case OperandKind::kIntList: return int_list(value);
    case OperandKind::kInt:
    case OperandKind::kFloat:
    case OperandKind::kBool:
    case OperandKind::kScalar: return number_argument(value);
    case OperandKind::kFloatList: return value.toDoubleVector();
    case OperandKind::kBoolList: {
      BoolList list;
      for (bool item : value.toBoolList()) list.push_back(item);
      return list;
    }
    case OperandKind::kString: return value.toStringRef();
    case OperandKind::kDType: return to_dtype(static_cast<c10::ScalarType>(value.toInt()));
    case OperandKind::kDevice: return Device{value.toDevice().str()};
    case OperandKind::kLayout: {
      std::string name = streamed(value.toLayout());
      for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
      return Layout{std::move(name)};
    }
    case OperandKind::kMemoryFormat: return MemoryFormat{format_name(value.toMemoryFormat())};
    default: break;
  }
  throw Error(ErrorCode::kUnsupported,
              "an operand of type " + value.tagKind() + " cannot be captured");
}

c10::IValue to_ivalue(const Argument& argument, const OperandInfo& operand,
                      std::span<const int64_t> values,
                      const std::function<at::Tensor(ValueId)>& tensor) {
  const OperandKind kind = operand.kind;
  if (std::holds_alternative<None>(argument)) return {};
  if (const auto* ref = std::get_if<ValueRef>(&argument)) return tensor(ref->id);
  if (const auto* list = std::get_if<ValueList>(&argument)) return value_list(*list, kind, tensor);
  if (kind == OperandKind::kTensor) return number_tensor(argument, values);
  if (const auto* expr = std::get_if<Expr>(&argument)) return expr_ivalue(*expr, kind, values);
  if (const auto* flag = std::get_if<bool>(&argument)) return *flag;
  if (const auto* number = std::get_if<double>(&argument)) return *number;
  if (const auto* real = std::get_if<Real>(&argument)) return real->evaluate(values);
  if (const auto* predicate = std::get_if<Predicate>(&argument)) return predicate->evaluate(values);
  if (const auto* text = std::get_if<std::string>(&argument)) return *text;
  if (const auto* dtype = std::get_if<DType>(&argument)) return to_scalar_type(*dtype);
  if (const auto* device = std::get_if<Device>(&argument)) return c10::Device(device->name);
  if (std::holds_alternative<Layout>(argument)) return c10::kStrided;
  if (const auto* format = std::get_if<MemoryFormat>(&argument)) return parse_format(format->name);
  if (const auto* list = std::get_if<IntList>(&argument)) {
    c10::List<int64_t> items;
    items.reserve(list->size());
    for (const Expr& expr : *list) items.push_back(evaluate(expr, values));
    return items;
  }
  if (const auto* list = std::get_if<FloatList>(&argument)) return c10::List<double>(*list);
  if (const auto* list = std::get_if<BoolList>(&argument)) {
    c10::List<bool> items;
    for (bool item : *list) items.push_back(item);
    return items;
  }
  c10::List<std::string> items;
  for (const std::string& item : std::get<StringList>(argument)) items.push_back(item);
  return items;
}

bool hides_symbol(const at::Tensor& tensor) { return hidden_symbol(tensor).has_value(); }

// A functional program does not keep the copies (contiguous, clone) that make a view legal in
// eager, so views run as reshapes: the same elements either way.
const std::string& runnable_name(const std::string& op) {
  static const std::string kReshape = "aten.reshape.default";
  return op == "aten.view.default" || op == "aten._unsafe_view.default" ? kReshape : op;
}

}  // namespace portwright
