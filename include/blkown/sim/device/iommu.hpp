// SPDX-License-Identifier: BSL-1.0
//
// Iommu: a simulated IOMMU, the only path from a simulated device to memory.
//
// The driver maps and unmaps memory through dma::Device, whose Backend the Iommu is. A mapping is
// bytes, not whole pages: the Iommu translates page by page, as hardware does, but refuses the
// bytes of a page that the mapping does not have. The device reads and writes with its own id and
// the cookie of the command that it executes. An access is refused, and logged as a fault, if the
// memory is not mapped, is mapped for the other direction, or is mapped for another I/O. A refused
// access never touches memory.
//
// unmap() makes the pages stale, invalidate() makes them free: at once in strict mode, together
// with others in lazy mode. An access to a stale page whose translation was used before is a fault
// of its own kind (stale_translation), because hardware might let such an access through.

#ifndef BLKOWN_SIM_DEVICE_IOMMU_HPP
#define BLKOWN_SIM_DEVICE_IOMMU_HPP

#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/ring_word.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/iommu_fault.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <expected>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// When invalidate() frees the addresses of unmapped pages.
enum class Invalidation : std::uint8_t {
  strict,  ///< At once.
  lazy,    ///< When IommuConfig::lazy_flush_pages pages wait, or when addresses run out.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(Invalidation mode) noexcept {
  switch (mode) {
    case Invalidation::strict: return "strict";
    case Invalidation::lazy: return "lazy";
  }
  return "unknown mode";
}

/// The address space of an Iommu, and how it frees addresses.
struct IommuConfig {
  std::uint64_t first_iova = 0x10000;                ///< A multiple of Iommu::page_bytes.
  std::uint32_t page_count = 4096;                   ///< The size of the address space.
  std::uint32_t alignment_pages = 1;                 ///< Each mapping begins at a multiple.
  Invalidation invalidation = Invalidation::strict;  ///< When a freed address stops working.
  std::uint32_t lazy_flush_pages = 64;               ///< Lazy mode frees this many pages at once.
  dma::DeviceLimits limits{};                        ///< Of the devices behind the Iommu.
};

/// An IOMMU with a page table of one level, an IOTLB, and a log of the latest 256 faults.
///
/// Synchronization: a mutex serializes the changes. Each region of a few pages has a mutex, which
/// an access and a change of one of these pages take, so that unmap() returns only after the
/// accesses before it. Accesses to different regions do not wait for each other.
/// Context: any thread.
class Iommu {
 public:
  static constexpr std::uint64_t page_bytes = 4096;

  /// Makes an IOMMU without mappings.
  explicit Iommu(const IommuConfig& config)
      : config_{config},
        pages_(config.page_count),
        regions_(config.page_count / pages_of_region + 1) {}
  Iommu(const Iommu&) = delete;
  Iommu& operator=(const Iommu&) = delete;
  /// Violation: object_in_use, if a dma::Device or a controller uses the IOMMU.
  ~Iommu() {
    users_.check_unused("destruction of sim::Iommu", "sim::Iommu", "destroy that object first");
  }

  // --- dma::Backend -----------------------------------------------------------------------------

  /// The device's limits, as configured.
  [[nodiscard]] dma::DeviceLimits limits() const noexcept { return config_.limits; }

  /// The bus address of the byte: as given to add_memory(), else the byte's own address.
  [[nodiscard]] std::uint64_t bus_address(const std::byte* data) const noexcept {
    for (const Memory& memory : memories_) {
      if (data >= memory.bytes.data() && data < memory.bytes.data() + memory.bytes.size()) {
        return memory.bus_address + static_cast<std::uint64_t>(data - memory.bytes.data());
      }
    }
    return reinterpret_cast<std::uintptr_t>(data);
  }

  /// Maps memory for the I/O with this cookie, or for every access if the cookie is Cookie{}.
  /// Errors: no_iova if there is no free run of pages, or if the map hook refuses.
  [[nodiscard]] std::expected<std::uint64_t, dma::MapFailure> map(const Segment& memory,
                                                                  dma::Direction direction,
                                                                  const Cookie& cookie) {
    if (map_hook_.function != nullptr && !map_hook_.function(map_hook_.argument, cookie)) {
      return std::unexpected(dma::MapFailure::no_iova);
    }
    const std::lock_guard guard{mutex_};
    const std::uint64_t offset = bus_address(memory.data) % page_bytes;
    const std::uint64_t count = pages_of(offset, memory.length_bytes);
    std::uint64_t first = 0;
    if (!find_free(count, first)) {
      flush_now();
      if (!find_free(count, first)) {
        return std::unexpected(is_large_enough_for(count) ? dma::MapFailure::no_iova
                                                          : dma::MapFailure::iova_space_too_small);
      }
    }
    std::uint64_t done_bytes = 0;
    for (std::uint64_t i = 0; i != count; ++i) {
      const std::uint64_t low = i == 0 ? offset : 0;
      std::uint64_t high = low + (memory.length_bytes - done_bytes);
      if (high > page_bytes) high = page_bytes;
      const std::lock_guard region_guard{region_of(first + i)};
      pages_[first + i] = {.data = memory.data + done_bytes,
                           .low = static_cast<std::uint16_t>(low),
                           .high = static_cast<std::uint16_t>(high),
                           .state = State::mapped,
                           .is_cached = false,
                           .direction = direction,
                           .owner = cookie.value,
                           .has_owner = cookie != Cookie{}};
      done_bytes += high - low;
    }
    next_ = first + count;
    mapped_pages_ += count;
    return config_.first_iova + first * page_bytes + offset;
  }

  /// Whether all of these elements could be mapped together if no I/O was mapped: there is a place
  /// in the address space from which the search for free pages would find room for each of them.
  /// Memory without a cookie, and memory that was mapped with `cookie`, stays where it is.
  [[nodiscard]] bool can_hold(std::span<const dma::IovaSegment> elements,
                              const Cookie& cookie) const {
    const std::lock_guard guard{mutex_};
    std::vector<bool> taken(pages_.size());
    std::uint64_t free_count = pages_.size();
    for (std::size_t i = 0; i != pages_.size(); ++i) {
      const Page& page = pages_[i];
      taken[i] = page.state == State::mapped && (!page.has_owner || page.owner == cookie.value);
      if (taken[i]) --free_count;
    }
    for (const dma::IovaSegment& element : elements) {
      const std::uint64_t count = pages_of(element.iova % page_bytes, element.length_bytes);
      if (count > free_count) return false;
      free_count -= count;
    }
    for (std::uint64_t start = 0; start < pages_.size(); start += config_.alignment_pages) {
      if (finds_room_for(elements, start, taken)) return true;
    }
    return elements.empty();
  }

  /// Makes the pages of the segment stale. A page that is not mapped is counted (bad_unmaps).
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment& segment) {
    const std::lock_guard guard{mutex_};
    const bool is_inside = for_pages_of(segment, [&](Page& page, std::uint64_t) {
      if (page.state != State::mapped) {
        ++bad_unmaps_;
        return;
      }
      page.state = State::stale;
      --mapped_pages_;
    });
    if (!is_inside) ++bad_unmaps_;
    return {};
  }

  /// Frees the stale pages of the segments, at once or later (Invalidation).
  std::expected<void, dma::MapFailure> invalidate(std::span<const dma::IovaSegment> segments) {
    const std::lock_guard guard{mutex_};
    for (const dma::IovaSegment& segment : segments) {
      for_pages_of(segment, [&](Page& page, std::uint64_t number) {
        if (page.state != State::stale) return;
        if (config_.invalidation == Invalidation::strict) {
          page = {};
        } else {
          waiting_.push_back(static_cast<std::uint32_t>(number));
        }
      });
    }
    if (waiting_.size() >= config_.lazy_flush_pages) flush_now();
    return {};
  }

  // --- the device's side ------------------------------------------------------------------------

  /// The device and the command of an access.
  struct Access {
    std::uint32_t device = 0;
    std::uint64_t cookie = 0;    ///< The command's. Unused without a command.
    bool is_for_command = true;  ///< False: an access to a ring or to a list of segments.
    bool is_forbidden = false;   ///< A correct device would not make this access, so its fault is
                                 ///< not the driver's error.
  };

  /// Moves bytes from memory to the device.
  /// Errors: false if a byte was refused. The bytes before the refused one have moved.
  bool read(std::uint64_t iova, std::span<std::byte> to, const Access& access) {
    return walk(iova, to.size(), dma::Direction::to_device, access,
                [&](std::byte* memory, std::size_t done, std::size_t bytes) {
                  std::memcpy(to.data() + done, memory, bytes);
                });
  }
  /// Moves bytes from the device to memory.
  /// Errors: as read().
  bool write(std::uint64_t iova, std::span<const std::byte> from, const Access& access) {
    return walk(iova, from.size(), dma::Direction::from_device, access,
                [&](std::byte* memory, std::size_t done, std::size_t bytes) {
                  std::memcpy(memory, from.data() + done, bytes);
                });
  }
  /// Writes a word that the driver may read at the same time.
  /// Synchronization: a release store, after all earlier writes.
  /// Errors: as read().
  bool write_word(std::uint64_t iova, std::uint16_t value, const Access& access) {
    return walk(iova, sizeof value, dma::Direction::from_device, access,
                [&](std::byte* memory, std::size_t, std::size_t) {
                  dma::store_release(*reinterpret_cast<std::uint16_t*>(memory), value);
                });
  }

  // --- setup and inspection ---------------------------------------------------------------------

  /// Gives memory a bus address, so that the layout of mappings does not depend on the addresses of
  /// the process.
  /// Precondition: nothing is mapped yet.
  void add_memory(std::span<std::byte> bytes, std::uint64_t address) {
    memories_.push_back({bytes, address});
  }
  /// Called before each map() without the lock, so that the function may map and unmap. If the
  /// function returns false, map() fails as if the address space were full.
  struct MapHook {
    bool (*function)(void* argument, const Cookie& cookie) = nullptr;
    void* argument = nullptr;
  };
  /// Sets the function that is called before each map().
  void set_map_hook(MapHook hook) noexcept { map_hook_ = hook; }

  /// The devices and controllers that use the IOMMU.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }

  /// Frees all invalidated pages that lazy mode has kept.
  void flush() {
    const std::lock_guard guard{mutex_};
    flush_now();
  }

  /// The number of pages that are mapped now.
  [[nodiscard]] std::uint64_t mapped_pages() {
    const std::lock_guard guard{mutex_};
    return mapped_pages_;
  }
  /// The number of unmaps of pages that were not mapped.
  [[nodiscard]] std::uint64_t bad_unmaps() {
    const std::lock_guard guard{mutex_};
    return bad_unmaps_;
  }
  /// The number of all faults so far.
  [[nodiscard]] IommuFaultCounts fault_counts() {
    const std::lock_guard guard{log_mutex_};
    return counts_;
  }
  /// The latest 256 faults, oldest first.
  [[nodiscard]] std::vector<IommuFault> faults() {
    const std::lock_guard guard{log_mutex_};
    return {log_.begin(), log_.end()};
  }

 private:
  enum class State : std::uint8_t { free, mapped, stale };
  struct Page {
    std::byte* data = nullptr;  // the byte at offset `low`
    std::uint16_t low = 0;      // the offset of the first mapped byte
    std::uint16_t high = 0;     // one past the offset of the last mapped byte
    State state = State::free;
    bool is_cached = false;  // the IOTLB has the translation
    dma::Direction direction{};
    std::uint64_t owner = 0;
    bool has_owner = false;
  };
  struct Memory {
    std::span<std::byte> bytes;
    std::uint64_t bus_address;
  };

  /// The number of pages that hold the bytes, from an offset within the first page on.
  [[nodiscard]] static std::uint64_t pages_of(std::uint64_t offset, std::uint64_t length_bytes) {
    return (offset + length_bytes + page_bytes - 1) / page_bytes;
  }

  /// Finds a run of free pages. Searches from the end of the latest mapping, so that addresses are
  /// reused as late as possible.
  [[nodiscard]] bool find_free(std::uint64_t count, std::uint64_t& first) const {
    return find_free(next_, count, first,
                     [&](std::uint64_t page) { return pages_[page].state == State::free; });
  }
  /// The same from `start` on, and then from the first page on.
  template <class IsFree>
  [[nodiscard]] bool find_free(std::uint64_t start, std::uint64_t count, std::uint64_t& first,
                               const IsFree& is_free) const {
    return find_free_behind(start, count, first, is_free) ||
           find_free_behind(0, count, first, is_free);
  }
  template <class IsFree>
  [[nodiscard]] bool find_free_behind(std::uint64_t from, std::uint64_t count, std::uint64_t& first,
                                      const IsFree& is_free) const {
    const std::uint64_t step = config_.alignment_pages;
    for (std::uint64_t at = (from + step - 1) / step * step; at + count <= pages_.size();) {
      std::uint64_t used = at;
      while (used != at + count && is_free(used)) ++used;
      if (used == at + count && !crosses_boundary(at, count)) {
        first = at;
        return true;
      }
      at = (used == at + count ? at : used) + 1;
      at = (at + step - 1) / step * step;
    }
    return false;
  }
  /// Whether an empty address space has room for one mapping of `count` pages.
  [[nodiscard]] bool is_large_enough_for(std::uint64_t count) const {
    std::uint64_t first = 0;
    return find_free(0, count, first, [](std::uint64_t) { return true; });
  }
  /// Whether all elements find room one after the other if the first search begins at `start` and
  /// `taken` has the pages in use.
  [[nodiscard]] bool finds_room_for(std::span<const dma::IovaSegment> elements, std::uint64_t start,
                                    std::vector<bool> taken) const {
    const auto is_free = [&](std::uint64_t page) { return !taken[page]; };
    for (const dma::IovaSegment& element : elements) {
      const std::uint64_t count = pages_of(element.iova % page_bytes, element.length_bytes);
      std::uint64_t first = 0;
      if (!find_free(start, count, first, is_free)) return false;
      for (std::uint64_t i = 0; i != count; ++i) taken[first + i] = true;
      start = first + count;
    }
    return true;
  }
  [[nodiscard]] bool crosses_boundary(std::uint64_t page, std::uint64_t count) const noexcept {
    const std::uint64_t begin = config_.first_iova + page * page_bytes;
    const std::uint64_t last = begin + count * page_bytes - 1;
    return ((begin ^ last) & ~config_.limits.boundary_mask) != 0;
  }

  /// Calls `visit(page, index)` for each page of the segment. False if the segment is empty or
  /// reaches beyond the address space.
  template <class Visit>
  bool for_pages_of(const dma::IovaSegment& segment, Visit visit) {
    if (segment.length_bytes == 0 || segment.iova < config_.first_iova) return false;
    const std::uint64_t begin = segment.iova - config_.first_iova;
    const std::uint64_t last = (begin + segment.length_bytes - 1) / page_bytes;
    std::uint64_t number = begin / page_bytes;
    for (; number <= last && number < pages_.size(); ++number) {
      const std::lock_guard region_guard{region_of(number)};
      visit(pages_[number], number);
    }
    return number > last;
  }

  void flush_now() {
    for (const std::uint32_t number : waiting_) {
      const std::lock_guard region_guard{region_of(number)};
      pages_[number] = {};
    }
    waiting_.clear();
  }

  template <class Move>
  bool walk(std::uint64_t iova, std::size_t length_bytes, dma::Direction direction,
            const Access& access, Move move) {
    for (std::size_t done = 0; done != length_bytes;) {
      const std::uint64_t at = iova + done;
      const std::uint64_t number = (at - config_.first_iova) / page_bytes;
      if (at < config_.first_iova || number >= pages_.size()) {
        return fault(IommuFaultKind::unmapped, at, direction, access, 0);
      }
      const std::lock_guard guard{region_of(number)};
      Page& page = pages_[number];
      const std::uint64_t offset = at % page_bytes;
      const auto kind = refusal_of(page, offset, direction, access);
      if (kind.has_value()) return fault(*kind, at, direction, access, page.owner);
      page.is_cached = true;
      std::size_t bytes = page.high - static_cast<std::size_t>(offset);
      if (bytes > length_bytes - done) bytes = length_bytes - done;
      move(page.data + (offset - page.low), done, bytes);
      done += bytes;
    }
    return true;
  }

  [[nodiscard]] static std::optional<IommuFaultKind> refusal_of(const Page& page,
                                                                std::uint64_t offset,
                                                                dma::Direction direction,
                                                                const Access& access) noexcept {
    if (page.state == State::free) return IommuFaultKind::unmapped;
    if (page.state == State::stale) {
      return page.is_cached ? IommuFaultKind::stale_translation : IommuFaultKind::unmapped;
    }
    const bool is_allowed = direction == dma::Direction::to_device
                                ? dma::device_reads(page.direction)
                                : dma::device_writes(page.direction);
    if (!is_allowed) return IommuFaultKind::wrong_direction;
    if (offset < page.low || offset >= page.high) return IommuFaultKind::out_of_bounds;
    if (page.has_owner && (!access.is_for_command || page.owner != access.cookie)) {
      return IommuFaultKind::other_owner;
    }
    return std::nullopt;
  }

  bool fault(IommuFaultKind kind, std::uint64_t iova, dma::Direction direction,
             const Access& access, std::uint64_t owner) {
    const std::lock_guard guard{log_mutex_};
    ++counts_.by_kind[static_cast<std::size_t>(kind)];
    if (!access.is_forbidden) ++counts_.not_forbidden;
    if (log_.size() == max_logged) log_.pop_front();
    log_.push_back({.kind = kind,
                    .device = access.device,
                    .iova = iova,
                    .direction = direction,
                    .cookie = access.cookie,
                    .owner = owner,
                    .is_forbidden = access.is_forbidden});
    return false;
  }

  static constexpr std::size_t max_logged = 256;

  static constexpr std::uint64_t pages_of_region = 16;
  struct alignas(64) Region {
    std::mutex mutex;
  };
  [[nodiscard]] std::mutex& region_of(std::uint64_t page) noexcept {
    return regions_[page / pages_of_region].mutex;
  }

  IommuConfig config_;
  MapHook map_hook_;
  std::vector<Memory> memories_;
  mutable std::mutex mutex_;  // of changes; before a region's
  std::vector<Page> pages_;   // changed with both mutexes, except is_cached
  std::vector<Region> regions_;
  std::mutex log_mutex_;  // of the counts and the log of faults
  std::uint64_t next_ = 0;
  std::uint64_t mapped_pages_ = 0;
  std::uint64_t bad_unmaps_ = 0;
  std::vector<std::uint32_t> waiting_;
  IommuFaultCounts counts_;
  std::deque<IommuFault> log_;
  blkown::detail::UserList users_;
};

static_assert(dma::Backend<Iommu>);

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
