// SPDX-License-Identifier: BSL-1.0
//
// Coherent: memory for rings, which a device and its driver share for longer than one I/O.

#ifndef BLKOWN_DMA_COHERENT_HPP
#define BLKOWN_DMA_COHERENT_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/detail/device_state.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/place.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <expected>
#include <memory>
#include <new>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Zeroed memory, mapped in both directions, for a submission or completion ring. free() needs the
/// proof that the device was stopped. Destroyed without free(), the memory stays mapped and
/// allocated until the device is drained. One pointer wide; move-only.
/// Precondition: the device outlives the memory.
/// Source: the kernel's dma_alloc_coherent.
template <Backend B>
class [[nodiscard]] BLKOWN_CONSUMABLE Coherent {
 public:
  /// Allocates and maps `bytes` bytes, aligned to `alignment_bytes`, a power of two.
  /// Errors: no_bytes, out_of_memory, unreachable, or the backend's.
  [[nodiscard]] static std::expected<Coherent, MapError> allocate(
      Device<B>& device, std::size_t bytes, std::size_t alignment_bytes = 4096) {
    if (bytes == 0) return failure(MapFailure::no_bytes);
    if (bytes > ~std::size_t{0} - alignment_bytes + 1) {
      return failure(MapFailure::out_of_memory, bytes);
    }
    std::unique_ptr<Block> block{new (std::nothrow) Block{device}};
    if (block == nullptr) return failure(MapFailure::out_of_memory, sizeof(Block));
    const std::size_t whole = (bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
    block->memory.reset(static_cast<std::byte*>(std::aligned_alloc(alignment_bytes, whole)));
    if (block->memory == nullptr) return failure(MapFailure::out_of_memory, whole);
    const Segment memory{block->memory.get(), bytes};
    // All of it: a backend that maps whole pages shows the device what is behind the bytes, too.
    std::memset(memory.data, 0, whole);
    return map_block(std::move(block), memory);
  }
  /// Zeroes and maps memory of the caller, such as a part of an arena that the backend has mapped.
  /// free() unmaps the memory and does not free it.
  /// Precondition: the memory outlives the mapping, which ends with free() or a drain.
  /// Errors: as allocate.
  [[nodiscard]] static std::expected<Coherent, MapError> map(Device<B>& device,
                                                             const Segment& memory) {
    if (memory.empty()) return failure(MapFailure::no_bytes);
    std::unique_ptr<Block> block{new (std::nothrow) Block{device}};
    if (block == nullptr) return failure(MapFailure::out_of_memory, sizeof(Block));
    std::memset(memory.data, 0, memory.length_bytes);
    return map_block(std::move(block), memory);
  }

  Coherent(Coherent&& other) noexcept : block_{std::exchange(other.block_, nullptr)} {}
  Coherent& operator=(Coherent&& other) noexcept {
    Coherent taken{std::move(other)};
    std::swap(block_, taken.block_);
    return *this;
  }
  BLKOWN_DETAIL_DESTRUCTOR_BEGIN
  ~Coherent() {
    if (block_ != nullptr) detail::DeviceAccess::state(block_->device).adopt(*block_);
  }
  BLKOWN_DETAIL_DESTRUCTOR_END

  /// The memory. The pointer ends with the handle.
  BLKOWN_NEEDS_HELD [[nodiscard]] std::byte* data(Place where = Place::current()) const& noexcept {
    return blkown::detail::held(block_, "dma::Coherent::data", where).data;
  }
  /// A pointer to the memory of a temporary would outlive the handle: name the handle first.
  std::byte* data(Place where = {}) const&& = delete;
  /// The device address of the memory.
  BLKOWN_NEEDS_HELD [[nodiscard]] const IovaSegment& segment(
      Place where = Place::current()) const noexcept {
    return blkown::detail::held(block_, "dma::Coherent::segment", where).segment;
  }

  /// Unmaps and frees the memory.
  /// Errors: returns the Coherent, still mapped, if the proof does not show that the device was
  /// stopped after the allocation, or if the backend cannot unmap, which is reported.
  BLKOWN_CONSUMES [[nodiscard]] std::expected<void, Coherent> free(
      const EndProof& proof, Place where = Place::current()) && noexcept {
    Block& block =
        blkown::detail::held(std::exchange(block_, nullptr), "dma::Coherent::free", where);
    detail::DeviceState& state = detail::DeviceAccess::state(block.device);
    if (!state.is_stopped_since(proof, block.epoch)) return std::unexpected(Coherent{&block});
    if (!Block::free_block(block)) return std::unexpected(Coherent{&block});
    state.remove_coherent();
    return {};
  }

  // --- deleted: a call on an lvalue ---

  BLKOWN_DETAIL_CONSUMES_LVALUE(free, const EndProof&);

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  struct Block : detail::Orphan {
    explicit Block(Device<B>& owner) noexcept : Orphan{&Block::free_block}, device{owner} {}
    static bool free_block(Orphan& orphan) {
      auto& block = static_cast<Block&>(orphan);
      B& backend = block.device.backend();
      // As for the elements of a list: an unmap that has succeeded is not called again.
      block.is_unmapped = block.is_unmapped || backend.unmap(block.segment).has_value();
      if (!block.is_unmapped || !backend.invalidate({&block.segment, 1}).has_value()) {
        blkown::detail::report(Report::unmap_failed,
                               Incident::of("unmap of a dma::Coherent", Place{}));
        return false;
      }
      delete &block;
      return true;
    }
    Device<B>& device;
    std::unique_ptr<std::byte, Free> memory;  // null: the caller's
    std::byte* data = nullptr;
    IovaSegment segment;
    bool is_unmapped = false;
  };

  explicit Coherent(Block* block) noexcept : block_{block} {}

  [[nodiscard]] static std::expected<Coherent, MapError> map_block(std::unique_ptr<Block> block,
                                                                   const Segment& memory) {
    B& backend = block->device.backend();
    const DeviceLimits limits = backend.limits();
    for (const std::byte* end : {memory.data, memory.end() - 1}) {
      if ((detail::bus_address(backend, end) & ~limits.address_mask) != 0) {
        return failure(MapFailure::unreachable, limits.address_mask);
      }
    }
    const auto iova = backend.map(memory, Direction::bidirectional, no_io);
    if (!iova.has_value()) return failure(iova.error());
    block->data = memory.data;
    block->segment = {.iova = *iova, .length_bytes = memory.length_bytes};
    block->epoch = detail::DeviceAccess::state(block->device).epoch();
    detail::DeviceAccess::state(block->device).add_coherent();
    return Coherent{block.release()};
  }

  [[nodiscard]] static std::unexpected<MapError> failure(MapFailure reason,
                                                         std::uint64_t limit = 0) noexcept {
    return std::unexpected(MapError{.reason = reason, .segment = 0, .limit = limit});
  }

  Block* block_;
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
