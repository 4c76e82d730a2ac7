// SPDX-License-Identifier: BSL-1.0
//
// ZeroedMemory: memory that is all zeroes at first.

#ifndef BLKOWN_SIM_DEVICE_MEDIA_ZEROED_MEMORY_HPP
#define BLKOWN_SIM_DEVICE_MEDIA_ZEROED_MEMORY_HPP

#include <blkown/config.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#if defined(__SANITIZE_ADDRESS__)
#define BLKOWN_SIM_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLKOWN_SIM_HAS_ASAN 1
#endif
#endif
#ifndef BLKOWN_SIM_HAS_ASAN
#define BLKOWN_SIM_HAS_ASAN 0
#endif

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// Zeroes. A block beyond the threshold from which malloc asks the system (4 MiB in a program of
/// the kit with glibc) comes as zeroes, and takes memory only where it is written: a run of many
/// disks uses a small part of each. A smaller block may be memory that was freed, and is cleared.
///
/// AddressSanitizer reports the first byte behind the end and the last one before the begin.
class ZeroedMemory {
 public:
  /// `alignment` is a power of two. Without memory the process ends.
  explicit ZeroedMemory(std::size_t size_bytes, std::size_t alignment = alignof(std::max_align_t))
      : size_bytes_{size_bytes},
        block_{allocate(size_bytes == 0 ? 1 : size_bytes, alignment)},
        begin_{block_.get()} {
    if (block_ == nullptr) std::abort();
    const std::size_t behind = reinterpret_cast<std::uintptr_t>(begin_) % alignment;
    if (behind != 0) begin_ += alignment - behind;
  }

  [[nodiscard]] std::byte* data() noexcept { return begin_; }
  [[nodiscard]] const std::byte* data() const noexcept { return begin_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_bytes_; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {begin_, size_bytes_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  /// A block that has `size_bytes` bytes from its first aligned address on, and no more where
  /// AddressSanitizer is to see an overrun.
  [[nodiscard]] static std::byte* allocate(std::size_t size_bytes, std::size_t alignment) noexcept {
    if (alignment <= alignof(std::max_align_t)) {
      return static_cast<std::byte*>(std::calloc(size_bytes, 1));
    }
#if BLKOWN_SIM_HAS_ASAN
    // Not aligned_alloc, whose sizes are multiples of the alignment.
    void* block = nullptr;
    if (posix_memalign(&block, alignment, size_bytes) != 0) return nullptr;
    std::memset(block, 0, size_bytes);
    return static_cast<std::byte*>(block);
#else
    return static_cast<std::byte*>(std::calloc(size_bytes + alignment, 1));
#endif
  }

  std::size_t size_bytes_;
  std::unique_ptr<std::byte, Free> block_;
  std::byte* begin_;
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
