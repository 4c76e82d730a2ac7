// SPDX-License-Identifier: BSL-1.0
//
// The library's Status as an error on the wire, and back.

#ifndef NBD_STATUS_HPP
#define NBD_STATUS_HPP

#include <blkown/status.hpp>

#include "protocol.hpp"

namespace nbd {

/// The error that tells a client of the status.
/// Source: "Error values".
[[nodiscard]] constexpr Error error_of(blkown::Status status) noexcept {
  using blkown::Status;
  switch (status) {
    case Status::ok: return Error::ok;
    case Status::not_supported: return Error::enotsup;
    case Status::no_space: return Error::enospc;
    case Status::resource: return Error::enomem;
    case Status::offline: return Error::eshutdown;
    case Status::invalid: return Error::einval;
    case Status::reservation_conflict: return Error::eperm;
    case Status::io_error:
    case Status::timed_out:
    case Status::transport_error:
    case Status::target_error:
    case Status::medium_error:
    case Status::protection_error:
    case Status::device_resource:
    case Status::again:
    case Status::zone_open_resource:
    case Status::zone_active_resource:
    case Status::aborted: break;
  }
  return Error::eio;
}

/// The status of an I/O that a server has answered with the error.
[[nodiscard]] constexpr blkown::Status status_of(Error error) noexcept {
  using blkown::Status;
  switch (error) {
    case Error::ok: return Status::ok;
    case Error::eperm: return Status::target_error;
    case Error::eio: return Status::io_error;
    case Error::enomem: return Status::resource;
    case Error::einval:
    case Error::eoverflow: return Status::invalid;
    case Error::enospc: return Status::no_space;
    case Error::enotsup: return Status::not_supported;
    case Error::eshutdown: return Status::offline;
  }
  return Status::invalid;
}

}  // namespace nbd

#endif
