// SPDX-License-Identifier: BSL-1.0
//
// A device for tests, whose backend logs every call in order and reaches memory only through live
// mappings.

#ifndef BLKOWN_TESTS_DMA_FAKE_BACKEND_HPP
#define BLKOWN_TESTS_DMA_FAKE_BACKEND_HPP

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <blkown/dma/dma.hpp>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "support/driver.hpp"

namespace blkown::dma {

inline void PrintTo(MapFailure reason, std::ostream* out) { *out << to_string(reason); }
inline void PrintTo(QuarantineReason reason, std::ostream* out) { *out << to_string(reason); }
inline void PrintTo(const MapError& error, std::ostream* out) {
  *out << to_string(error.reason) << ", segment " << error.segment << ", limit " << error.limit;
}
inline void PrintTo(const IovaSegment& segment, std::ostream* out) {
  *out << segment.iova << '+' << segment.length_bytes;
}

}  // namespace blkown::dma

namespace fake {

namespace dma = blkown::dma;
using blkown::Segment;
using dma::Direction;
using dma::MapFailure;

/// Allocates device addresses from 0x1000 on, whole pages for each mapping, and never reuses one.
class Backend {
 public:
  dma::DeviceLimits settings;
  std::vector<std::string> log;  ///< "map 1000+512", "unmap 1000+512", "invalidate 1000+512 ..."
  std::uint64_t pages = ~std::uint64_t{0};   ///< The size of the device's address space.
  std::size_t refuse_map = ~std::size_t{0};  ///< The index of the map call that fails.
  MapFailure refuse_with = MapFailure::refused;
  std::size_t refuse_unmap = ~std::size_t{0};  ///< The index of the unmap call that fails.
  bool is_invalidate_refused = false;
  bool unmaps_by_invalidate = false;  ///< unmap() does nothing: invalidate() unmaps the list.
  std::function<void()> on_unmap;
  std::function<void()> on_invalidate;

  /// Makes `address` the bus address of `first`; the bytes behind it follow in order.
  void place(const std::byte* first, std::uint64_t address) {
    first_ = first;
    address_ = address;
  }

  // --- the Backend concept ----------------------------------------------------------------------

  [[nodiscard]] dma::DeviceLimits limits() const { return settings; }
  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map(const Segment& memory,
                                                             Direction direction,
                                                             const blkown::Cookie& cookie) {
    const std::lock_guard guard{mutex_};
    const std::size_t length_bytes = memory.length_bytes;
    if (maps_++ == refuse_map) return std::unexpected(refuse_with);
    if (pages_of(length_bytes) > pages) return std::unexpected(MapFailure::iova_space_too_small);
    if (pages_of(length_bytes) > pages - used_pages_) return std::unexpected(MapFailure::no_iova);
    used_pages_ += pages_of(length_bytes);
    const std::uint64_t iova = next_;
    next_ += pages_of(length_bytes) * 0x1000;
    live_[iova] = {memory, direction, cookie};
    log.push_back("map " + text({iova, length_bytes}));
    return iova;
  }
  [[nodiscard]] std::expected<void, MapFailure> unmap(const dma::IovaSegment& segment) {
    if (on_unmap) on_unmap();
    const std::lock_guard guard{mutex_};
    if (unmaps_++ == refuse_unmap) {
      log.push_back("refused " + text(segment));
      return std::unexpected(MapFailure::unmap_failed);
    }
    if (!unmaps_by_invalidate) remove(segment);
    return {};
  }
  [[nodiscard]] std::expected<void, MapFailure> invalidate(
      std::span<const dma::IovaSegment> segments) {
    if (on_invalidate) on_invalidate();
    const std::lock_guard guard{mutex_};
    std::string entry = is_invalidate_refused ? "refused invalidate" : "invalidate";
    for (const dma::IovaSegment& segment : segments) {
      if (unmaps_by_invalidate && !is_invalidate_refused) remove(segment);
      EXPECT_TRUE(unmaps_by_invalidate || !live_.contains(segment.iova))
          << "invalidated before it is unmapped";
      entry += ' ' + text(segment);
    }
    log.push_back(std::move(entry));
    if (is_invalidate_refused) return std::unexpected(MapFailure::unmap_failed);
    return {};
  }
  [[nodiscard]] bool can_hold(std::span<const dma::IovaSegment> elements,
                              const blkown::Cookie& cookie) const {
    std::uint64_t needed_pages = 0;
    for (const auto& [iova, mapped] : live_) {
      if (mapped.cookie == cookie) needed_pages += pages_of(mapped.memory.length_bytes);
    }
    for (const dma::IovaSegment& element : elements) needed_pages += pages_of(element.length_bytes);
    return needed_pages <= pages;
  }
  [[nodiscard]] std::uint64_t bus_address(const std::byte* data) const {
    return address_ +
           (reinterpret_cast<std::uintptr_t>(data) - reinterpret_cast<std::uintptr_t>(first_));
  }

  // --- the device's accesses --------------------------------------------------------------------

  struct Live {
    Segment memory;
    Direction direction{};
    blkown::Cookie cookie;
  };

  [[nodiscard]] std::size_t live_count() const { return live_.size(); }
  [[nodiscard]] const Live& live(const dma::IovaSegment& segment) const {
    return live_.at(segment.iova);
  }
  /// Writes `value` into the first `bytes` bytes of a list's memory.
  void write(std::span<const dma::IovaSegment> segments, std::byte value,
             std::size_t bytes = ~std::size_t{0}) {
    for (const dma::IovaSegment& segment : segments) {
      const Segment part = live(segment).memory.part(0, bytes);
      std::memset(part.data, static_cast<int>(value), part.length_bytes);
      bytes -= part.length_bytes;
    }
  }
  /// The bytes of a list, as the device sees them.
  [[nodiscard]] std::vector<std::byte> read(std::span<const dma::IovaSegment> segments) const {
    std::vector<std::byte> bytes;
    for (const dma::IovaSegment& segment : segments) {
      const Segment memory = live(segment).memory;
      bytes.insert(bytes.end(), memory.data, memory.end());
    }
    return bytes;
  }

 private:
  void remove(const dma::IovaSegment& segment) {
    const auto found = live_.find(segment.iova);
    if (found == live_.end() || found->second.memory.length_bytes != segment.length_bytes) {
      ADD_FAILURE() << "unmap of memory that is not mapped: " << text(segment);
      return;
    }
    live_.erase(found);
    used_pages_ -= pages_of(segment.length_bytes);
    log.push_back("unmap " + text(segment));
  }
  [[nodiscard]] static std::uint64_t pages_of(std::uint64_t length_bytes) {
    return length_bytes / 0x1000 + 1;
  }
  [[nodiscard]] static std::string text(const dma::IovaSegment& segment) {
    char text[64];
    std::snprintf(text, sizeof text, "%llx+%llu", static_cast<unsigned long long>(segment.iova),
                  static_cast<unsigned long long>(segment.length_bytes));
    return text;
  }

  std::mutex mutex_;
  std::map<std::uint64_t, Live> live_;
  std::uint64_t next_ = 0x1000;
  std::uint64_t used_pages_ = 0;
  std::size_t maps_ = 0;
  std::size_t unmaps_ = 0;
  const std::byte* first_ = nullptr;
  std::uint64_t address_ = 0;
};

/// The request's data: a list of four elements and a list of one, each with the mapping of the I/O
/// in flight.
struct Data {
  dma::IovaList<4> iovas;
  std::optional<dma::ActiveMapping> mapping;
  dma::IovaList<1> metadata_iovas;
  std::optional<dma::ActiveMapping> metadata;
};

using Device = dma::Device<Backend>;
using Request = blkown::Request<Data>;
using Claim = blkown::Claim<Request>;
using dma::EndProof;

/// A device, its driver's requests, and a page of memory.
struct Rig {
  Backend backend;
  alignas(16) std::array<std::byte, 256> slots{};
  dma::BouncePool pool{slots, 64};
  Device device;
  support::Driver<Request> driver;
  alignas(64) std::array<std::byte, 4096> memory;

  enum class Bounce { no, yes };
  explicit Rig(Bounce bounce = Bounce::no)
      : device{backend, bounce == Bounce::yes ? &pool : nullptr} {
    memory.fill(std::byte{0x11});
  }

  [[nodiscard]] Segment part(std::size_t offset_bytes, std::size_t length_bytes) {
    return {memory.data() + offset_bytes, length_bytes};
  }
  [[nodiscard]] bool is_all(std::size_t offset_bytes, std::size_t length_bytes,
                            std::byte value) const {
    return std::ranges::count(std::span{memory}.subspan(offset_bytes, length_bytes), value) ==
           static_cast<std::ptrdiff_t>(length_bytes);
  }

  [[nodiscard]] Claim unpublished(std::uint32_t tag = 0) { return driver.owned(tag).into_claim(); }

  /// Maps with the list in the request's data.
  [[nodiscard]] std::expected<dma::PreparedMapping, dma::MapError> map(
      Claim& claim, const std::vector<Segment>& segments,
      Direction direction = Direction::from_device) {
    return dma::map(claim, device, segments, direction, claim.data().iovas);
  }
  /// Limits the device to 16 address bits, so that the device reaches the bounce slots and none of
  /// the memory.
  void only_slots_in_reach() {
    backend.settings.address_mask = 0xFFFF;
    backend.place(slots.data(), 0x10000 - slots.size());
  }

  /// Maps 512 bytes for the next publication.
  [[nodiscard]] dma::PreparedMapping prepared(Claim& claim) {
    return support::take_value(map(claim, {part(0, 512)}));
  }
  [[nodiscard]] dma::ActiveMapping active(Claim& claim) { return prepared(claim).activate(); }

  /// Puts an I/O in flight, with the mapping in its data.
  [[nodiscard]] blkown::Cookie in_flight(std::uint32_t tag = 0) {
    Claim claim = unpublished(tag);
    claim.data().mapping.emplace(active(claim));
    return driver.publish(std::move(claim));
  }
  /// Maps another 8 bytes, of the device if it is another one, with the second list of the data.
  void add_metadata(Claim& claim, Device* other = nullptr) {
    auto mapped = dma::map(claim, other == nullptr ? device : *other, std::array{part(1024, 8)},
                           Direction::to_device, claim.data().metadata_iovas);
    claim.data().metadata.emplace(support::take_value(std::move(mapped)).activate());
  }
  /// Puts an I/O in flight, with two mappings in its data.
  [[nodiscard]] blkown::Cookie in_flight_with_metadata(std::uint32_t tag = 0,
                                                       Device* other = nullptr) {
    Claim claim = unpublished(tag);
    claim.data().mapping.emplace(active(claim));
    add_metadata(claim, other);
    return driver.publish(std::move(claim));
  }
  /// Takes the mapping out of the data.
  [[nodiscard]] static dma::ActiveMapping taken_out(const Claim& claim) {
    dma::ActiveMapping mapping = *std::move(claim.data().mapping);
    claim.data().mapping.reset();
    return mapping;
  }
  /// Completes an I/O in flight: unmaps with the completion's proof, and ends the I/O.
  void complete(const blkown::Cookie& cookie) {
    Claim claim = driver.claim(cookie);
    EXPECT_TRUE(taken_out(claim).unmap(*EndProof::of(claim)).has_value());
    std::move(claim).end_ok();
  }
  [[nodiscard]] std::vector<dma::Quarantined> quarantined() {
    std::vector<dma::Quarantined> all;
    device.for_each_quarantined([&](const dma::Quarantined& one) { all.push_back(one); });
    return all;
  }
  [[nodiscard]] bool is_tag_free(std::uint32_t tag = 0) {
    return !driver.set.state_of(blkown::QueueIndex{0}, blkown::Tag{tag}).has_value();
  }
};

}  // namespace fake

#endif
