#include "capture/op_catalog.h"

#include <ATen/core/enum_tag.h>
#include <torch/csrc/jit/runtime/operator.h>

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace portwright {
namespace {

using c10::TypeKind;

// Composites that stay whole: the backends lower them well, or their C++ implementation reads sizes
// or data in a way that would bake them in.
const std::unordered_set<std::string_view>& kept_composite_names() {
  static const std::unordered_set<std::string_view> kKept = {
      "aten::linear",
      "aten::matmul",
      "aten::layer_norm",
      "aten::rms_norm",
      "aten::group_norm",
      "aten::batch_norm",
      "aten::instance_norm",
      "aten::scaled_dot_product_attention",
      "aten::softmax",
      "aten::log_softmax",
      "aten::reshape",
      "aten::flatten",
      "aten::unflatten",
      "aten::einsum",
      "aten::conv1d",
      "aten::conv2d",
      "aten::conv3d",
      "aten::conv_transpose1d",
      "aten::conv_transpose2d",
      "aten::conv_transpose3d",
      "aten::chunk",
      "aten::nonzero_numpy",
      "aten::log_sigmoid",
      "aten::pad",
      "aten::one_hot",
      "aten::lstm",
      "aten::rnn_relu",
      "aten::rnn_tanh",
      "aten::gru",
      "aten::repeat_interleave",
      "aten::tensor_split",
      "aten::avg_pool1d",
      "aten::adaptive_avg_pool1d",
      "aten::adaptive_avg_pool2d",
      "aten::max_pool1d",
      "aten::max_pool2d",
      "aten::max_pool3d",
      "aten::upsample_nearest1d",
      "aten::upsample_nearest2d",
      "aten::upsample_nearest3d",
      "aten::upsample_linear1d",
      "aten::upsample_bilinear2d",
      "aten::upsample_bicubic2d",
      "aten::upsample_trilinear3d",
      "aten::_upsample_bilinear2d_aa",
      "aten::_upsample_bicubic2d_aa",
      "aten::linspace",
      "aten::cumulative_trapezoid",
      "aten::cosine_similarity",
      "aten::pixel_shuffle",
      "aten::pixel_unshuffle",
      "aten::dropout",
      "aten::tile",
  };
  return kKept;
}

UnderAutocast under_autocast(const c10::OperatorHandle& op) {
  static const std::unordered_map<std::string_view, UnderAutocast> kComposites = {
      {"aten::einsum", UnderAutocast::kInParts},
      {"aten::pad", UnderAutocast::kInParts},
      {"aten::lstm", UnderAutocast::kRefused},
      {"aten::gru", UnderAutocast::kRefused},
  };
  if (op.hasKernelForDispatchKey(c10::DispatchKey::AutocastCPU)) return UnderAutocast::kKernel;
  const auto found = kComposites.find(op.schema().name());
  return found == kComposites.end() ? UnderAutocast::kSame : found->second;
}

const std::unordered_set<std::string_view>& aliasing_ops() {
  static const std::unordered_set<std::string_view> kAliasing = {
      "aten::detach", "aten::alias", "aten::lift", "aten::lift_fresh", "aten::detach_"};
  return kAliasing;
}

const std::unordered_set<std::string_view>& data_dependent_ops() {
  static const std::unordered_set<std::string_view> kDataDependent = {
      "aten::_local_scalar_dense", "aten::item",     "aten::equal",
      "aten::is_nonzero",          "aten::allclose",
  };
  return kDataDependent;
}

const std::unordered_set<std::string_view>& assertions() {
  static const std::unordered_set<std::string_view> kAssertions = {
      "aten::_assert_async", "aten::_assert_tensor_metadata", "aten::_assert_scalar"};
  return kAssertions;
}

OperandKind operand_kind(const c10::TypePtr& given) {
  c10::TypePtr type = given;
  if (auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
  switch (type->kind()) {
    case TypeKind::TensorType: return OperandKind::kTensor;
    case TypeKind::IntType:
    case TypeKind::SymIntType: return OperandKind::kInt;
    case TypeKind::FloatType:
    case TypeKind::SymFloatType: return OperandKind::kFloat;
    case TypeKind::BoolType:
    case TypeKind::SymBoolType: return OperandKind::kBool;
    case TypeKind::NumberType: return OperandKind::kScalar;
    case TypeKind::StringType: return OperandKind::kString;
    case TypeKind::ScalarTypeType: return OperandKind::kDType;
    case TypeKind::DeviceObjType: return OperandKind::kDevice;
    case TypeKind::LayoutType: return OperandKind::kLayout;
    case TypeKind::MemoryFormatType: return OperandKind::kMemoryFormat;
    case TypeKind::GeneratorType: return OperandKind::kGenerator;
    default: break;
  }
  auto list = type->cast<c10::ListType>();
  if (!list) return OperandKind::kOther;
  const c10::TypePtr element = list->getElementType();
  switch (element->kind()) {
    case TypeKind::TensorType: return OperandKind::kTensorList;
    case TypeKind::OptionalType: return OperandKind::kOptionalTensorList;
    case TypeKind::IntType:
    case TypeKind::SymIntType: return OperandKind::kIntList;
    case TypeKind::FloatType: return OperandKind::kFloatList;
    case TypeKind::BoolType: return OperandKind::kBoolList;
    case TypeKind::StringType: return OperandKind::kStringList;
    default: return OperandKind::kOther;
  }
}

bool writes(const c10::Argument& argument) {
  return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

// Kept composites whose schema does not say that they return views.
bool is_reshape(const std::string& name) {
  return name == "aten::reshape" || name == "aten::flatten" || name == "aten::unflatten";
}

bool returns_view(const c10::FunctionSchema& schema) {
  static const std::unordered_set<std::string_view> kCompositeViews = {"aten::chunk",
                                                                       "aten::tensor_split"};
  if (is_reshape(schema.name()) || kCompositeViews.contains(schema.name())) return true;
  if (schema.returns().empty()) return false;
  const auto* alias = schema.returns()[0].alias_info();
  return alias != nullptr && !alias->isWrite();
}

OpKind classify(const c10::OperatorHandle& op) {
  const c10::FunctionSchema& schema = op.schema();
  const std::string& name = schema.name();
  if (aliasing_ops().contains(name)) return OpKind::kAlias;
  if (assertions().contains(name)) return OpKind::kAssertion;
  if (data_dependent_ops().contains(name)) return OpKind::kDataDependent;
  for (const c10::Argument& argument : schema.arguments()) {
    if (argument.is_out()) return OpKind::kOut;
  }
  const bool composite = op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd);
  if (composite && !kept_composite_names().contains(name)) return OpKind::kDecompose;
  if (!schema.arguments().empty() && writes(schema.arguments()[0])) return OpKind::kInPlace;
  return returns_view(schema) ? OpKind::kView : OpKind::kRecord;
}

// Whether `candidate` writes nothing and its first operands are all of `op`'s but the outs.
bool computes_the_same(const c10::FunctionSchema& candidate, const c10::FunctionSchema& op) {
  const auto& ours = candidate.arguments();
  size_t next = 0;
  for (const c10::Argument& argument : op.arguments()) {
    if (argument.is_out()) continue;
    if (next >= ours.size() || writes(ours[next])) return false;
    if (*ours[next].real_type() != *argument.real_type()) return false;
    ++next;
  }
  return next == ours.size();
}

}  // namespace

std::vector<std::string> kept_composites() {
  std::vector<std::string> names;
  for (std::string_view name : kept_composite_names()) names.emplace_back(name.substr(6));
  std::sort(names.begin(), names.end());
  return names;
}

std::string export_name(const c10::OperatorName& name) {
  std::string text = name.name;
  const size_t colons = text.find("::");
  if (colons != std::string::npos) text.replace(colons, 2, ".");
  return text + "." + (name.overload_name.empty() ? "default" : name.overload_name);
}

c10::OperatorHandle find_operator(const std::string& export_name) {
  const size_t first = export_name.find('.');
  const size_t last = export_name.rfind('.');
  if (first == std::string::npos || first == last) {
    throw Error(ErrorCode::kInvalidArgument,
                "'" + export_name + "' is not an operator name such as aten.add.Tensor");
  }
  std::string overload = export_name.substr(last + 1);
  if (overload == "default") overload.clear();
  const c10::OperatorName name(
      export_name.substr(0, first) + "::" + export_name.substr(first + 1, last - first - 1),
      overload);
  auto handle = c10::Dispatcher::singleton().findSchema(name);
  if (!handle) {
    throw Error(ErrorCode::kUnsupported,
                "this PyTorch has no operator " + export_name + "; was its library imported?");
  }
  return *handle;
}

OpCatalog::OpCatalog() = default;

const OpInfo& OpCatalog::find(const c10::OperatorHandle& op) {
  const c10::FunctionSchema& schema = op.schema();
  auto found = by_schema_.find(&schema);
  if (found != by_schema_.end()) return *found->second;

  auto info = std::make_unique<OpInfo>(op);
  info->name = export_name(op.operator_name());
  info->kind = classify(op);
  for (const c10::Argument& argument : schema.arguments()) {
    info->operands.push_back({argument.name(), operand_kind(argument.real_type())});
  }
  for (const c10::Argument& result : schema.returns()) {
    info->returns_list.push_back(result.type()->kind() == TypeKind::ListType);
  }
  info->copies_when_strided = is_reshape(schema.name());
  info->under_autocast = under_autocast(op);
  info->random = op.hasTag(at::Tag::nondeterministic_seeded);
  info->rule = find_shape_rule(info->name);
  by_name_.emplace(info->name, info.get());
  return *by_schema_.emplace(&schema, std::move(info)).first->second;
}

const OpInfo& OpCatalog::find(const std::string& name) {
  auto found = by_name_.find(name);
  return found != by_name_.end() ? *found->second : find(find_operator(name));
}

const OpInfo* OpCatalog::functional_form(const OpInfo& op) {
  auto [entry, added] = functional_forms_.try_emplace(&op, nullptr);
  if (!added) return entry->second;
  const c10::FunctionSchema& schema = op.handle.schema();
  std::string name = schema.name();
  if (name.back() == '_') name.pop_back();
  for (const std::string& candidate : {name, name + "_functional"}) {
    for (const auto& found :
         torch::jit::getAllOperatorsFor(c10::Symbol::fromQualString(candidate))) {
      if (!computes_the_same(found->schema(), schema)) continue;
      auto handle = c10::Dispatcher::singleton().findSchema(found->schema().operator_name());
      if (!handle) continue;
      return functional_forms_[&op] = &find(*handle);
    }
  }
  return nullptr;
}

}  // namespace portwright
