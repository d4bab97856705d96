#include "base/memory_map.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

namespace portwright {
namespace {

// Entries of /proc/self/pagemap, a 64-bit number for each page. Source: the kernel's
// Documentation/admin-guide/mm/pagemap.rst.
constexpr uint64_t kPresent = uint64_t{1} << 63;
constexpr uint64_t kSwapped = uint64_t{1} << 62;
constexpr uint64_t kOfFile = uint64_t{1} << 61;

// A private mapping copies a page when it is written to: the page is the file's no longer.
bool is_copied(uint64_t entry) {
  if ((entry & kSwapped) != 0) return true;
  return (entry & kPresent) != 0 && (entry & kOfFile) == 0;
}

bool no_page_copied(uintptr_t begin, uintptr_t end) {
  const int descriptor = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t last = (end + page - 1) / page;
  std::array<uint64_t, 4096> entries{};
  bool untouched = true;
  for (uintptr_t at = begin / page; untouched && at < last;) {
    const size_t wanted = std::min<size_t>(entries.size(), last - at);
    const ssize_t got = ::pread(descriptor, entries.data(), wanted * sizeof(uint64_t),
                                static_cast<off_t>(at * sizeof(uint64_t)));
    const size_t count = got < 0 ? 0 : static_cast<size_t>(got) / sizeof(uint64_t);
    untouched =
        count > 0 && std::none_of(entries.begin(),
                                  entries.begin() + static_cast<std::ptrdiff_t>(count), is_copied);
    at += count;
  }
  ::close(descriptor);
  return untouched;
}

}  // namespace

MemoryMap MemoryMap::of_process() {
  MemoryMap map;
  std::ifstream lines("/proc/self/maps");
  for (std::string line; std::getline(lines, line);) {
    // "7f2b271d0000-7f2b27352000 rw-p 00000000 fe:00 2148608    /path of a file"
    std::istringstream fields(line);
    Mapping mapping;
    char dash = 0;
    std::string permissions, device, inode;
    fields >> std::hex >> mapping.begin >> dash >> mapping.end >> permissions >> mapping.offset >>
        device >> inode >> std::ws;
    std::getline(fields, mapping.path);
    if (mapping.path.empty() || mapping.path[0] != '/') continue;
    mapping.is_private = permissions.size() == 4 && permissions[3] == 'p';
    map.mappings_.push_back(std::move(mapping));
  }
  return map;
}

std::optional<MemoryMap::Origin> MemoryMap::origin(std::span<const std::byte> bytes) const {
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t end = begin + bytes.size();
  const auto after =
      std::upper_bound(mappings_.begin(), mappings_.end(), begin,
                       [](uintptr_t address, const Mapping& m) { return address < m.begin; });
  if (after == mappings_.begin()) return std::nullopt;
  const Mapping& mapping = *std::prev(after);
  if (end > mapping.end) return std::nullopt;
  if (mapping.is_private && !no_page_copied(begin, end)) return std::nullopt;
  return Origin{mapping.path, mapping.offset + (begin - mapping.begin)};
}

}  // namespace portwright
