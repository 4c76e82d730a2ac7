// SPDX-License-Identifier: BSL-1.0
//
// Vfio: a backend over the IOMMU of a VFIO container (type 1, version 2). Not part of dma.hpp:
// needs <linux/vfio.h>.
//
// Parties: the program, the kernel's VFIO driver with the IOMMU, and the devices of the container.
//
//   1. create() reads which device addresses the IOMMU takes, and reserves a window of them.
//   2. add_arena() maps memory for as long as the backend exists. The device reaches the arena at
//      all times. A map of memory in an arena makes no system call.
//   3. Every other map takes free pages of the window and makes one VFIO_IOMMU_MAP_DMA. Pages are
//      the unit: the device also reaches the rest of the first and of the last page.
//   4. The unmaps of a list are left to invalidate(), which makes one VFIO_IOMMU_UNMAP_DMA for each
//      range of adjacent addresses. The call returns when the IOMMU has dropped the translations.
//   5. Only then, and only if all of them have succeeded, are the list's addresses free again. They
//      stay taken after a failure, and the mapping goes into quarantine (device.hpp).
//
// Addresses are taken in turn, so that an address is used again as late as possible. A device that
// has translated an address before the unmap may still finish an access that it has begun: the
// proof of the mapping's end is the protection, the IOMMU only contains later errors.

#ifndef BLKOWN_DMA_VFIO_HPP
#define BLKOWN_DMA_VFIO_HPP

#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <blkown/config.hpp>
#include <blkown/detail/user_list.hpp>
#include <blkown/dma/backend.hpp>
#include <blkown/dma/detail/page_window.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
#include <blkown/tag.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <mutex>
#include <new>
#include <span>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace dma {

/// The step of VFIO that failed.
enum class VfioStep : std::uint8_t {
  open_container,  ///< open of /dev/vfio/vfio.
  check_version,   ///< The kernel's VFIO has another version.
  find_group,      ///< The device has no IOMMU group.
  open_group,      ///< open of the group's node in /dev/vfio. EACCES: the user may not open it.
  check_group,     ///< The group is not viable: another driver has one of its devices.
  set_container,   ///< VFIO_GROUP_SET_CONTAINER.
  set_iommu,       ///< VFIO_SET_IOMMU.
  iommu_info,      ///< VFIO_IOMMU_GET_INFO.
  page_size,       ///< The IOMMU does not map pages of 4,096 bytes.
  address_window,  ///< The IOMMU or the device does not take the addresses of the window.
  open_device,     ///< VFIO_GROUP_GET_DEVICE_FD.
  device_info,     ///< VFIO_DEVICE_GET_INFO, or the device is not a PCI device.
  region_info,     ///< VFIO_DEVICE_GET_REGION_INFO, or the region cannot be accessed so.
  map_region,      ///< mmap of a region.
  config_space,    ///< Read or write of the configuration space.
  set_interrupts,  ///< VFIO_DEVICE_SET_IRQS.
  reset,           ///< VFIO_DEVICE_RESET.
  allocate,        ///< The heap has no memory.
};

/// The enumerator's name.
[[nodiscard]] constexpr const char* to_string(VfioStep step) noexcept {
  switch (step) {
    case VfioStep::open_container: return "open_container";
    case VfioStep::check_version: return "check_version";
    case VfioStep::find_group: return "find_group";
    case VfioStep::open_group: return "open_group";
    case VfioStep::check_group: return "check_group";
    case VfioStep::set_container: return "set_container";
    case VfioStep::set_iommu: return "set_iommu";
    case VfioStep::iommu_info: return "iommu_info";
    case VfioStep::page_size: return "page_size";
    case VfioStep::address_window: return "address_window";
    case VfioStep::open_device: return "open_device";
    case VfioStep::device_info: return "device_info";
    case VfioStep::region_info: return "region_info";
    case VfioStep::map_region: return "map_region";
    case VfioStep::config_space: return "config_space";
    case VfioStep::set_interrupts: return "set_interrupts";
    case VfioStep::reset: return "reset";
    case VfioStep::allocate: return "allocate";
  }
  return "unknown step";
}

/// Why a step of VFIO failed.
struct VfioError {
  VfioStep step{};
  int error_number = 0;  ///< An errno value, or 0 if the kernel's answer does not fit.
  friend constexpr bool operator==(const VfioError&, const VfioError&) = default;
};

/// The system calls of this header and of vfio_pci.hpp. Another type with these members takes their
/// place in a test. Every call returns its result, or a negative errno value.
struct VfioSystem {
  /// ioctl(2).
  static int ioctl(int file, unsigned long request, void* argument) noexcept {
    return static_cast<int>(or_error(::ioctl(file, request, argument)));
  }
  /// open(2), to read and write.
  static int open(const char* path) noexcept {
    return static_cast<int>(or_error(::open(path, O_RDWR | O_CLOEXEC)));
  }
  /// close(2).
  static void close(int file) noexcept { ::close(file); }
  /// readlink(2). The target has no 0 at its end.
  static std::int64_t read_link(const char* path, std::span<char> target) noexcept {
    return or_error(::readlink(path, target.data(), target.size()));
  }
  /// pread(2).
  static std::int64_t read_at(int file, std::span<std::byte> bytes, std::uint64_t offset) noexcept {
    return or_error(::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)));
  }
  /// pwrite(2).
  static std::int64_t write_at(int file, std::span<const std::byte> bytes,
                               std::uint64_t offset) noexcept {
    return or_error(::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)));
  }
  /// mmap(2), shared, to read and write. Null: see errno.
  static std::byte* map_file(int file, std::uint64_t offset, std::size_t bytes) noexcept {
    void* const memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file,
                                static_cast<off_t>(offset));
    return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
  }
  /// munmap(2).
  static void unmap_file(std::byte* memory, std::size_t bytes) noexcept { ::munmap(memory, bytes); }
  /// getrlimit(2): how much memory the process may lock. UINT64_MAX: no limit.
  static std::uint64_t lock_limit_bytes() noexcept {
    rlimit limit{};
    const bool is_known = ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0;
    return is_known && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : ~std::uint64_t{0};
  }

 private:
  [[nodiscard]] static std::int64_t or_error(std::int64_t result) noexcept {
    return result < 0 ? -std::int64_t{errno} : result;
  }
};

/// The device and the addresses of a Vfio.
struct VfioConfig {
  /// Of the devices of the container. An address of the window keeps the offset in a page alone, so
  /// virt_boundary_mask and min_align_mask are 4,095 at most.
  DeviceLimits limits{};
  std::uint64_t first_iova = 0x1'0000'0000;  ///< A multiple of 4,096.
  std::uint64_t window_bytes = 0x4000'0000;  ///< Needs 34 bits of heap memory for each page.
};

/// The backend. Allocates only when it is created. System: see VfioSystem.
/// Precondition: the container outlives this object and has an IOMMU (VFIO_SET_IOMMU). Nothing else
/// maps addresses of the window.
/// Context: any thread; several at a time.
/// Source: Linux's Documentation/driver-api/vfio.rst and <linux/vfio.h>.
template <class System = VfioSystem>
class BasicVfio {
 public:
  static constexpr std::uint64_t page_bytes = 4096;
  static constexpr std::size_t max_arenas = 8;

  /// Makes a backend for the container's file.
  /// Errors: iommu_info, page_size, address_window, allocate.
  [[nodiscard]] static std::expected<std::unique_ptr<BasicVfio>, VfioError> create(
      int container, const VfioConfig& config = {}, System system = {}) {
    const std::uint64_t last = config.first_iova + config.window_bytes - 1;
    const bool is_window = config.first_iova % page_bytes == 0 && config.window_bytes != 0 &&
                           config.window_bytes % page_bytes == 0 && last > config.first_iova &&
                           (last & ~config.limits.address_mask) == 0;
    const std::uint64_t kept = config.limits.virt_boundary_mask | config.limits.min_align_mask;
    if (!is_window || kept >= page_bytes) {
      return std::unexpected(VfioError{VfioStep::address_window, 0});
    }
    const auto checked = check_iommu(container, config.first_iova, last, system);
    if (!checked.has_value()) return std::unexpected(checked.error());
    std::unique_ptr<BasicVfio> made{new (std::nothrow) BasicVfio{container, config, system}};
    if (made == nullptr || !made->window_.reserve(config.window_bytes / page_bytes)) {
      return std::unexpected(VfioError{VfioStep::allocate, ENOMEM});
    }
    return made;
  }
  BasicVfio(const BasicVfio&) = delete;
  BasicVfio& operator=(const BasicVfio&) = delete;
  /// Effects: unmaps all of the window.
  /// Violation: object_in_use, if a device uses this object.
  ~BasicVfio() {
    users_.check_unused("destruction of dma::Vfio", "dma::Vfio", "destroy that object first");
    static_cast<void>(unmap_pages({config_.first_iova, config_.window_bytes}));
  }

  /// Maps memory in both directions until this object is destroyed. A later map of memory in the
  /// arena makes no system call.
  /// Precondition: no other context uses this object yet, and the memory outlives it.
  /// Errors: as map; refused, if there are max_arenas.
  [[nodiscard]] std::expected<IovaSegment, MapFailure> add_arena(const Segment& memory) noexcept {
    if (memory.empty()) return std::unexpected(MapFailure::no_bytes);
    if (arena_count_ == max_arenas) return std::unexpected(MapFailure::refused);
    const auto iova = map_pages(memory, Direction::bidirectional, no_io);
    if (!iova.has_value()) return std::unexpected(iova.error());
    arenas_[arena_count_++] = {memory, *iova};
    return IovaSegment{.iova = *iova, .length_bytes = memory.length_bytes};
  }

  // --- Backend ----------------------------------------------------------------------------------

  /// The device's limits, as configured.
  [[nodiscard]] const DeviceLimits& limits() const noexcept { return config_.limits; }
  /// The bits of the byte's address that a device address keeps, for the boundaries. Every address
  /// is within the device's reach: the IOMMU translates it.
  [[nodiscard]] std::uint64_t bus_address(const std::byte* data) const noexcept {
    return reinterpret_cast<std::uintptr_t>(data) & config_.limits.address_mask;
  }

  /// Maps the pages of the memory.
  /// Errors: no_iova if the window, or the kernel's number of mappings (dma_entry_limit), is used
  /// up by other I/Os, and iova_space_too_small if no other I/O has pages of the window or has
  /// given some back during the call. memory_limit_too_low if the memory of this I/O, and of none,
  /// is more than the process may lock (RLIMIT_MEMLOCK); out_of_memory if the kernel has no memory
  /// now, or if others, in this container or another one, have locked too much. refused for memory
  /// that the process does not have.
  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map(const Segment& memory,
                                                             Direction direction,
                                                             const Cookie& cookie) noexcept {
    for (std::size_t i = 0; i != arena_count_; ++i) {
      const Arena& arena = arenas_[i];
      const std::uint64_t offset_bytes = address_of(memory) - address_of(arena.memory);
      if (arena.holds(offset_bytes, memory.length_bytes)) return arena.iova + offset_bytes;
    }
    return map_pages(memory, direction, cookie);
  }
  /// Left to invalidate.
  std::expected<void, MapFailure> unmap(const IovaSegment&) noexcept { return {}; }
  /// Unmaps the segments, and frees their addresses if all of them are unmapped.
  /// Errors: unmap_failed. A second call unmaps what the first one has not.
  [[nodiscard]] std::expected<void, MapFailure> invalidate(
      std::span<const IovaSegment> segments) noexcept {
    IovaSegment range;
    for (const IovaSegment& segment : segments) {
      const IovaSegment pages = pages_of(segment);
      if (is_in_arena(segment)) continue;
      if (range.length_bytes != 0 && pages.iova == range.iova + range.length_bytes) {
        range.length_bytes += pages.length_bytes;
        continue;
      }
      if (range.length_bytes != 0 && !unmap_pages(range)) return failed_unmap();
      range = pages;
    }
    if (range.length_bytes != 0 && !unmap_pages(range)) return failed_unmap();
    const std::lock_guard guard{mutex_};
    for (const IovaSegment& segment : segments) {
      if (is_in_arena(segment)) continue;
      const IovaSegment pages = pages_of(segment);
      window_.give(page_at(pages.iova), pages.length_bytes / page_bytes);
    }
    return {};
  }
  /// Whether the window has room for these elements beside arenas, coherent memory and other
  /// mappings of the same I/O: for all of them, and for each a long enough run. Memory in an arena
  /// needs no room of its own.
  [[nodiscard]] bool can_hold(std::span<const IovaSegment> elements,
                              const Cookie& cookie) const noexcept {
    const std::lock_guard guard{mutex_};
    const std::uint64_t room = window_.page_count() - window_.count_staying(owner_of(cookie));
    std::uint64_t pages = 0;
    for (const IovaSegment& element : elements) {
      // A bounce slot, at 0, may lie anywhere.
      if (is_memory_of_arena(element)) continue;
      const std::uint64_t count = pages_of(element).length_bytes / page_bytes;
      const IovaSegment in_pages{element.iova % page_bytes, element.length_bytes};
      if (!window_.could_take(count, beyond_boundary(in_pages))) return false;
      pages += count;
    }
    return pages <= room;
  }

  /// The devices that use this object.
  [[nodiscard]] blkown::detail::UserList& users() noexcept { return users_; }
  /// The number of pages of the window that have an address in use.
  [[nodiscard]] std::uint64_t mapped_pages() const noexcept {
    const std::lock_guard guard{mutex_};
    return window_.taken_count();
  }

 private:
  struct Arena {
    Segment memory;
    std::uint64_t iova = 0;

    /// Whether all of the bytes from this place on lie in the arena.
    [[nodiscard]] bool holds(std::uint64_t offset_bytes,
                             std::uint64_t length_bytes) const noexcept {
      return offset_bytes < memory.length_bytes &&
             length_bytes <= memory.length_bytes - offset_bytes;
    }
  };

  BasicVfio(int container, const VfioConfig& config, System system) noexcept
      : system_{system}, container_{container}, config_{config} {}

  [[nodiscard]] static std::uint64_t address_of(const Segment& memory) noexcept {
    return reinterpret_cast<std::uintptr_t>(memory.data);
  }
  [[nodiscard]] static std::unexpected<MapFailure> failed_unmap() noexcept {
    return std::unexpected(MapFailure::unmap_failed);
  }
  /// The whole pages that hold the bytes.
  [[nodiscard]] static IovaSegment pages_of(const IovaSegment& bytes) noexcept {
    const std::uint64_t offset_bytes = bytes.iova % page_bytes;
    const std::uint64_t end_bytes = offset_bytes + bytes.length_bytes + page_bytes - 1;
    return {bytes.iova - offset_bytes, end_bytes - end_bytes % page_bytes};
  }
  [[nodiscard]] std::uint64_t page_at(std::uint64_t iova) const noexcept {
    return (iova - config_.first_iova) / page_bytes;
  }
  /// Whether map() finds the element in an arena. `element` is at its bus address.
  [[nodiscard]] bool is_memory_of_arena(const IovaSegment& element) const noexcept {
    for (std::size_t i = 0; i != arena_count_; ++i) {
      const std::uint64_t offset_bytes = element.iova - bus_address(arenas_[i].memory.data);
      if (arenas_[i].holds(offset_bytes, element.length_bytes)) return true;
    }
    return false;
  }
  /// Whether a device address lies in an arena.
  [[nodiscard]] bool is_in_arena(const IovaSegment& segment) const noexcept {
    for (std::size_t i = 0; i != arena_count_; ++i) {
      if (segment.iova - arenas_[i].iova < arenas_[i].memory.length_bytes) return true;
    }
    return false;
  }

  /// The I/O of a cookie, for the window. Two I/Os in flight, of one TagSet or of two, have the
  /// same one with a probability of 2^-31; each then counts the pages of both as its own.
  [[nodiscard]] static detail::PageWindow::Owner owner_of(const Cookie& cookie) noexcept {
    if (cookie == no_io) return detail::PageWindow::no_io;
    // A value may have few bits of the generation, and then tells few publications of a tag apart.
    const std::uint64_t place = std::uint64_t{cookie.queue.value} << 32 | cookie.generation.value;
    std::uint64_t hash =
        (cookie.value + place * 0x9E37'79B9'7F4A'7C15ULL) * 0xD6E8'FEB8'6659'FD93ULL;
    hash ^= hash >> 32;
    return static_cast<std::uint32_t>(hash) | 1U;
  }

  [[nodiscard]] std::expected<std::uint64_t, MapFailure> map_pages(const Segment& memory,
                                                                   Direction direction,
                                                                   const Cookie& cookie) noexcept {
    const IovaSegment pages = pages_of({address_of(memory), memory.length_bytes});
    const std::uint64_t offset_bytes = address_of(memory) - pages.iova;
    const std::uint64_t count = pages.length_bytes / page_bytes;
    std::uint64_t first = 0;
    std::uint64_t give_count = 0;
    {
      const std::lock_guard guard{mutex_};
      if (!window_.take(count, owner_of(cookie),
                        beyond_boundary({offset_bytes, memory.length_bytes}), first)) {
        return std::unexpected(count > window_.page_count() ? MapFailure::iova_space_too_small
                                                            : MapFailure::no_iova);
      }
      give_count = window_.give_count();
    }
    const std::uint64_t iova = config_.first_iova + first * page_bytes;
    vfio_iommu_type1_dma_map request{};
    request.argsz = sizeof request;
    if (device_reads(direction)) request.flags |= VFIO_DMA_MAP_FLAG_READ;
    if (device_writes(direction)) request.flags |= VFIO_DMA_MAP_FLAG_WRITE;
    request.vaddr = pages.iova;
    request.iova = iova;
    request.size = pages.length_bytes;
    const int result = system_.ioctl(container_, VFIO_IOMMU_MAP_DMA, &request);
    if (result == 0) return iova + offset_bytes;
    const std::lock_guard guard{mutex_};
    const MapFailure failure = failure_of(-result, owner_of(cookie), give_count);
    // The pages of EEXIST belong to somebody else: they stay taken.
    if (result == -EEXIST) {
      window_.keep(first, count);
    } else {
      window_.give(first, count);
    }
    return std::unexpected(failure);
  }

  /// For PageWindow: whether `bytes`, which begin at an offset in their first page, may begin in a
  /// page without crossing the device's boundary, or else in which later one.
  [[nodiscard]] auto beyond_boundary(const IovaSegment& bytes) const noexcept {
    return [this, bytes](std::uint64_t page) -> std::uint64_t {
      const std::uint64_t begin = config_.first_iova + page * page_bytes + bytes.iova;
      const std::uint64_t last = begin + bytes.length_bytes - 1;
      if (((begin ^ last) & ~config_.limits.boundary_mask) == 0) return page;
      return page_at(last & ~config_.limits.boundary_mask);
    };
  }

  /// The failure of a map for which the owner has taken pages, when the window had seen
  /// `give_count` calls of give().
  /// Precondition: the mutex is held.
  [[nodiscard]] MapFailure failure_of(int error_number, detail::PageWindow::Owner owner,
                                      std::uint64_t give_count) noexcept {
    if (error_number != ENOSPC && error_number != ENOMEM) return MapFailure::refused;
    const std::uint64_t staying = window_.count_staying(owner);
    if (error_number == ENOMEM) {
      return staying * page_bytes > system_.lock_limit_bytes() ? MapFailure::memory_limit_too_low
                                                               : MapFailure::out_of_memory;
    }
    const bool others_could_free =
        window_.give_count() != give_count || window_.taken_count() != staying;
    return others_could_free ? MapFailure::no_iova : MapFailure::iova_space_too_small;
  }

  [[nodiscard]] bool unmap_pages(const IovaSegment& pages) noexcept {
    vfio_iommu_type1_dma_unmap request{};
    request.argsz = sizeof request;
    request.iova = pages.iova;
    request.size = pages.length_bytes;
    return system_.ioctl(container_, VFIO_IOMMU_UNMAP_DMA, &request) == 0;
  }

  /// Checks that the IOMMU maps pages of page_bytes at all addresses of the window.
  [[nodiscard]] static std::expected<void, VfioError> check_iommu(int container,
                                                                  std::uint64_t first,
                                                                  std::uint64_t last,
                                                                  System& system) {
    vfio_iommu_type1_info info{};
    info.argsz = sizeof info;
    int result = system.ioctl(container, VFIO_IOMMU_GET_INFO, &info);
    if (result != 0) return std::unexpected(VfioError{VfioStep::iommu_info, -result});
    if ((info.flags & VFIO_IOMMU_INFO_PGSIZES) != 0 && (info.iova_pgsizes & page_bytes) == 0) {
      return std::unexpected(VfioError{VfioStep::page_size, 0});
    }
    const bool has_ranges = (info.flags & VFIO_IOMMU_INFO_CAPS) != 0 && info.argsz > sizeof info;
    if (!has_ranges) return {};
    const std::size_t bytes = info.argsz;
    const std::unique_ptr<std::byte[]> all{new (std::nothrow) std::byte[bytes]{}};
    if (all == nullptr) return std::unexpected(VfioError{VfioStep::allocate, ENOMEM});
    std::memcpy(all.get(), &info, sizeof info);
    result = system.ioctl(container, VFIO_IOMMU_GET_INFO, all.get());
    if (result != 0) return std::unexpected(VfioError{VfioStep::iommu_info, -result});
    if (!takes({all.get(), bytes}, first, last)) {
      return std::unexpected(VfioError{VfioStep::address_window, 0});
    }
    return {};
  }

  template <class T>
  [[nodiscard]] static bool read(std::span<const std::byte> bytes, std::size_t at, T& value) {
    if (at > bytes.size() || bytes.size() - at < sizeof value) return false;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return true;
  }
  /// Whether one of the ranges in the IOMMU's capabilities contains the addresses. True, if the
  /// kernel lists no ranges.
  [[nodiscard]] static bool takes(std::span<const std::byte> info, std::uint64_t first,
                                  std::uint64_t last) {
    vfio_iommu_type1_info head;
    std::memcpy(&head, info.data(), sizeof head);
    std::size_t at = head.cap_offset;
    // vfio_iommu_type1_info_cap_iova_range without the array of no length at its end.
    struct {
      vfio_info_cap_header header;
      std::uint32_t count;
      std::uint32_t reserved;
    } ranges{};
    // The chain ends at 0. The kernel's answer cannot make it longer than the answer itself.
    for (std::size_t left = info.size(); left != 0; --left) {
      if (at == 0) return true;
      if (!read(info, at, ranges.header)) return false;
      if (ranges.header.id == VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) break;
      at = ranges.header.next;
    }
    // A chain without an end has not led to the ranges.
    if (ranges.header.id != VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE) return false;
    if (!read(info, at, ranges)) return false;
    for (std::uint32_t i = 0; i != ranges.count; ++i) {
      vfio_iova_range range{};
      if (!read(info, at + sizeof ranges + i * sizeof range, range)) return false;
      if (range.start <= first && last <= range.end) return true;
    }
    return false;
  }

  [[no_unique_address]] System system_;
  int container_;
  VfioConfig config_;
  std::array<Arena, max_arenas> arenas_{};
  std::size_t arena_count_ = 0;
  mutable std::mutex mutex_;  // of the window
  mutable detail::PageWindow window_;
  blkown::detail::UserList users_;
};

/// The backend with the kernel's VFIO.
using Vfio = BasicVfio<>;

static_assert(Backend<Vfio>);

}  // namespace dma
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
