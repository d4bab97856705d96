// Numbers of the zip format that writer and reader share. Source: PKWARE's APPNOTE 6.3, sections
// 4.3 and 4.5.
#pragma once

#include <cstddef>
#include <cstdint>

namespace portwright::zip {

inline constexpr uint32_t kLocalHeader = 0x04034b50;
inline constexpr uint32_t kDirectoryRecord = 0x02014b50;
inline constexpr uint32_t kEndOfDirectory = 0x06054b50;
inline constexpr uint32_t kEndOfDirectory64 = 0x06064b50;
inline constexpr uint32_t kLocator64 = 0x07064b50;

inline constexpr size_t kLocalHeaderSize = 30;
inline constexpr size_t kDirectoryRecordSize = 46;
inline constexpr size_t kEndOfDirectorySize = 22;
inline constexpr size_t kEndOfDirectory64Size = 56;
inline constexpr size_t kLocator64Size = 20;

inline constexpr uint16_t kStored = 0;
inline constexpr uint16_t kEncrypted = 1;  // bit of the flags
inline constexpr uint16_t kZip64Field = 1;
inline constexpr uint32_t kIn64 = 0xffffffff;  // the real value is in the zip64 field
inline constexpr uint16_t kCountIn64 = 0xffff;

}  // namespace portwright::zip
