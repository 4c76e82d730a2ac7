// SPDX-License-Identifier: BSL-1.0
//
// Command: the data of a request. A virtqueue is a hardware queue of the TagSet, and a descriptor's
// index is a tag: the guest chooses it with the head of its chain. A request lives from the moment
// at which its head was popped until the head is pushed:
//
//   Idle        the queue: allocate_tag with the head. None: the head is in flight, and the guest
//               has forged it
//   Owned       the queue, then the store, which ends it, or
//   published   the store's device, which has the request's cookie and sends it back
//   Claim       the store: the cookie was looked up
//   Ended       the queue: it writes the result
//   released    the tag is free, and only then is the head pushed: the guest may use it again at
//               once, and must find the tag free
//
// The ids that a store's device gets are the library's: the guest chooses a tag, and no generation.

#ifndef VHOST_USER_BLK_REQUEST_HPP
#define VHOST_USER_BLK_REQUEST_HPP

#include <blkown/blkown.hpp>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "virtio.hpp"

namespace vhost_user_blk {

enum class Operation : std::uint8_t { read, write, flush, discard, write_zeroes, get_id };

/// Why a request of a sound chain is not executed. The guest gets a result.
enum class Refusal : std::uint8_t {
  none,
  short_header,      ///< Fewer bytes to read than a header has.
  unsupported_type,  ///< A request that was not offered.
  bad_length,        ///< Data of no whole sectors, or too much or too little of it.
  out_of_range,      ///< Behind the end of the disk.
  read_only,
  unsupported_flags,
};
inline constexpr std::size_t refusal_count =
    static_cast<std::size_t>(Refusal::unsupported_flags) + 1;

/// The enumerator's name, for messages.
[[nodiscard]] constexpr const char* to_string(Refusal refusal) noexcept {
  switch (refusal) {
    case Refusal::none: return "none";
    case Refusal::short_header: return "short_header";
    case Refusal::unsupported_type: return "unsupported_type";
    case Refusal::bad_length: return "bad_length";
    case Refusal::out_of_range: return "out_of_range";
    case Refusal::read_only: return "read_only";
    case Refusal::unsupported_flags: return "unsupported_flags";
  }
  return "unknown refusal";
}

struct Command {
  Operation operation{};
  bool may_unmap = false;  ///< Of write_zeroes: the range may become a hole.
  Refusal refusal{};       ///< Set if the store does not get the command.
  std::uint64_t offset = 0;
  std::uint64_t length = 0;           ///< In bytes.
  std::vector<blkown::Segment> data;  ///< Of a read, a write and get_id: the guest's memory.
  std::byte* result = nullptr;        ///< In the guest's memory. Null: the head is not pushed.
};

using Rq = blkown::Request<Command>;
using Tags = blkown::TagSet<Rq>;

/// The layout of the ids that a store gives to its device.
inline constexpr blkown::CookieLayout cookie_layout = blkown::CookieLayout::io_uring();

}  // namespace vhost_user_blk

#endif
