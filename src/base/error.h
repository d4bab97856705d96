// The one error type of the engine. The C++ core throws it; Python sees the exception class of the
// same name (python/portwright/errors.py), chosen by the code.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace portwright {

// What went wrong, in the sense of what the caller can do about it.
enum class ErrorCode : uint8_t {
  kInvalidArgument,  // the caller passed something that can never work
  kUnsupported,      // valid, but this version cannot do it
  kMissingLowering,  // ops without an entry in the backend's table
  kDataDependent,    // the model decides on a tensor's value
  kGuardViolated,    // an input or an explicit Dim breaks a recorded condition
  kOverflow,         // symbolic arithmetic left the 64-bit range
  kIo,               // the operating system refused to read or write
  kCorrupt,          // a file is truncated or is not what it claims to be
  kParse,            // IR text that does not follow the grammar
  kInternal,         // a bug in Portwright
};

std::string_view to_string(ErrorCode code);

// A line of the model's Python source.
struct SourceLine {
  std::string file;
  int line = 0;

  bool known() const { return !file.empty(); }
  friend bool operator==(const SourceLine&, const SourceLine&) = default;
};

// "modeling_bert.py:101", or "" when unknown.
std::string to_string(const SourceLine& source);

class Error : public std::runtime_error {
 public:
  // `message` holds the values and says what to do next.
  Error(ErrorCode code, const std::string& message);
  // The same, with where in the model it happened appended to what().
  Error(ErrorCode code, const std::string& message, SourceLine source, std::string module_path);

  // The same error with a further line, before the place.
  Error with_line(const std::string& line) const;

  ErrorCode code() const { return code_; }
  const SourceLine& source() const { return source_; }
  const std::string& module_path() const { return module_path_; }

 private:
  ErrorCode code_;
  std::string message_;  // without the place
  SourceLine source_;
  std::string module_path_;
};

}  // namespace portwright
