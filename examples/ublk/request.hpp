// SPDX-License-Identifier: BSL-1.0
//
// Command: the data of a request. A hardware queue of the TagSet is a queue of the ublk device, and
// the tags are the kernel's. A request lives from the moment at which a fetch command has completed
// until its result is committed:
//
//   Idle, Owned   the queue: allocate_tag with the kernel's tag, then the descriptor
//   Owned         the store, which ends it, or
//   published     the store's device, which has the request's cookie and sends it back
//   Claim         the store: the cookie was looked up. Or a timeout, if it comes first
//   Ended         the queue
//   released      the tag is free, and only then
//   committed     the kernel may use the tag again: with the next completion, maybe at once
//
// A tag that the kernel sends while its request is not idle is refused by allocate_tag. The ids of
// the store's device are the library's: one that comes back after a timeout names nothing.

#ifndef UBLK_REQUEST_HPP
#define UBLK_REQUEST_HPP

#include <blkown/blkown.hpp>

#include "storage/io.hpp"

namespace ublk {

struct Command {
  storage::Io io{};
};

using Rq = blkown::Request<Command>;
using Tags = blkown::TagSet<Rq>;

/// For storage::UringFile.
[[nodiscard]] inline const storage::Io& io_of(const Command& command) noexcept {
  return command.io;
}

}  // namespace ublk

#endif
