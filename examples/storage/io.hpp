// SPDX-License-Identifier: BSL-1.0
//
// Io: what a front end asks of its storage, in the words of no protocol.

#ifndef STORAGE_IO_HPP
#define STORAGE_IO_HPP

#include <array>
#include <atomic>
#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace storage {

enum class Operation : std::uint8_t {
  read,
  write,
  flush,         ///< What has ended before becomes durable.
  discard,       ///< Advice: the range may lose its data.
  write_zeroes,  ///< The range reads as zeroes.
  read_ahead,    ///< Advice: the range will be read.
};

/// One I/O. A front end defines `Io io_of(const Data&)` beside the data of its requests. The answer
/// stays the same while the request is started.
struct Io {
  Operation operation = Operation::read;
  bool is_durable = false;    ///< Of a write, a discard and zeroes: durable when the I/O ends.
  bool keeps_blocks = false;  ///< Of zeroes: no hole.
  bool is_fast = false;       ///< Of zeroes: not_supported rather than a slow write.
  std::uint64_t offset = 0;   ///< In bytes.
  std::uint64_t length = 0;   ///< In bytes.
  blkown::Segment memory{};   ///< Of a read and a write: `length` bytes.
};

/// The layout of the ids that go to io_uring. The TagSet of a front end has it. A generation names
/// the publication, so that a late id finds no other I/O.
inline constexpr blkown::CookieLayout cookie_layout = blkown::CookieLayout::io_uring();

/// The lookups that were refused, by reason: ids that a device sent and that named no I/O.
/// Context: any.
class RefusedLookups {
 public:
  void count(blkown::LookupReason reason) noexcept {
    // n -> n + 1. Relaxed: a number for the report, which orders nothing.
    counts_[static_cast<std::size_t>(reason)].fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get(blkown::LookupReason reason) const noexcept {
    // Relaxed: as above.
    return counts_[static_cast<std::size_t>(reason)].load(std::memory_order_relaxed);
  }
  /// Prints " none", or a number for each reason that has one.
  void print(std::FILE* file) const {
    bool any = false;
    for (std::size_t i = 0; i != blkown::lookup_reason_count; ++i) {
      const auto reason = static_cast<blkown::LookupReason>(i);
      if (get(reason) == 0) continue;
      std::fprintf(file, "%s %s %llu", any ? "," : "", to_string(reason),
                   static_cast<unsigned long long>(get(reason)));
      any = true;
    }
    if (!any) std::fputs(" none", file);
  }

 private:
  std::array<std::atomic<std::uint64_t>, blkown::lookup_reason_count> counts_{};
};

}  // namespace storage

#endif
