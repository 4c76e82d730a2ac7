// SPDX-License-Identifier: BSL-1.0
//
// What the chain of a virtio block request asks for. A header, then the data of a write, are what
// the device reads; the data of a read, then a byte for the result, are what it writes. The driver
// may divide them into descriptors at any byte.

#ifndef VHOST_USER_BLK_BLOCK_REQUEST_HPP
#define VHOST_USER_BLK_BLOCK_REQUEST_HPP

#include <algorithm>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "guest_memory.hpp"
#include "request.hpp"
#include "virtio.hpp"
#include "virtqueue.hpp"

namespace vhost_user_blk {

/// What a disk can do, for the guest.
struct DiskInfo {
  std::uint64_t size_bytes = 0;  ///< Whole sectors.
  bool read_only = false;
};

namespace detail {

using Segments = std::vector<blkown::Segment>;

[[nodiscard]] inline std::uint64_t length_of(const Segments& segments) noexcept {
  std::uint64_t bytes = 0;
  for (const blkown::Segment& each : segments) bytes += each.length_bytes;
  return bytes;
}

/// Copies and removes the first bytes. False if there are fewer.
[[nodiscard]] inline bool take_front(Segments& segments, std::span<std::byte> to) noexcept {
  std::size_t done = 0;
  std::size_t empty = 0;
  for (blkown::Segment& each : segments) {
    if (done == to.size()) break;
    const std::size_t part = std::min(each.length_bytes, to.size() - done);
    copy_shared(to.data() + done, each.data, part);
    each = each.part(part, each.length_bytes);
    done += part;
    if (each.empty()) ++empty;
  }
  segments.erase(segments.begin(), segments.begin() + static_cast<std::ptrdiff_t>(empty));
  return done == to.size();
}

/// The last byte, which is removed. Null if there is none.
[[nodiscard]] inline std::byte* take_back(Segments& segments) noexcept {
  while (!segments.empty() && segments.back().empty()) segments.pop_back();
  if (segments.empty()) return nullptr;
  return segments.back().data + --segments.back().length_bytes;
}

/// A read or a write: whole sectors, on the disk.
[[nodiscard]] inline Refusal check_transfer(const Command& command, const DiskInfo& disk) noexcept {
  using virtio::blk::sector_bytes;
  if (command.length == 0 || command.length % sector_bytes != 0) return Refusal::bad_length;
  const bool is_on_disk =
      command.offset <= disk.size_bytes && command.length <= disk.size_bytes - command.offset;
  if (!is_on_disk) return Refusal::out_of_range;
  const bool is_read = command.operation == Operation::read;
  return disk.read_only && !is_read ? Refusal::read_only : Refusal::none;
}

/// The byte at which a sector begins, or one behind each disk.
[[nodiscard]] constexpr std::uint64_t offset_of(std::uint64_t sector) noexcept {
  return sector <= UINT64_MAX / virtio::blk::sector_bytes ? sector * virtio::blk::sector_bytes
                                                          : UINT64_MAX;
}

/// A discard or a write_zeroes, of one range.
[[nodiscard]] inline Refusal parse_range(Chain& chain, Command& command,
                                         const DiskInfo& disk) noexcept {
  virtio::blk::Range range;
  if (length_of(chain.readable) != sizeof(range)) return Refusal::bad_length;
  static_cast<void>(
      take_front(chain.readable, std::as_writable_bytes(std::span{&range, std::size_t{1}})));
  const std::uint32_t allowed =
      command.operation == Operation::write_zeroes ? virtio::blk::range_flag_unmap : 0;
  if ((range.flags & ~allowed) != 0) return Refusal::unsupported_flags;
  command.may_unmap = range.flags != 0;
  command.offset = offset_of(range.sector);
  command.length = std::uint64_t{range.sectors} * virtio::blk::sector_bytes;
  return check_transfer(command, disk);
}

/// The type, which the header has.
[[nodiscard]] inline Refusal parse_operation(std::uint32_t type, Operation& operation) noexcept {
  switch (static_cast<virtio::blk::Type>(type)) {
    case virtio::blk::Type::in: operation = Operation::read; return Refusal::none;
    case virtio::blk::Type::out: operation = Operation::write; return Refusal::none;
    case virtio::blk::Type::flush: operation = Operation::flush; return Refusal::none;
    case virtio::blk::Type::get_id: operation = Operation::get_id; return Refusal::none;
    case virtio::blk::Type::discard: operation = Operation::discard; return Refusal::none;
    case virtio::blk::Type::write_zeroes: operation = Operation::write_zeroes; return Refusal::none;
  }
  return Refusal::unsupported_type;
}

}  // namespace detail

/// Makes a command of the chain, whose segments it uses up. `command.result` is null if the chain
/// has no byte for the result.
/// Errors: Refusal.
[[nodiscard]] inline Refusal parse_block_request(Chain& chain, const DiskInfo& disk,
                                                 Command& command) {
  command.data.clear();
  command.may_unmap = false;
  command.offset = 0;
  command.length = 0;
  command.result = detail::take_back(chain.writable);
  virtio::blk::Header header;
  if (!detail::take_front(chain.readable,
                          std::as_writable_bytes(std::span{&header, std::size_t{1}}))) {
    return Refusal::short_header;
  }
  const Refusal refusal = detail::parse_operation(header.type, command.operation);
  if (refusal != Refusal::none) return refusal;
  const bool is_read = command.operation == Operation::read;
  // Data that the operation does not have.
  const bool device_writes = is_read || command.operation == Operation::get_id;
  if (!device_writes && detail::length_of(chain.writable) != 0) return Refusal::bad_length;
  if (device_writes && detail::length_of(chain.readable) != 0) return Refusal::bad_length;
  auto& data = device_writes ? chain.writable : chain.readable;
  switch (command.operation) {
    case Operation::read:
    case Operation::write:
      command.offset = detail::offset_of(header.sector);
      command.length = detail::length_of(data);
      command.data.assign(data.begin(), data.end());
      return detail::check_transfer(command, disk);
    case Operation::flush:
      return detail::length_of(data) == 0 ? Refusal::none : Refusal::bad_length;
    case Operation::get_id:
      command.length = detail::length_of(data);
      command.data.assign(data.begin(), data.end());
      return command.length == virtio::blk::id_bytes ? Refusal::none : Refusal::bad_length;
    case Operation::discard:
    case Operation::write_zeroes: return detail::parse_range(chain, command, disk);
  }
  return Refusal::unsupported_type;
}

/// What the guest is told.
[[nodiscard]] inline virtio::blk::Result result_of(const Command& command,
                                                   blkown::Status status) noexcept {
  if (status == blkown::Status::ok) return virtio::blk::Result::ok;
  const bool is_unsupported = command.refusal == Refusal::unsupported_type ||
                              command.refusal == Refusal::unsupported_flags ||
                              status == blkown::Status::not_supported;
  return is_unsupported ? virtio::blk::Result::unsupported : virtio::blk::Result::io_error;
}

}  // namespace vhost_user_blk

#endif
