// Words of the text form, shared by printer and parser.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "ir/program.h"

namespace portwright {

inline constexpr std::array kInputWords = {
    std::pair{InputKind::kUserInput, std::string_view("user")},
    std::pair{InputKind::kParameter, std::string_view("parameter")},
    std::pair{InputKind::kBuffer, std::string_view("buffer")},
    std::pair{InputKind::kConstantTensor, std::string_view("constant")},
};
inline constexpr std::array kOutputWords = {
    std::pair{OutputKind::kUserOutput, std::string_view("user")},
    std::pair{OutputKind::kBufferMutation, std::string_view("buffer_mutation")},
    std::pair{OutputKind::kUserInputMutation, std::string_view("user_input_mutation")},
};
inline constexpr std::array kGuardWords = {
    std::pair{GuardKind::kDecision, std::string_view("decision")},
    std::pair{GuardKind::kEquality, std::string_view("equality")},
    std::pair{GuardKind::kRuntimeAssert, std::string_view("assert")},
};

template <typename Table, typename Kind>
std::string_view word_of(const Table& table, Kind kind) {
  for (const auto& [value, word] : table) {
    if (value == kind) return word;
  }
  return "";
}

// Weights of at most this many elements are printed with their values.
inline constexpr int64_t kPrintedElements = 16;

}  // namespace portwright
