// Field numbers of onnx.proto. tests/python/test_onnx_fields.py checks each against the onnx
// package: keep one constant a line, `k<Message>_<field>`.
#pragma once

#include <cstdint>

namespace portwright::onnx_fields {

inline constexpr uint32_t kModelProto_ir_version = 1;
inline constexpr uint32_t kModelProto_producer_name = 2;
inline constexpr uint32_t kModelProto_producer_version = 3;
inline constexpr uint32_t kModelProto_graph = 7;
inline constexpr uint32_t kModelProto_opset_import = 8;
inline constexpr uint32_t kModelProto_metadata_props = 14;

inline constexpr uint32_t kOperatorSetIdProto_domain = 1;
inline constexpr uint32_t kOperatorSetIdProto_version = 2;

inline constexpr uint32_t kStringStringEntryProto_key = 1;
inline constexpr uint32_t kStringStringEntryProto_value = 2;

inline constexpr uint32_t kGraphProto_node = 1;
inline constexpr uint32_t kGraphProto_name = 2;
inline constexpr uint32_t kGraphProto_initializer = 5;
inline constexpr uint32_t kGraphProto_input = 11;
inline constexpr uint32_t kGraphProto_output = 12;
inline constexpr uint32_t kGraphProto_value_info = 13;

inline constexpr uint32_t kNodeProto_input = 1;
inline constexpr uint32_t kNodeProto_output = 2;
inline constexpr uint32_t kNodeProto_name = 3;
inline constexpr uint32_t kNodeProto_op_type = 4;
inline constexpr uint32_t kNodeProto_attribute = 5;
inline constexpr uint32_t kNodeProto_doc_string = 6;
inline constexpr uint32_t kNodeProto_domain = 7;

inline constexpr uint32_t kAttributeProto_name = 1;
inline constexpr uint32_t kAttributeProto_f = 2;
inline constexpr uint32_t kAttributeProto_i = 3;
inline constexpr uint32_t kAttributeProto_s = 4;
inline constexpr uint32_t kAttributeProto_g = 6;
inline constexpr uint32_t kAttributeProto_floats = 7;
inline constexpr uint32_t kAttributeProto_ints = 8;
inline constexpr uint32_t kAttributeProto_strings = 9;
inline constexpr uint32_t kAttributeProto_type = 20;

inline constexpr uint32_t kTensorProto_dims = 1;
inline constexpr uint32_t kTensorProto_data_type = 2;
inline constexpr uint32_t kTensorProto_name = 8;
inline constexpr uint32_t kTensorProto_raw_data = 9;
inline constexpr uint32_t kTensorProto_external_data = 13;
inline constexpr uint32_t kTensorProto_data_location = 14;

inline constexpr uint32_t kValueInfoProto_name = 1;
inline constexpr uint32_t kValueInfoProto_type = 2;

inline constexpr uint32_t kTypeProto_tensor_type = 1;
inline constexpr uint32_t kTypeProto_sequence_type = 4;
inline constexpr uint32_t kTypeProto_Sequence_elem_type = 1;
inline constexpr uint32_t kTypeProto_Tensor_elem_type = 1;
inline constexpr uint32_t kTypeProto_Tensor_shape = 2;
inline constexpr uint32_t kTensorShapeProto_dim = 1;
inline constexpr uint32_t kTensorShapeProto_Dimension_dim_value = 1;
inline constexpr uint32_t kTensorShapeProto_Dimension_dim_param = 2;

}  // namespace portwright::onnx_fields
