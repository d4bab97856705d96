#include "base/error.h"

#include <array>
#include <utility>

namespace portwright {
namespace {

std::string with_place(const std::string& message, const SourceLine& source,
                       const std::string& module_path) {
  std::string text = message;
  if (source.known()) text += "\n  at " + to_string(source);
  if (!module_path.empty()) text += "\n  in module " + module_path;
  return text;
}

}  // namespace

std::string_view to_string(ErrorCode code) {
  static constexpr std::array<std::string_view, 10> kNames = {
      "InvalidArgument", "Unsupported", "MissingLowering", "DataDependent", "GuardViolated",
      "Overflow",        "Io",          "Corrupt",         "Parse",         "Internal"};
  return kNames.at(static_cast<size_t>(code));
}

std::string to_string(const SourceLine& source) {
  return source.known() ? source.file + ":" + std::to_string(source.line) : std::string();
}

Error::Error(ErrorCode code, const std::string& message)
    : std::runtime_error(message), code_(code), message_(message) {}

Error::Error(ErrorCode code, const std::string& message, SourceLine source, std::string module_path)
    : std::runtime_error(with_place(message, source, module_path)),
      code_(code),
      message_(message),
      source_(std::move(source)),
      module_path_(std::move(module_path)) {}

Error Error::with_line(const std::string& line) const {
  return {code_, message_ + "\n  " + line, source_, module_path_};
}

}  // namespace portwright
