// SPDX-License-Identifier: BSL-1.0
//
// UringBuffers: a backend for the registered buffers of io_uring. Not part of dma.hpp: a program
// that includes this header links liburing.

#ifndef BLKOWN_DMA_URING_BUFFERS_HPP
#define BLKOWN_DMA_URING_BUFFERS_HPP

#include <liburing.h>
#include <sys/uio.h>  // IWYU pragma: keep (iovec)

#include <algorithm>  // IWYU pragma: keep (std::ranges)
#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <iterator>
#include <optional>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Memory that the kernel maps once for a ring instead of once for each command. Mapping an I/O
/// then costs two searches among the regions. The mapping still gives the I/O its pin and its
/// proof: the kernel may access the memory until the command's own completion, also after a timeout
/// or a cancel. A device address is the address of the memory.
/// Context: any.
class UringBuffers {
 public:
  /// Precondition: the regions are sorted by address and do not overlap. The regions and their
  /// memory outlive this object and every ring that they are registered with.
  explicit UringBuffers(std::span<const iovec> regions) noexcept : regions_{regions} {}
  UringBuffers(const UringBuffers&) = delete;
  UringBuffers& operator=(const UringBuffers&) = delete;
  /// Violation: object_in_use, if a device uses this object.
  ~UringBuffers() {
    users_.check_unused("destruction of dma::UringBuffers", "dma::UringBuffers",
                        "destroy that object first");
  }

  /// Registers the regions with a ring until the ring is closed. Without registration mappings work
  /// too, with plain reads and writes as their commands.
  /// Precondition: no other context uses this object yet, and no ring was registered before.
  /// Errors: an errno value, most often ENOMEM for the limit on locked memory; 0 on success.
  [[nodiscard]] int register_with(io_uring& ring) noexcept {
    const int result =
        io_uring_register_buffers(&ring, regions_.data(), static_cast<unsigned>(regions_.size()));
    is_registered_ = result == 0;
    return -result;
  }
  /// Whether the regions were registered with a ring.
  [[nodiscard]] bool is_registered() const noexcept { return is_registered_; }

  /// The index of the buffer that holds a mapped element, for io_uring_prep_read_fixed and
  /// io_uring_prep_write_fixed. None without registration: use io_uring_prep_read and
  /// io_uring_prep_write.
  [[nodiscard]] std::optional<int> buffer_index(std::uint64_t iova) const noexcept {
    const iovec* const region = region_of(iova);
    if (!is_registered_ || region == nullptr) return std::nullopt;
    return static_cast<int>(region - regions_.data());
  }

  // --- Backend ----------------------------------------------------------------------------------

  /// One command takes one element, no longer than the command's result can count.
  [[nodiscard]] DeviceLimits limits() const noexcept { return {.max_segment_bytes = 0x7FFF'F000}; }

  /// Two adjacent regions are two elements: a command can reach only one region.
  [[nodiscard]] std::uint64_t mappable_bytes(const std::byte* data) const noexcept {
    const std::uint64_t iova = reinterpret_cast<std::uintptr_t>(data);
    const iovec* const region = region_of(iova);
    return region == nullptr ? 0 : region->iov_len - (iova - first_of(*region));
  }

  /// Errors: refused, if no region holds all of the bytes. This error is permanent, because the
  /// regions do not change. Registered memory is never short.
  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map(const Segment& memory, Direction,
                                                             const Cookie&) const noexcept {
    if (memory.length_bytes > mappable_bytes(memory.data))
      return std::unexpected(MapFailure::refused);
    return reinterpret_cast<std::uintptr_t>(memory.data);
  }
  /// Nothing to do: the regions stay registered.
  std::expected<void, MapFailure> unmap(const IovaSegment&) const noexcept { return {}; }
  /// Nothing to do: no cache holds translations.
  std::expected<void, MapFailure> invalidate(std::span<const IovaSegment>) const noexcept {
    return {};
  }
  /// The devices that use this object.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }

 private:
  [[nodiscard]] static std::uint64_t first_of(const iovec& region) noexcept {
    return reinterpret_cast<std::uintptr_t>(region.iov_base);
  }
  /// The region that contains this address, or null.
  [[nodiscard]] const iovec* region_of(std::uint64_t iova) const noexcept {
    const auto next = std::ranges::upper_bound(regions_, iova, {}, first_of);
    if (next == regions_.begin()) return nullptr;
    const iovec& region = *std::prev(next);
    return iova - first_of(region) < region.iov_len ? &region : nullptr;
  }

  std::span<const iovec> regions_;
  bool is_registered_ = false;
  blkown::detail::UserList users_;
};

static_assert(Backend<UringBuffers>);

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
