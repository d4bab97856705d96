// Reads protobuf messages that may be damaged or hostile: what is not of the kind that is asked for
// is a protozero::exception, where protozero itself asserts.
#pragma once

#include <cstdint>
#include <protozero/pbf_reader.hpp>
#include <span>
#include <string>

namespace portwright {

class ProtoReader {
 public:
  explicit ProtoReader(std::span<const std::byte> bytes)
      : reader_(reinterpret_cast<const char*>(bytes.data()), bytes.size()) {}
  explicit ProtoReader(protozero::data_view view) : reader_(view) {}

  bool next() { return reader_.next(); }
  // The next field of this number; others are skipped.
  bool next(uint32_t field) {
    while (reader_.next()) {
      if (reader_.tag() == field) return true;
      reader_.skip();
    }
    return false;
  }
  uint32_t tag() const { return reader_.tag(); }
  void skip() { reader_.skip(); }

  // The value of the current field.
  int64_t integer() {
    need(protozero::pbf_wire_type::varint);
    return reader_.get_int64();
  }
  protozero::data_view view() {
    need(protozero::pbf_wire_type::length_delimited);
    return reader_.get_view();
  }
  std::string text() {
    const protozero::data_view bytes = view();
    return {bytes.data(), bytes.size()};
  }
  ProtoReader message() { return ProtoReader(view()); }

 private:
  void need(protozero::pbf_wire_type type) const {
    if (reader_.wire_type() != type) throw protozero::unknown_pbf_wire_type_exception();
  }

  protozero::pbf_reader reader_;
};

// The key and the value of a StringStringEntryProto.
std::pair<std::string, std::string> read_entry(ProtoReader entry);

}  // namespace portwright
