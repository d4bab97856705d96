#include "onnx/proto_reader.h"

#include "onnx/proto_fields.h"

namespace portwright {

std::pair<std::string, std::string> read_entry(ProtoReader entry) {
  std::pair<std::string, std::string> found;
  while (entry.next()) {
    if (entry.tag() == onnx_fields::kStringStringEntryProto_key) {
      found.first = entry.text();
    } else if (entry.tag() == onnx_fields::kStringStringEntryProto_value) {
      found.second = entry.text();
    } else {
      entry.skip();
    }
  }
  return found;
}

}  // namespace portwright
