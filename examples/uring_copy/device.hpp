// SPDX-License-Identifier: BSL-1.0
//
// What the copier asks of a device: to take commands under a 64-bit name, and to give each name
// back with a result when the command is over. That is all a device has in common with another.

#ifndef URING_COPY_DEVICE_HPP
#define URING_COPY_DEVICE_HPP

#include <blkown/dma/iova.hpp>
#include <blkown/segment.hpp>
#include <blkown/tag.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>

namespace uring_copy {

/// Where tag and generation sit in the 64 bits; the 8 user bits say what kind of entry it is.
inline constexpr blkown::CookieLayout cookie_layout = blkown::CookieLayout::io_uring();

/// The entries that one publication of a request may have in the device's completion queue. All
/// carry the request's cookie and differ in the user bits, which lookups ignore.
enum class Entry : std::uint8_t {
  io = 0,            ///< The read or write itself. Only after it is the buffer ours again.
  link_timeout = 1,  ///< Its time limit.
  cancel = 2,        ///< The answer to Device::cancel.
};

[[nodiscard]] constexpr std::uint64_t name_of(Entry entry, std::uint64_t cookie) noexcept {
  return cookie_layout.with_user(cookie, static_cast<std::uint64_t>(entry));
}
[[nodiscard]] constexpr Entry entry_of(std::uint64_t value) noexcept {
  return static_cast<Entry>(cookie_layout.user_of(value));
}

enum class Operation : std::uint8_t { read, write };

/// Bytes to move between mapped memory and the source (read) or the destination (write).
struct Command {
  Operation operation = Operation::read;
  std::uint32_t buffer_index = 0;   ///< The request's own.
  blkown::dma::IovaSegment memory;  ///< A mapping's, in that buffer.
  std::uint64_t offset_bytes = 0;
  std::uint32_t timeout_ms = 0;  ///< 0: no limit.
};

/// The memory behind a device address, for a device in this process.
[[nodiscard]] inline blkown::Segment memory_at(const blkown::dma::IovaSegment& mapped) noexcept {
  return {reinterpret_cast<std::byte*>(mapped.iova), static_cast<std::size_t>(mapped.length_bytes)};
}

/// What the device says: a name, and a number of bytes or minus an errno value.
struct Completion {
  std::uint64_t value = 0;
  int result = 0;
};

/// Whether the device only has no room at the moment.
[[nodiscard]] constexpr bool is_busy(int error) noexcept {
  return error == EAGAIN || error == EBUSY || error == EINTR;
}

/// One thread uses it. Errors are errno values.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  /// Takes a command, or refuses it and then knows nothing of it. It may begin at once, and begins
  /// at the next submit() at the latest.
  [[nodiscard]] virtual std::expected<void, int> issue(const Command& command,
                                                       std::uint64_t cookie) = 0;

  /// Asks for the command to be ended early. It ends by its own completion, as any other; this
  /// asks for no more than that it be soon.
  [[nodiscard]] virtual std::expected<void, int> cancel(std::uint64_t cookie) = 0;

  /// The doorbell.
  [[nodiscard]] virtual std::expected<void, int> submit() = 0;

  /// Waits for completions, a tenth of a second at most, and returns those there are. They are
  /// valid until the next call.
  [[nodiscard]] virtual std::expected<std::span<const Completion>, int> reap() = 0;

  /// How many completions are still to come.
  [[nodiscard]] virtual std::size_t outstanding() const noexcept = 0;
};

}  // namespace uring_copy

#endif
