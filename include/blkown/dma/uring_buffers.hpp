// SPDX-License-Identifier: BSL-1.0
//
// UringBuffers: a backend over io_uring's registered buffers. Not part of dma.hpp; who includes it
// links liburing.

#ifndef BLKOWN_DMA_URING_BUFFERS_HPP
#define BLKOWN_DMA_URING_BUFFERS_HPP

#include <liburing.h>
#include <sys/uio.h>

#include <algorithm>
#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <optional>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Memory that the kernel maps once for a ring, and not at each command. A mapping of an I/O then
/// costs two searches among the regions; what it is for is its pin and its proof: the kernel reads
/// and writes the memory until the command's own completion, whatever a timeout or a cancel says.
///
/// A device address is the memory's own. Any context.
class UringBuffers {
 public:
  /// Precondition: the regions are in the order of their addresses, do not overlap, and live, like
  /// their memory, as long as this and as every ring that they are registered with.
  explicit UringBuffers(std::span<const iovec> regions) noexcept : regions_{regions} {}
  UringBuffers(const UringBuffers&) = delete;
  UringBuffers& operator=(const UringBuffers&) = delete;

  /// Registers the regions with a ring, for as long as that is open.
  /// Returns 0, or an errno value: most often ENOMEM, for the limit on locked memory. Mappings work
  /// without, too; their commands are plain reads and writes then.
  /// Precondition: no other context uses this yet, and none was registered before.
  [[nodiscard]] int register_with(io_uring& ring) noexcept {
    const int result =
        io_uring_register_buffers(&ring, regions_.data(), static_cast<unsigned>(regions_.size()));
    is_registered_ = result == 0;
    return -result;
  }
  [[nodiscard]] bool is_registered() const noexcept { return is_registered_; }

  /// Which buffer a mapped element is in, for io_uring_prep_read_fixed and write_fixed; none where
  /// they are not registered, for io_uring_prep_read and write.
  [[nodiscard]] std::optional<int> buffer_index(std::uint64_t iova) const noexcept {
    const iovec* const region = region_of(iova);
    if (!is_registered_ || region == nullptr) return std::nullopt;
    return static_cast<int>(region - regions_.data());
  }

  // --- Backend ----------------------------------------------------------------------------------

  /// One command takes one element, of no more bytes than its result can say.
  [[nodiscard]] DeviceLimits limits() const noexcept { return {.max_segment_bytes = 0x7FFF'F000}; }

  /// Regions that lie side by side stay two: a command reaches into one only.
  [[nodiscard]] std::uint64_t mappable_bytes(const std::byte* data) const noexcept {
    const std::uint64_t iova = reinterpret_cast<std::uintptr_t>(data);
    const iovec* const region = region_of(iova);
    return region == nullptr ? 0 : region->iov_len - (iova - first_of(*region));
  }

  /// Errors: refused, if no one region holds all of the bytes.
  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map(std::byte* data,
                                                             std::size_t length_bytes, Direction,
                                                             const Cookie&) const noexcept {
    if (length_bytes > mappable_bytes(data)) return std::unexpected(MapFailure::refused);
    return reinterpret_cast<std::uintptr_t>(data);
  }
  void unmap(const IovaSegment&) const noexcept {}
  void invalidate(std::span<const IovaSegment>) const noexcept {}

 private:
  [[nodiscard]] static std::uint64_t first_of(const iovec& region) noexcept {
    return reinterpret_cast<std::uintptr_t>(region.iov_base);
  }
  /// The region that this byte is in, or null.
  [[nodiscard]] const iovec* region_of(std::uint64_t iova) const noexcept {
    const auto behind = std::ranges::upper_bound(regions_, iova, {}, first_of);
    if (behind == regions_.begin()) return nullptr;
    const iovec& region = *std::prev(behind);
    return iova - first_of(region) < region.iov_len ? &region : nullptr;
  }

  std::span<const iovec> regions_;
  bool is_registered_ = false;
};

static_assert(Backend<UringBuffers>);

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
