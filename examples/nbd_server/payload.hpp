// SPDX-License-Identifier: BSL-1.0
//
// PayloadPool: the memory for the data of reads and writes. Most payloads take a slot of one
// region, which a store may register with its device. A payload that is longer than a slot, or that
// finds no slot free, is taken from the heap.

#ifndef NBD_SERVER_PAYLOAD_HPP
#define NBD_SERVER_PAYLOAD_HPP

#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace nbd_server {

class PayloadPool;

/// The memory of one payload. Move-only; empty by default. The destructor gives memory of the pool
/// back.
class Payload {
 public:
  Payload() = default;
  /// Memory of another owner, who keeps it as long as the payload is used.
  explicit Payload(blkown::Segment memory) noexcept : memory_{memory} {}
  Payload(Payload&& other) noexcept
      : memory_{std::exchange(other.memory_, {})},
        taken_bytes_{std::exchange(other.taken_bytes_, 0)},
        pool_{std::exchange(other.pool_, nullptr)} {}
  Payload& operator=(Payload&& other) noexcept {
    Payload taken{std::move(other)};
    std::swap(memory_, taken.memory_);
    std::swap(taken_bytes_, taken.taken_bytes_);
    std::swap(pool_, taken.pool_);
    return *this;
  }
  inline ~Payload();

  /// The memory, as long as the data. Memory of the pool begins on a page boundary.
  [[nodiscard]] blkown::Segment memory() const noexcept { return memory_; }
  /// The bytes that were taken from the pool.
  [[nodiscard]] std::size_t taken_bytes() const noexcept { return taken_bytes_; }
  /// Makes the payload shorter.
  void shorten(std::size_t length_bytes) noexcept { memory_.length_bytes = length_bytes; }

 private:
  friend class PayloadPool;
  Payload(blkown::Segment memory, PayloadPool& pool) noexcept
      : memory_{memory}, taken_bytes_{memory.length_bytes}, pool_{&pool} {}

  blkown::Segment memory_{};
  std::size_t taken_bytes_ = 0;
  PayloadPool* pool_ = nullptr;
};

/// One worker's memory.
/// Synchronization: the worker's thread only, payloads included.
class PayloadPool {
 public:
  static constexpr std::size_t page_bytes = 4096;
  static constexpr std::size_t slot_bytes = std::size_t{128} * 1024;
  /// From slot to slot. Slots at a distance of a power of two would share sets of the processor's
  /// caches, which short payloads, all at the start of their slots, would then fight for.
  static constexpr std::size_t stride_bytes = slot_bytes + page_bytes;

  explicit PayloadPool(std::uint32_t slot_count)
      : region_{allocate(slot_count * stride_bytes)}, slot_count_{region_ ? slot_count : 0} {
    for (std::uint32_t i = slot_count_; i-- != 0;) free_.push_back(i);
  }
  PayloadPool(const PayloadPool&) = delete;
  PayloadPool& operator=(const PayloadPool&) = delete;

  /// Memory for this many bytes. None if the heap is exhausted.
  [[nodiscard]] std::optional<Payload> take(std::size_t length_bytes) {
    if (length_bytes <= slot_bytes && !free_.empty()) {
      std::byte* const slot = region_.get() + free_.back() * stride_bytes;
      free_.pop_back();
      return Payload{{slot, length_bytes}, *this};
    }
    std::byte* const memory = allocate(length_bytes).release();
    if (memory == nullptr) return std::nullopt;
    return Payload{{memory, length_bytes}, *this};
  }

  /// The memory of all slots, one after the other.
  [[nodiscard]] blkown::Segment region() const noexcept {
    return {region_.get(), slot_count_ * stride_bytes};
  }
  /// The number of slots that no payload has.
  [[nodiscard]] std::size_t free_slots() const noexcept { return free_.size(); }

 private:
  friend class Payload;
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  using Memory = std::unique_ptr<std::byte, Free>;

  [[nodiscard]] static Memory allocate(std::size_t bytes) {
    const std::size_t whole_pages = (bytes + page_bytes - 1) & ~(page_bytes - 1);
    return Memory{static_cast<std::byte*>(std::aligned_alloc(page_bytes, whole_pages))};
  }
  void give_back(std::byte* memory) noexcept {
    const std::byte* const first = region_.get();
    if (first == nullptr || std::less<>{}(memory, first) ||
        !std::less<>{}(memory, first + slot_count_ * stride_bytes)) {
      std::free(memory);
    } else {
      // The vector has had this many elements before: nothing is allocated.
      free_.push_back(static_cast<std::uint32_t>(static_cast<std::size_t>(memory - region_.get()) /
                                                 stride_bytes));
    }
  }

  Memory region_;
  std::uint32_t slot_count_ = 0;
  std::vector<std::uint32_t> free_;
};

inline Payload::~Payload() {
  if (pool_ != nullptr) pool_->give_back(memory_.data);
}

}  // namespace nbd_server

#endif
