// SPDX-License-Identifier: BSL-1.0
//
// How an I/O ended, as the block layer hears it.

#ifndef BLKOWN_STATUS_HPP
#define BLKOWN_STATUS_HPP

#include <blkown/config.hpp>
#include <blkown/detail/enum_count.hpp>
#include <cstddef>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The result of one I/O. The set follows the kernel's blk_status_t, whose names block drivers
/// already know. Ending an I/O is total over this type: every enumerator is accepted everywhere.
enum class Status : std::uint8_t {
  ok,                    ///< All bytes moved.
  io_error,              ///< Failed, no better reason known.
  not_supported,         ///< The device does not do this operation.
  timed_out,             ///< No completion arrived in time.
  no_space,              ///< The medium or its thin pool is full.
  transport_error,       ///< The path to the device failed; another path may work.
  target_error,          ///< The device refused the command for good.
  reservation_conflict,  ///< Another initiator holds a reservation.
  medium_error,          ///< The medium could not be read or written.
  protection_error,      ///< An integrity tag did not match.
  resource,              ///< A resource of the host is short; retry when one is freed.
  device_resource,       ///< A resource of the device is short; a completion of its I/O frees one.
  again,                 ///< Would block, and the submitter asked not to.
  zone_open_resource,    ///< Too many open zones.
  zone_active_resource,  ///< Too many active zones.
  offline,               ///< The device is set offline.
  invalid,               ///< The request is malformed.
  aborted,               ///< Cancelled before the device finished it.
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
