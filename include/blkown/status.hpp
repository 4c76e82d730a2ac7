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
/// Source: the kernel's blk_status_t. Each comment begins with the kernel's name of the status.
enum class Status : std::uint8_t {
  ok,                    ///< BLK_STS_OK: all bytes were transferred.
  io_error,              ///< BLK_STS_IOERR: a failure that no other enumerator describes.
  not_supported,         ///< BLK_STS_NOTSUPP: the device does not support this operation.
  timed_out,             ///< BLK_STS_TIMEOUT: no completion arrived in time.
  no_space,              ///< BLK_STS_NOSPC: the medium or its thin pool is full.
  transport_error,       ///< BLK_STS_TRANSPORT: the path failed. Another path may work.
  target_error,          ///< BLK_STS_TARGET: the device refused the command. Do not retry.
  reservation_conflict,  ///< BLK_STS_RESV_CONFLICT: another initiator holds a reservation.
  medium_error,          ///< BLK_STS_MEDIUM: the medium could not be read or written.
  protection_error,      ///< BLK_STS_PROTECTION: an integrity tag did not match.
  resource,              ///< BLK_STS_RESOURCE: the host lacks a resource. Retry when one is freed.
  device_resource,       ///< BLK_STS_DEV_RESOURCE: the device lacks a resource. A completion of its
                         ///< I/O frees one.
  again,                 ///< BLK_STS_AGAIN: the I/O would block, and its submitter forbids that.
  zone_open_resource,    ///< BLK_STS_ZONE_OPEN_RESOURCE: too many open zones.
  zone_active_resource,  ///< BLK_STS_ZONE_ACTIVE_RESOURCE: too many active zones.
  offline,               ///< BLK_STS_OFFLINE: the device is offline.
  invalid,               ///< BLK_STS_INVAL: the request is malformed.
  aborted,               ///< The I/O was cancelled before the device finished it. No counterpart.
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
