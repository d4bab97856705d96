// The text form of a Program: what a person reads, what tests are written in, and what a failed
// export saves as its reproducer. print() and parse() are inverse, up to weight bytes.
//
//   program {
//     symbol batch in [1, 64] hint 2 from "input_ids.size(0)" size user
//     symbol seq in [0, inf] hint 16 from "input_ids.size(1)" size
//     guard decision seq <= 512 at "modeling_bert.py":101 in "encoder"
//     input parameter %weight "linear.weight" : f32[4, 8] = zeros
//     input user %x "x" : f32[batch, seq, 8]
//     %0 : f32[batch, seq, 4] = aten.linear.default(%x, %weight, None) at "a.py":12 in "linear"
//     %1, %2 : f32[batch, seq], i64[batch, seq] = aten.max.dim(%0, -1, False)
//     [%3, %4] : [f32[batch, 2], f32[batch, 3]] = aten.split_with_sizes.default(%1, [2, 3], 1)
//     output user "last_hidden_state" %0
//   }
//
// Argument syntax: None, True, 3, 2*seq + 1, 1.5 (doubles always have '.', 'e', 'inf' or 'nan'),
// real(sqrt(ratio(seq, 1))), pred(seq >= 2), "string", dtype f32, device "cpu", layout "strided",
// memory_format "contiguous_format", values [%1, None], ints [1, seq], floats [0.5], bools [True],
// strings ["a"]. Weights print their bytes when they have at most 16 elements ("= [1.0, 2.0]"),
// "= zeros" when all bytes are zero, else "= external" (read back as zeros).
#pragma once

#include <string>
#include <string_view>

#include "ir/program.h"

namespace portwright {

std::string print(const Program& program);
std::string to_string(const TensorType& type);
// One node as print() shows it, without its line end.
std::string print(const Program& program, const Node& node);

// Error(kParse) with line and column.
Program parse(std::string_view text);

}  // namespace portwright
