// SPDX-License-Identifier: BSL-1.0
//
// IovaList: where a mapping keeps its scatter list, in memory of the caller's.

#ifndef BLKOWN_DMA_IOVA_LIST_HPP
#define BLKOWN_DMA_IOVA_LIST_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/dma/detail/mapping_state.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/tag.hpp>
#include <blkown/tracking.hpp>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// Why a mapping is in quarantine.
enum class QuarantineReason : std::uint8_t {
  dropped,  ///< Its handle was destroyed without proof that the device is done.
  leaked,   ///< Its request has ended with the mapping still in the request's own data.
};

[[nodiscard]] constexpr const char* to_string(QuarantineReason reason) noexcept {
  switch (reason) {
    case QuarantineReason::dropped: return "dropped";
    case QuarantineReason::leaked: return "leaked";
  }
  return "unknown reason";
}

namespace detail {

struct ListAccess;

/// Where an element's bytes come from and go to.
struct Origin {
  std::byte* data = nullptr;
  std::byte* bounce = nullptr;  // the slot that the device sees in place of data, if any
};

/// What a mapping needs to know of its request, whatever its type.
struct PinOperations {
  /// Drops the pin; the request, and the list with it, may be used anew before it returns.
  void (*drop)(void* request);
  /// Whether the I/O has ended and this pin is all that is left of it, so that nobody holds the
  /// Claim with which the mapping could be taken out.
  bool (*end_awaits_last_pin)(void* request);
};

/// The part of a list that does not depend on its length: all that is known of one mapping. It
/// stays put, so that a mapping whose handle is gone can be kept until the device is stopped.
class ListState {
 public:
  ListState(const ListState&) = delete;
  ListState& operator=(const ListState&) = delete;

  /// The scatter list for the command. Meaningful while a mapping uses the list.
  [[nodiscard]] std::span<const IovaSegment> segments() const noexcept {
    return {segments_, count_};
  }
  [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
  /// Whether no mapping uses it.
  [[nodiscard]] bool is_free() const noexcept {
    return state_.look().value() == MappingState::Value::free;
  }

 protected:
  ListState(IovaSegment* segments, Origin* origins, std::uint32_t capacity) noexcept
      : segments_{segments}, origins_{origins}, capacity_{capacity} {}
  ~ListState();

 private:
  friend struct ListAccess;

  IovaSegment* segments_;
  Origin* origins_;
  std::uint32_t capacity_;
  std::uint32_t count_ = 0;

  MappingState state_;
  Direction direction_{};
  QuarantineReason reason_{};
  bool is_bounced_ = false;
  Word epoch_ = 0;  // in which it was activated
  Cookie cookie_;   // of the publication that it is for
  const RequestHeader* header_ = nullptr;
  PublishedPointer<void> request_;
  PublishedPointer<const PinOperations> pin_;
  [[no_unique_address]] blkown::detail::Holder holder_;  // in the raw pin's place

  DeviceState* device_ = nullptr;  // the one that knows the list
  ListState* next_known_ = nullptr;
  ListState* previous_known_ = nullptr;
};

}  // namespace detail

/// Room for a scatter list of up to N elements, and for what is to be known of its mapping: part of
/// the request's data, so that nothing is allocated for an I/O. One mapping uses it at a time.
///
/// It lives at least as long as the device that was mapped for, or is free when it goes. A mapping
/// that is kept beside it is declared behind it, and so goes first.
template <std::uint32_t N>
class IovaList : public detail::ListState {
 public:
  IovaList() noexcept : ListState{storage_, storage_of_origins_, N} {}

 private:
  IovaSegment storage_[N];
  detail::Origin storage_of_origins_[N];
};

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
