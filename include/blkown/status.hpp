// SPDX-License-Identifier: BSL-1.0
//
// Status: the result of an I/O.

#ifndef BLKOWN_STATUS_HPP
#define BLKOWN_STATUS_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The result of one I/O. Every function that ends an I/O accepts every enumerator.
/// Source: the kernel's blk_status_t.
enum class Status : std::uint8_t {
  ok,                    ///< All bytes were transferred.
  io_error,              ///< The I/O failed for a reason that no other enumerator describes.
  not_supported,         ///< The device does not support this operation.
  timed_out,             ///< No completion arrived in time.
  no_space,              ///< The medium or its thin pool is full.
  transport_error,       ///< The path to the device failed. Another path may work.
  target_error,          ///< The device refused the command. A retry is useless.
  reservation_conflict,  ///< Another initiator holds a reservation.
  medium_error,          ///< The medium could not be read or written.
  protection_error,      ///< An integrity tag did not match.
  resource,              ///< The host lacks a resource. Retry when one is freed.
  device_resource,       ///< The device lacks a resource. A completion of its I/O frees one.
  again,                 ///< The I/O would block, and the submitter does not allow that.
  zone_open_resource,    ///< Too many open zones.
  zone_active_resource,  ///< Too many active zones.
  offline,               ///< The device is offline.
  invalid,               ///< The request is malformed.
  aborted,               ///< The I/O was cancelled before the device finished it.
};

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(Status status) noexcept {
  switch (status) {
    case Status::ok: return "ok";
    case Status::io_error: return "io_error";
    case Status::not_supported: return "not_supported";
    case Status::timed_out: return "timed_out";
    case Status::no_space: return "no_space";
    case Status::transport_error: return "transport_error";
    case Status::target_error: return "target_error";
    case Status::reservation_conflict: return "reservation_conflict";
    case Status::medium_error: return "medium_error";
    case Status::protection_error: return "protection_error";
    case Status::resource: return "resource";
    case Status::device_resource: return "device_resource";
    case Status::again: return "again";
    case Status::zone_open_resource: return "zone_open_resource";
    case Status::zone_active_resource: return "zone_active_resource";
    case Status::offline: return "offline";
    case Status::invalid: return "invalid";
    case Status::aborted: return "aborted";
  }
  return "unknown status";
}

/// The number of enumerators, for tables indexed by Status.
inline constexpr std::size_t status_count = static_cast<std::size_t>(Status::aborted) + 1;
static_assert(detail::counts_enumerators<Status>(status_count));

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
