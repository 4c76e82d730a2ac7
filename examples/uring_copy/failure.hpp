// SPDX-License-Identifier: BSL-1.0
//
// Failure: why a copy stopped, and its message.

#ifndef URING_COPY_FAILURE_HPP
#define URING_COPY_FAILURE_HPP

#include <cstdint>
#include <string>

#include "device.hpp"
#include "problem.hpp"

namespace uring_copy {

enum class Cause : std::uint8_t {
  io,            ///< A read or write ended with an error.
  source_ended,  ///< The source ended before its expected size.
  cancelled,     ///< A read or write was cancelled too many times in a row.
  no_progress,   ///< A write of 0 bytes, or a result larger than the command.
  device,        ///< The device failed; the state of its commands is unknown.
  lost,          ///< The device did not complete a command.
  interrupted,   ///< The user stopped the copy.
};

struct Failure {
  Cause cause = Cause::io;
  Operation operation = Operation::read;
  std::uint64_t offset_bytes = 0;
  int error = 0;  ///< An errno value, for `io` and `device`.
};

/// Whether the device may still have commands, and therefore may still write to their buffers.
[[nodiscard]] constexpr bool may_still_write(const Failure& failure) noexcept {
  return failure.cause == Cause::device || failure.cause == Cause::lost;
}

[[nodiscard]] inline Problem problem_of(const Failure& failure, const std::string& source,
                                        const std::string& destination, std::uint64_t size_bytes) {
  const bool is_read = failure.operation == Operation::read;
  const std::string& path = is_read ? source : destination;
  const std::string place =
      std::string{is_read ? "read" : "write"} + " at byte " + std::to_string(failure.offset_bytes);
  switch (failure.cause) {
    case Cause::io: return system_problem(path, place, failure.error);
    case Cause::source_ended:
      return {source + ": ends at byte " + std::to_string(failure.offset_bytes) + " but had " +
              std::to_string(size_bytes) +
              " bytes when the copy began; stop what shortens it and copy again"};
    case Cause::cancelled:
      return {path + ": " + place +
              ": cancelled at every try; raise --timeout-ms or lower --depth"};
    case Cause::no_progress:
      return {path + ": " + place + ": the device reports an impossible number of bytes"};
    case Cause::device:
      return {"the device failed: " + error_text(failure.error) + "; use --backend threads"};
    case Cause::lost: return {"the device lost a command; use --backend threads"};
    case Cause::interrupted: return interrupted(destination);
  }
  return {"unknown failure"};
}

}  // namespace uring_copy

#endif
