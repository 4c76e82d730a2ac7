// SPDX-License-Identifier: BSL-1.0
//
// An integer in memory that a controller also reads or writes.

#ifndef BLKOWN_NVME_LITTLE_ENDIAN_HPP
#define BLKOWN_NVME_LITTLE_ENDIAN_HPP

#include <bit>
#include <blkown/config.hpp>
#include <concepts>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace nvme {

/// An unsigned integer whose bytes are in little-endian order, as in every structure of NVMe. It
/// converts from and to the integer. A LittleEndian is as large and as aligned as the integer, so
/// that std::atomic_ref and dma::load_acquire take one.
/// Source: NVMe Base 1.4, section 1.8.
template <std::unsigned_integral T>
class LittleEndian {
 public:
  constexpr LittleEndian() noexcept = default;
  /// From the integer.
  constexpr LittleEndian(T value) noexcept : bytes_{reordered(value)} {}

  /// The integer.
  constexpr operator T() const noexcept { return reordered(bytes_); }
  /// The integer.
  [[nodiscard]] constexpr T get() const noexcept { return reordered(bytes_); }

 private:
  [[nodiscard]] static constexpr T reordered(T value) noexcept {
    if constexpr (std::endian::native == std::endian::big) {
      return std::byteswap(value);
    } else {
      return value;
    }
  }

  T bytes_ = 0;
};

using Le16 = LittleEndian<std::uint16_t>;
using Le32 = LittleEndian<std::uint32_t>;
using Le64 = LittleEndian<std::uint64_t>;

}  // namespace nvme
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
