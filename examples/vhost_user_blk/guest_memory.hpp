// SPDX-License-Identifier: BSL-1.0
//
// GuestMemory: the memory of a guest, mapped as the front end's table says, and the translation of
// addresses in it.
//
// The table comes from the front end, the addresses in the rings come from the guest, and neither
// is believed: a table whose regions overlap, wrap around or are longer than their files is
// refused, and a range of which one byte is not in the table is not translated.
//
// The memory is shared, so its bytes may change at any moment. What is checked is copied first.
// A file that becomes shorter after it was mapped would kill the target (SIGBUS): the file has to
// be sealed against that (F_SEAL_SHRINK), unless the caller says that the front end is trusted.

#ifndef VHOST_USER_BLK_GUEST_MEMORY_HPP
#define VHOST_USER_BLK_GUEST_MEMORY_HPP

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "protocol.hpp"
#include "signal.hpp"

namespace vhost_user_blk {

/// Copies memory that its other side may change at any moment.
inline void copy_shared(std::byte* to, const std::byte* from, std::size_t length_bytes) noexcept {
  std::memcpy(to, from, length_bytes);
  // For the compiler alone, which may otherwise read the memory again where the copy is used: what
  // was checked would not be what is used. No other thread is ordered by it.
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// Why a memory table is refused.
enum class MemoryError : std::uint8_t {
  empty_region,
  address_overflow,  ///< A region ends behind the largest address.
  overlap,           ///< Two regions have an address in common.
  beyond_file,       ///< A region is longer than its file.
  shrinkable,        ///< The file may become shorter: not sealed with F_SEAL_SHRINK.
  not_mappable,
};
inline constexpr std::size_t memory_error_count =
    static_cast<std::size_t>(MemoryError::not_mappable) + 1;

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(MemoryError error) noexcept {
  switch (error) {
    case MemoryError::empty_region: return "empty_region";
    case MemoryError::address_overflow: return "address_overflow";
    case MemoryError::overlap: return "overlap";
    case MemoryError::beyond_file: return "beyond_file";
    case MemoryError::shrinkable: return "shrinkable";
    case MemoryError::not_mappable: return "not_mappable";
  }
  return "unknown memory error";
}

/// A file that is mapped, as a whole or its first bytes. The destructor unmaps it.
class FileMapping {
 public:
  /// Maps bytes 0 to `length - 1`. A file of huge pages can be mapped only from such a page on.
  [[nodiscard]] static std::expected<FileMapping, MemoryError> map(const Descriptor& file,
                                                                   std::size_t length,
                                                                   bool needs_seal) {
    // Before the length is read: the other side could make the file shorter, and then seal it.
    const int seals = fcntl(file.get(), F_GET_SEALS);
    struct stat status{};
    if (fstat(file.get(), &status) != 0 || status.st_size < 0 ||
        static_cast<std::uint64_t>(status.st_size) < length) {
      return std::unexpected(MemoryError::beyond_file);
    }
    if (needs_seal && (seals < 0 || (seals & F_SEAL_SHRINK) == 0)) {
      return std::unexpected(MemoryError::shrinkable);
    }
    void* const at = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (at == MAP_FAILED) return std::unexpected(MemoryError::not_mappable);
    return FileMapping{{static_cast<std::byte*>(at), length}};
  }
  FileMapping() = default;
  FileMapping(FileMapping&& other) noexcept : bytes_{std::exchange(other.bytes_, {})} {}
  FileMapping& operator=(FileMapping&& other) noexcept {
    FileMapping taken{std::move(other)};
    std::swap(bytes_, taken.bytes_);
    return *this;
  }
  ~FileMapping() {
    if (bytes_.data != nullptr) munmap(bytes_.data, bytes_.length_bytes);
  }
  [[nodiscard]] blkown::Segment bytes() const noexcept { return bytes_; }

 private:
  explicit FileMapping(blkown::Segment bytes) noexcept : bytes_{bytes} {}
  blkown::Segment bytes_{};
};

class GuestMemory {
 public:
  /// Without memory: no address is translated.
  GuestMemory() = default;

  /// Maps the regions, each from its file.
  /// Precondition: as many files as regions.
  /// Errors: MemoryError. Nothing is mapped then.
  [[nodiscard]] static std::expected<GuestMemory, MemoryError> map(
      std::span<const vhost_user::MemoryRegion> table, std::span<const Descriptor> files,
      bool needs_seal) {
    if (const auto good = check(table); !good) return std::unexpected(good.error());
    GuestMemory memory;
    for (std::size_t i = 0; i != table.size(); ++i) {
      auto mapping = FileMapping::map(files[i], table[i].mmap_offset + table[i].size, needs_seal);
      if (!mapping) return std::unexpected(mapping.error());
      memory.regions_.push_back({table[i], std::move(*mapping)});
    }
    return memory;
  }

  /// Checks the table alone, without its files.
  [[nodiscard]] static std::expected<void, MemoryError> check(
      std::span<const vhost_user::MemoryRegion> table) {
    for (const vhost_user::MemoryRegion& region : table) {
      if (region.size == 0) return std::unexpected(MemoryError::empty_region);
      for (const std::uint64_t begin :
           {region.guest_address, region.user_address, region.mmap_offset}) {
        if (begin > std::numeric_limits<std::uint64_t>::max() - region.size) {
          return std::unexpected(MemoryError::address_overflow);
        }
      }
      for (const vhost_user::MemoryRegion& other :
           table.first(static_cast<std::size_t>(&region - table.data()))) {
        if (overlaps(region.guest_address, region.size, other.guest_address, other.size) ||
            overlaps(region.user_address, region.size, other.user_address, other.size)) {
          return std::unexpected(MemoryError::overlap);
        }
      }
    }
    return {};
  }

  /// The memory at a user address. None of it if the range is not in one region.
  [[nodiscard]] blkown::Segment at_user_address(std::uint64_t address, std::size_t length) const {
    for (const Region& region : regions_) {
      const std::uint64_t offset = address - region.table.user_address;
      if (address < region.table.user_address || offset >= region.table.size) continue;
      if (length > region.table.size - offset) return {};
      return {region.at(offset), length};
    }
    return {};
  }

  /// Appends the memory of the guest's range to `segments`: more than one if the range goes from
  /// one region into the next. Returns false if a byte of the range is not the guest's memory.
  [[nodiscard]] bool append(std::uint64_t address, std::uint64_t length,
                            std::vector<blkown::Segment>& segments) const {
    while (length != 0) {
      const Region* const region = region_of(address);
      if (region == nullptr) return false;
      const std::uint64_t offset = address - region->table.guest_address;
      const std::uint64_t part = std::min(length, region->table.size - offset);
      segments.push_back({region->at(offset), part});
      // No region ends behind the largest address, so the address of the next byte is one.
      address += part;
      length -= part;
    }
    return true;
  }

  [[nodiscard]] bool empty() const noexcept { return regions_.empty(); }

 private:
  struct Region {
    vhost_user::MemoryRegion table;
    FileMapping file;

    [[nodiscard]] std::byte* at(std::uint64_t offset) const noexcept {
      return file.bytes().data + table.mmap_offset + offset;
    }
  };

  [[nodiscard]] static bool overlaps(std::uint64_t a, std::uint64_t a_size, std::uint64_t b,
                                     std::uint64_t b_size) noexcept {
    return a < b + b_size && b < a + a_size;
  }
  [[nodiscard]] const Region* region_of(std::uint64_t address) const noexcept {
    for (const Region& region : regions_) {
      if (address >= region.table.guest_address &&
          address - region.table.guest_address < region.table.size) {
        return &region;
      }
    }
    return nullptr;
  }

  std::vector<Region> regions_;
};

}  // namespace vhost_user_blk

#endif
