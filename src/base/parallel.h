// A loop over independent pieces of work on a few threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace portwright {

// Threads that writing this many bytes is worth: on memory-backed disks the copy itself is the
// cost.
size_t writer_threads(uint64_t bytes);

// Calls `work(i)` for every i below `count` on `threads` threads, this one included, in no order.
// The first exception stops the loop and is thrown again here.
void parallel_for(size_t count, size_t threads, const std::function<void(size_t)>& work);

}  // namespace portwright
