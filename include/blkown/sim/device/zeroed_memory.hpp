// SPDX-License-Identifier: BSL-1.0
//
// ZeroedMemory: memory that is all zeroes at first.

#ifndef BLKOWN_SIM_DEVICE_ZEROED_MEMORY_HPP
#define BLKOWN_SIM_DEVICE_ZEROED_MEMORY_HPP

#include <blkown/config.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Zeroes, which are not written one by one: a large block comes from the system as zeroes, and
/// takes memory only where it is written. A run of many disks uses a small part of each.
class ZeroedMemory {
 public:
  /// `alignment` is a power of two. Without memory the process ends.
  explicit ZeroedMemory(std::size_t size_bytes, std::size_t alignment = alignof(std::max_align_t))
      : size_bytes_{size_bytes},
        block_{static_cast<std::byte*>(std::calloc(size_bytes + alignment, 1))} {
    if (block_ == nullptr) std::abort();
    const std::size_t behind = reinterpret_cast<std::uintptr_t>(block_.get()) % alignment;
    begin_ = block_.get() + (behind == 0 ? 0 : alignment - behind);
  }

  [[nodiscard]] std::byte* data() noexcept { return begin_; }
  [[nodiscard]] const std::byte* data() const noexcept { return begin_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_bytes_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {begin_, size_bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  std::size_t size_bytes_;
  std::unique_ptr<std::byte, Free> block_;
  std::byte* begin_ = nullptr;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
