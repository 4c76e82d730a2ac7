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
//
// The address space has one area or several (IommuConfig::address_areas). A map for an I/O takes
// pages of its queue's area, and searches elsewhere only if that area is full. Queues with areas of
// their own therefore share neither a lock nor a written cache line. Within an area the search
// goes round: a page is used again only after all other pages of the area, so that a late access
// finds no mapping, or the mapping of another I/O, which refuses it.

#ifndef BLKOWN_SIM_DEVICE_IOMMU_HPP
#define BLKOWN_SIM_DEVICE_IOMMU_HPP

#include <algorithm>
#include <bit>
#include <blkown/config.hpp>
#include <blkown/detail/spin_lock.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/ring_word.hpp>
#include <blkown/segment.hpp>
#include <blkown/sim/device/iommu_fault.hpp>
#include <blkown/sim/device/optional_lock.hpp>
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
  std::uint32_t address_areas = 1;                   ///< For queues that several threads use: one
                                                     ///< for each queue. At most page_count.
  Invalidation invalidation = Invalidation::strict;  ///< When a freed address stops working.
  std::uint32_t lazy_flush_pages = 64;               ///< Lazy mode frees this many pages at once.
  dma::DeviceLimits limits{};                        ///< Of the devices behind the Iommu.
  /// All calls come from one thread: no lock is taken, and mapping_calls() counts.
  bool is_single_threaded = false;
};

/// An IOMMU with a page table of one level, an IOTLB, and a log of the latest 256 faults.
///
/// Synchronization: each area of the address space has a mutex, which serializes its changes. Each
/// page has a lock, which an access and a change of the page take, so that unmap() returns only
/// after the accesses before it. The order is: the areas' mutexes, from the lowest address on; one
/// page's lock; the mutex of the log. Queues that have areas of their own share none of them. With
/// IommuConfig::is_single_threaded no lock is taken.
/// Context: any thread.
/// Source: Linux's drivers/iommu/iova.c, whose caches are of a processor instead.
class Iommu {
 public:
  static constexpr std::uint64_t page_bytes = 4096;

  /// Makes an IOMMU without mappings.
  explicit Iommu(const IommuConfig& config)
      : config_{config},
        pages_(config.page_count),
        areas_(std::max<std::size_t>(config.address_areas, 1)),
        area_exponent_{areas_.size() == 1
                           ? 63
                           : static_cast<unsigned>(std::bit_width(pages_.size() / areas_.size())) -
                                 1} {
    for (std::size_t i = 0; i != areas_.size(); ++i) {
      areas_[i].begin = i == 0 ? 0 : i << area_exponent_;
      areas_[i].end = i + 1 == areas_.size() ? pages_.size() : (i + 1) << area_exponent_;
      areas_[i].next = areas_[i].begin;
    }
  }
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

  /// Maps memory for the I/O with this cookie, or for every access if the cookie is dma::no_io.
  /// Errors: no_iova if there is no free run of pages, or if the map hook refuses;
  /// iova_space_too_small if there is none in an empty address space.
  [[nodiscard]] std::expected<std::uint64_t, dma::MapFailure> map(const Segment& memory,
                                                                  dma::Direction direction,
                                                                  const Cookie& cookie) {
    count_mapping_call();
    if (map_hook_.function != nullptr && !map_hook_.function(map_hook_.argument, cookie)) {
      return std::unexpected(dma::MapFailure::no_iova);
    }
    const std::uint64_t count =
        pages_of(bus_address(memory.data) % page_bytes, memory.length_bytes);
    const Mapping mapping{memory, direction, cookie, count};
    Area& home = home_of(cookie);
    if (cookie != dma::no_io || areas_.size() == 1) {
      const AreaGuard guard{home.mutex, is_locked()};
      std::uint64_t first = 0;
      if (find_free(home, count, first)) {
        if (cookie != dma::no_io) note_queue(home, cookie.queue.value);
        return fill(home, first, mapping);
      }
    }
    return map_anywhere(home, mapping);
  }

  /// Whether all of these elements could be mapped together if no I/O was mapped: there is a place
  /// in the address space from which the search for free pages would find room for each of them.
  /// Memory without a cookie, and memory that was mapped with `cookie`, stays where it is.
  [[nodiscard]] bool can_hold(std::span<const dma::IovaSegment> elements,
                              const Cookie& cookie) const {
    const AllAreas all{*this};
    const Area& home = home_of(cookie);
    if (has_run_for(elements, home)) return true;
    std::vector<bool> taken(pages_.size());
    std::uint64_t free_count = pages_.size();
    for (std::size_t i = 0; i != pages_.size(); ++i) {
      const Translation& its = pages_[i].its;
      taken[i] = its.state == State::mapped && (!its.has_owner || its.owner == cookie.value);
      if (taken[i]) --free_count;
    }
    for (const dma::IovaSegment& element : elements) {
      const std::uint64_t count = pages_of(element.iova % page_bytes, element.length_bytes);
      if (count > free_count) return false;
      free_count -= count;
    }
    for (std::uint64_t start = home.begin; start < home.end; start += config_.alignment_pages) {
      if (finds_room_for(elements, home, start, taken)) return true;
    }
    return elements.empty();
  }

  /// Makes the pages of the segment stale. A page that is not mapped is counted (bad_unmaps).
  /// Errors: unmap_failed if the unmap hook refuses. Nothing changes then.
  std::expected<void, dma::MapFailure> unmap(const dma::IovaSegment& segment) {
    count_mapping_call();
    if (unmap_hook_.function != nullptr && is_of_io(segment) &&
        !unmap_hook_.function(unmap_hook_.argument, segment)) {
      return std::unexpected(dma::MapFailure::unmap_failed);
    }
    const bool is_inside = for_pages_of(segment, [&](Area& area, std::uint64_t, Translation& its) {
      if (its.state != State::mapped) return count_bad_unmap();
      its.state = State::stale;
      --area.mapped_pages;
    });
    if (!is_inside) count_bad_unmap();
    return {};
  }

  /// Frees the stale pages of the segments, at once or later (Invalidation).
  std::expected<void, dma::MapFailure> invalidate(std::span<const dma::IovaSegment> segments) {
    const bool is_strict = config_.invalidation == Invalidation::strict;
    for (const dma::IovaSegment& segment : segments) {
      for_pages_of(segment, [&](Area& area, std::uint64_t number, Translation& its) {
        if (its.state != State::stale) return;
        if (is_strict) {
          its = {};
        } else {
          area.waiting.push_back(static_cast<std::uint32_t>(number));
        }
      });
    }
    if (!is_strict) flush_if_many(segments);
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
    bool is_inspection = false;  ///< The harness looks at memory. A refusal is no fault.
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

  /// Called before each unmap() of memory that is mapped for an I/O, without a lock. If the
  /// function returns false, unmap() fails.
  struct UnmapHook {
    bool (*function)(void* argument, const dma::IovaSegment& segment) = nullptr;
    void* argument = nullptr;
  };
  /// Sets the function that is called before each unmap() of an I/O's memory.
  void set_unmap_hook(UnmapHook hook) noexcept { unmap_hook_ = hook; }

  /// The cookie of the I/O that the first page of the segment is mapped for, or 0.
  [[nodiscard]] std::uint64_t owner_of(const dma::IovaSegment& segment) {
    std::uint64_t owner = 0;
    for_pages_of(segment, [&](Area&, std::uint64_t, Translation& its) {
      if (owner == 0 && its.state == State::mapped) owner = its.owner;
    });
    return owner;
  }

  /// Called when the driver declares the device stopped. Returns whether that is so.
  struct StopHook {
    bool (*function)(void* argument) = nullptr;
    void* argument = nullptr;
  };
  /// Sets the function that judges dma::Device::declare_stopped.
  void set_stop_hook(StopHook hook) noexcept { stop_hook_ = hook; }
  /// Calls the stop hook.
  void note_stop_declared() {
    if (stop_hook_.function != nullptr && !stop_hook_.function(stop_hook_.argument)) ++false_stops_;
  }
  /// How often the driver has declared a device stopped that was running.
  [[nodiscard]] std::uint64_t false_stops() const noexcept { return false_stops_; }

  /// Frees all invalidated pages that lazy mode has kept.
  void flush() {
    const AllAreas all{*this};
    flush_now();
  }

  /// The number of pages that are mapped now.
  [[nodiscard]] std::uint64_t mapped_pages() {
    const AllAreas all{*this};
    std::uint64_t sum = 0;
    for (const Area& area : areas_) sum += area.mapped_pages;
    return sum;
  }
  /// The number of maps for an I/O that have used what another queue had used: an area whose latest
  /// map was of another queue, or the whole address space.
  [[nodiscard]] std::uint64_t shared_maps() {
    const AllAreas all{*this};
    std::uint64_t sum = maps_anywhere_;
    for (const Area& area : areas_) sum += area.changes_of_queue;
    return sum;
  }
  /// The number of unmaps of pages that were not mapped.
  [[nodiscard]] std::uint64_t bad_unmaps() {
    const LogGuard guard{log_mutex_, is_locked()};
    return bad_unmaps_;
  }
  /// The number of all faults so far.
  [[nodiscard]] IommuFaultCounts fault_counts() {
    const LogGuard guard{log_mutex_, is_locked()};
    return counts_;
  }
  /// The latest 256 faults, oldest first.
  [[nodiscard]] std::vector<IommuFault> faults() {
    const LogGuard guard{log_mutex_, is_locked()};
    return {log_.begin(), log_.end()};
  }
  /// The number of calls of map() and unmap(), failed ones included. None: they are not counted,
  /// because several threads may call.
  [[nodiscard]] std::optional<std::uint64_t> mapping_calls() const noexcept {
    return config_.is_single_threaded ? std::optional{mapping_calls_} : std::nullopt;
  }

 private:
  enum class State : std::uint8_t { free, mapped, stale };
  struct Translation {
    std::byte* data = nullptr;  // the byte at offset `low`
    std::uint64_t owner = 0;
    std::uint16_t low = 0;   // the offset of the first mapped byte
    std::uint16_t high = 0;  // one past the offset of the last mapped byte
    State state = State::free;
    bool is_cached = false;  // the IOTLB has the translation
    dma::Direction direction{};
    bool has_owner = false;
  };
  struct alignas(64) Page {
    Translation
        its;  // changed with the area's mutex and the lock, but is_cached with the lock alone
    blkown::detail::SpinLock lock;
  };
  struct Memory {
    std::span<std::byte> bytes;
    std::uint64_t bus_address;
  };
  static constexpr std::uint32_t no_queue = UINT32_MAX;
  /// A part of the address space. The members after the mutex are guarded by the mutex.
  struct alignas(128) Area {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::mutex mutex;
    std::uint64_t next = 0;  // one past the latest mapping
    std::uint64_t mapped_pages = 0;
    std::uint64_t changes_of_queue = 0;
    std::uint32_t latest_queue = no_queue;  // of the latest I/O
    std::vector<std::uint32_t> waiting;     // stale pages that were invalidated
  };
  /// All areas locked.
  class AllAreas {
   public:
    explicit AllAreas(const Iommu& its) : areas_{its.areas_}, is_locked_{its.is_locked()} {
      if (!is_locked_) return;
      for (Area& area : areas_) area.mutex.lock();
    }
    AllAreas(const AllAreas&) = delete;
    AllAreas& operator=(const AllAreas&) = delete;
    ~AllAreas() {
      if (!is_locked_) return;
      for (Area& area : areas_) area.mutex.unlock();
    }

   private:
    std::vector<Area>& areas_;
    bool is_locked_;
  };
  using AreaGuard = detail::OptionalGuard<std::mutex>;
  using PageGuard = detail::OptionalGuard<blkown::detail::SpinLock>;
  using LogGuard = detail::OptionalGuard<std::mutex>;
  /// What is to be mapped.
  struct Mapping {
    Segment memory;
    dma::Direction direction;
    Cookie cookie;
    std::uint64_t page_count;
  };

  [[nodiscard]] bool is_locked() const noexcept { return !config_.is_single_threaded; }
  void count_mapping_call() noexcept {
    if (config_.is_single_threaded) ++mapping_calls_;
  }
  /// Counts an I/O of another queue than the latest one of the area.
  /// Precondition: the area's mutex is held.
  static void note_queue(Area& area, std::uint32_t queue) noexcept {
    if (area.latest_queue != queue && area.latest_queue != no_queue) ++area.changes_of_queue;
    area.latest_queue = queue;
  }
  /// The number of pages that hold the bytes, from an offset within the first page on.
  [[nodiscard]] static std::uint64_t pages_of(std::uint64_t offset, std::uint64_t length_bytes) {
    return (offset + length_bytes + page_bytes - 1) / page_bytes;
  }
  [[nodiscard]] Area& area_of(std::uint64_t page) const noexcept {
    const std::size_t index = static_cast<std::size_t>(page >> area_exponent_);
    return areas_[index < areas_.size() ? index : areas_.size() - 1];
  }
  /// The area in which the search for pages begins.
  [[nodiscard]] Area& home_of(const Cookie& cookie) const noexcept {
    if (areas_.size() == 1 || cookie == dma::no_io) return areas_[0];
    return areas_[cookie.queue.value % areas_.size()];
  }

  /// Maps the memory at free pages.
  /// Precondition: the areas of the pages are locked.
  [[nodiscard]] std::uint64_t fill(Area& home, std::uint64_t first, const Mapping& mapping) {
    const std::uint64_t offset = bus_address(mapping.memory.data) % page_bytes;
    std::uint64_t done_bytes = 0;
    for (std::uint64_t i = 0; i != mapping.page_count; ++i) {
      const std::uint64_t low = i == 0 ? offset : 0;
      std::uint64_t high = low + (mapping.memory.length_bytes - done_bytes);
      if (high > page_bytes) high = page_bytes;
      Page& page = pages_[first + i];
      const PageGuard guard{page.lock, is_locked()};
      page.its = {.data = mapping.memory.data + done_bytes,
                  .owner = mapping.cookie.value,
                  .low = static_cast<std::uint16_t>(low),
                  .high = static_cast<std::uint16_t>(high),
                  .state = State::mapped,
                  .is_cached = false,
                  .direction = mapping.direction,
                  .has_owner = mapping.cookie != dma::no_io};
      done_bytes += high - low;
      ++area_of(first + i).mapped_pages;
    }
    const std::uint64_t next = first + mapping.page_count;
    if (next >= home.begin && next <= home.end) home.next = next;
    return config_.first_iova + first * page_bytes + offset;
  }
  /// Maps the memory wherever pages are free, or become free by a flush. Memory of no I/O goes
  /// where the fewest pages are mapped.
  [[nodiscard, gnu::cold, gnu::noinline]] std::expected<std::uint64_t, dma::MapFailure>
  map_anywhere(Area& preferred, const Mapping& mapping) {
    const AllAreas all{*this};
    Area* home = &preferred;
    if (mapping.cookie == dma::no_io) {
      home = &*std::ranges::min_element(areas_, {}, &Area::mapped_pages);
    } else {
      ++maps_anywhere_;
    }
    const std::uint64_t count = mapping.page_count;
    std::uint64_t first = 0;
    if (find_free(*home, count, first) || find_free_anywhere(*home, count, first)) {
      return fill(*home, first, mapping);
    }
    flush_now();
    if (find_free(*home, count, first) || find_free_anywhere(*home, count, first)) {
      return fill(*home, first, mapping);
    }
    return std::unexpected(is_large_enough_for(count) ? dma::MapFailure::no_iova
                                                      : dma::MapFailure::iova_space_too_small);
  }

  /// Finds a run of free pages in the area. Searches from the end of the latest mapping, so that
  /// addresses are reused as late as possible.
  /// Precondition: the area is locked.
  [[nodiscard]] bool find_free(const Area& area, std::uint64_t count, std::uint64_t& first) const {
    const auto is_free = [&](std::uint64_t page) { return pages_[page].its.state == State::free; };
    return find_free(area.next, area.end, count, first, is_free) ||
           find_free(area.begin, area.end, count, first, is_free);
  }
  /// The same in all areas.
  [[nodiscard]] bool find_free_anywhere(const Area& home, std::uint64_t count,
                                        std::uint64_t& first) const {
    const auto is_free = [&](std::uint64_t page) { return pages_[page].its.state == State::free; };
    return find_free(home.next, pages_.size(), count, first, is_free) ||
           find_free(0, pages_.size(), count, first, is_free);
  }
  /// Finds a run of `count` free pages between the pages `from` and `end`.
  template <class IsFree>
  [[nodiscard]] bool find_free(std::uint64_t from, std::uint64_t end, std::uint64_t count,
                               std::uint64_t& first, const IsFree& is_free) const {
    for (std::uint64_t at = aligned(from); at + count <= end;) {
      std::uint64_t used = at;
      while (used != at + count && is_free(used)) ++used;
      if (used == at + count && !crosses_boundary(at, count)) {
        first = at;
        return true;
      }
      at = aligned((used == at + count ? at : used) + 1);
    }
    return false;
  }
  /// The first page from `page` on at which a mapping may begin.
  [[nodiscard]] std::uint64_t aligned(std::uint64_t page) const noexcept {
    const std::uint64_t step = config_.alignment_pages;
    return step == 1 ? page : (page + step - 1) / step * step;
  }
  /// Whether an empty address space has room for one mapping of `count` pages.
  [[nodiscard]] bool is_large_enough_for(std::uint64_t count) const {
    std::uint64_t first = 0;
    return find_free(0, pages_.size(), count, first, [](std::uint64_t) { return true; });
  }
  /// Whether all elements find room in one run of pages that are free now. Then they would in an
  /// address space without I/O, too, and the pages need not be counted.
  /// Precondition: the area is locked.
  [[nodiscard]] bool has_run_for(std::span<const dma::IovaSegment> elements,
                                 const Area& home) const {
    std::uint64_t count = 0;
    for (const dma::IovaSegment& element : elements) {
      count = aligned(count) + pages_of(element.iova % page_bytes, element.length_bytes);
    }
    std::uint64_t first = 0;
    return count != 0 && find_free(home, count, first);
  }
  /// Whether all elements find room one after the other if the first search begins at `start` of
  /// the area and `taken` has the pages in use.
  [[nodiscard]] bool finds_room_for(std::span<const dma::IovaSegment> elements, const Area& home,
                                    std::uint64_t start, std::vector<bool> taken) const {
    const auto is_free = [&](std::uint64_t page) { return !taken[page]; };
    for (const dma::IovaSegment& element : elements) {
      const std::uint64_t count = pages_of(element.iova % page_bytes, element.length_bytes);
      std::uint64_t first = 0;
      if (!find_free(start, home.end, count, first, is_free) &&
          !find_free(home.begin, home.end, count, first, is_free) &&
          !find_free(start, pages_.size(), count, first, is_free) &&
          !find_free(0, pages_.size(), count, first, is_free)) {
        return false;
      }
      for (std::uint64_t i = 0; i != count; ++i) taken[first + i] = true;
      if (first + count >= home.begin && first + count <= home.end) start = first + count;
    }
    return true;
  }
  [[nodiscard]] bool crosses_boundary(std::uint64_t page, std::uint64_t count) const noexcept {
    const std::uint64_t begin = config_.first_iova + page * page_bytes;
    const std::uint64_t last = begin + count * page_bytes - 1;
    return ((begin ^ last) & ~config_.limits.boundary_mask) != 0;
  }

  /// Calls `visit(area, page's number, translation)` for each page of the segment, with both locks.
  /// False if the segment is empty or reaches beyond the address space.
  template <class Visit>
  bool for_pages_of(const dma::IovaSegment& segment, const Visit& visit) {
    if (segment.length_bytes == 0 || segment.iova < config_.first_iova) return false;
    const std::uint64_t begin = segment.iova - config_.first_iova;
    const std::uint64_t last = (begin + segment.length_bytes - 1) / page_bytes;
    std::uint64_t number = begin / page_bytes;
    while (number <= last && number < pages_.size()) {
      Area& area = area_of(number);
      const AreaGuard area_guard{area.mutex, is_locked()};
      for (; number <= last && number < area.end; ++number) {
        Page& page = pages_[number];
        const PageGuard guard{page.lock, is_locked()};
        visit(area, number, page.its);
      }
    }
    return number > last;
  }
  /// Whether the segment's first page is mapped for an I/O.
  [[nodiscard]] bool is_of_io(const dma::IovaSegment& segment) {
    const std::uint64_t number = (segment.iova - config_.first_iova) / page_bytes;
    if (segment.iova < config_.first_iova || number >= pages_.size()) return false;
    const PageGuard guard{pages_[number].lock, is_locked()};
    return pages_[number].its.state == State::mapped && pages_[number].its.has_owner;
  }
  void count_bad_unmap() {
    const LogGuard guard{log_mutex_, is_locked()};
    ++bad_unmaps_;
  }

  /// Frees the stale pages of the segments' areas, if they are many.
  void flush_if_many(std::span<const dma::IovaSegment> segments) {
    for (const dma::IovaSegment& segment : segments) {
      if (segment.iova < config_.first_iova) continue;
      Area& area = area_of((segment.iova - config_.first_iova) / page_bytes);
      const AreaGuard guard{area.mutex, is_locked()};
      if (area.waiting.size() >= config_.lazy_flush_pages) flush(area);
    }
  }
  /// Precondition: the area is locked.
  void flush(Area& area) {
    for (const std::uint32_t number : area.waiting) {
      const PageGuard guard{pages_[number].lock, is_locked()};
      pages_[number].its = {};
    }
    area.waiting.clear();
  }
  /// Precondition: all areas are locked.
  void flush_now() {
    for (Area& area : areas_) flush(area);
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
      Page& page = pages_[number];
      Translation& its = page.its;
      const PageGuard guard{page.lock, is_locked()};
      const std::uint64_t offset = at % page_bytes;
      const auto kind = refusal_of(its, offset, direction, access);
      if (kind.has_value()) return fault(*kind, at, direction, access, its.owner);
      its.is_cached |= !access.is_inspection;
      std::size_t bytes = its.high - static_cast<std::size_t>(offset);
      if (bytes > length_bytes - done) bytes = length_bytes - done;
      move(its.data + (offset - its.low), done, bytes);
      done += bytes;
    }
    return true;
  }

  [[nodiscard]] static std::optional<IommuFaultKind> refusal_of(const Translation& its,
                                                                std::uint64_t offset,
                                                                dma::Direction direction,
                                                                const Access& access) noexcept {
    if (its.state == State::free) return IommuFaultKind::unmapped;
    if (its.state == State::stale) {
      return its.is_cached ? IommuFaultKind::stale_translation : IommuFaultKind::unmapped;
    }
    const bool is_allowed = direction == dma::Direction::to_device
                                ? dma::device_reads(its.direction)
                                : dma::device_writes(its.direction);
    if (!is_allowed) return IommuFaultKind::wrong_direction;
    if (offset < its.low || offset >= its.high) return IommuFaultKind::out_of_bounds;
    if (its.has_owner && (!access.is_for_command || its.owner != access.cookie)) {
      return IommuFaultKind::other_owner;
    }
    return std::nullopt;
  }

  [[gnu::cold, gnu::noinline]] bool fault(IommuFaultKind kind, std::uint64_t iova,
                                          dma::Direction direction, const Access& access,
                                          std::uint64_t owner) {
    if (access.is_inspection) return false;
    const LogGuard guard{log_mutex_, is_locked()};
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

  IommuConfig config_;
  MapHook map_hook_;
  UnmapHook unmap_hook_;
  StopHook stop_hook_;
  std::uint64_t false_stops_ = 0;
  std::uint64_t mapping_calls_ = 0;
  std::vector<Memory> memories_;
  std::vector<Page> pages_;
  mutable std::vector<Area> areas_;
  unsigned area_exponent_;            // all areas but the last one have 2^area_exponent_ pages
  std::uint64_t maps_anywhere_ = 0;   // for an I/O; guarded by all areas' mutexes
  alignas(64) std::mutex log_mutex_;  // of what follows
  std::uint64_t bad_unmaps_ = 0;
  IommuFaultCounts counts_;
  std::deque<IommuFault> log_;
  blkown::detail::UserList users_;
};

static_assert(dma::Backend<Iommu>);

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
