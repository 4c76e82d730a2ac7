// SPDX-License-Identifier: BSL-1.0
//
// Device: the copier's interface to a device. The device takes commands with a 64-bit value, and
// returns each value with a result when the command has ended.

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

/// The layout of the 64 bits. The 8 user bits hold the Entry.
inline constexpr blkown::CookieLayout cookie_layout = blkown::CookieLayout::io_uring();

/// The completion entries that one publication may have. All have the publication's cookie. They
/// differ in the user bits, which lookups ignore.
enum class Entry : std::uint8_t {
  io = 0,            ///< The read or write. The buffer then belongs to the program again.
  link_timeout = 1,  ///< The command's time limit.
  cancel = 2,        ///< The result of Device::cancel.
};

/// The 64 bits that identify one completion entry of a publication.
[[nodiscard]] constexpr std::uint64_t id_of(Entry entry, std::uint64_t cookie) noexcept {
  return cookie_layout.with_user(cookie, static_cast<std::uint64_t>(entry));
}
/// The kind of the completion entry that an id identifies.
[[nodiscard]] constexpr Entry entry_of(std::uint64_t value) noexcept {
  return static_cast<Entry>(cookie_layout.user_of(value));
}

enum class Operation : std::uint8_t { read, write };

/// A transfer from the source to mapped memory (read), or from there to the destination (write).
struct Command {
  Operation operation = Operation::read;
  std::uint32_t buffer_index = 0;   ///< The request's buffer.
  blkown::dma::IovaSegment memory;  ///< The mapped part of the buffer.
  std::uint64_t offset_bytes = 0;
  std::uint32_t timeout_ms = 0;  ///< 0: no limit.
};

/// The memory behind a device address, for a device in this process.
[[nodiscard]] inline blkown::Segment memory_at(const blkown::dma::IovaSegment& mapped) noexcept {
  return {reinterpret_cast<std::byte*>(mapped.iova), static_cast<std::size_t>(mapped.length_bytes)};
}

/// A completion entry: the command's value, and the number of bytes or a negative errno value.
struct Completion {
  std::uint64_t value = 0;
  int result = 0;
};

/// Whether the error means that the device has no room at the moment.
[[nodiscard]] constexpr bool is_busy(int error) noexcept {
  return error == EAGAIN || error == EBUSY || error == EINTR;
}

/// A device for one thread. Errors are errno values.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  /// Takes a command, or refuses it without a trace. The command begins at the next submit() at the
  /// latest, and may begin at once.
  [[nodiscard]] virtual std::expected<void, int> issue(const Command& command,
                                                       std::uint64_t cookie) = 0;

  /// Requests that the command ends early. The command still ends by its own completion.
  [[nodiscard]] virtual std::expected<void, int> cancel(std::uint64_t cookie) = 0;

  /// Rings the doorbell: begins all commands that were taken.
  [[nodiscard]] virtual std::expected<void, int> submit() = 0;

  /// Waits at most 100 ms for completions, and returns all that have arrived. The span is valid
  /// until the next call.
  [[nodiscard]] virtual std::expected<std::span<const Completion>, int> reap() = 0;

  /// The number of completions that have not arrived yet.
  [[nodiscard]] virtual std::size_t outstanding() const noexcept = 0;
};

}  // namespace uring_copy

#endif
