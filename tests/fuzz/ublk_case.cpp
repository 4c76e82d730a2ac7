// SPDX-License-Identifier: BSL-1.0
//
// Goal: whatever descriptor the ublk driver sends, the server executes what lies within its disk
// and its buffer, and refuses everything else.
//
// Method: the input gives a disk, sound as its options make it, and descriptors, near the disk's
// limits most of the time. A reference decides in arithmetic that cannot overflow.
//
// Invariants: an I/O is accepted exactly where the reference accepts it. Its range is the
// descriptor's, and lies within the disk. Its memory is the beginning of the buffer, and lies in
// it.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "fuzz_case.hpp"
#include "ublk/protocol.hpp"

namespace fuzz {
namespace {

constexpr std::uint64_t sector = 512;

[[nodiscard]] ublk::Geometry take_geometry(Input& input) {
  ublk::Geometry geometry;
  geometry.block_bytes = 512U << input.below(4);
  geometry.max_io_bytes = 4096U << input.below(4);
  // A file has less than 2^63 bytes.
  const unsigned bits = input.below(64);
  const std::uint64_t size = input.bits(8) & ((std::uint64_t{1} << bits) - 1);
  geometry.size_bytes = size / geometry.block_bytes * geometry.block_bytes;
  geometry.read_only = input.below(4) == 0;
  return geometry;
}

[[nodiscard]] ublksrv_io_desc take_descriptor(Input& input, const ublk::Geometry& geometry) {
  ublksrv_io_desc descriptor{};
  descriptor.op_flags = input.below(8) | static_cast<std::uint32_t>(input.bits(3)) << 8;
  if (input.below(8) == 0) descriptor.op_flags |= input.byte();
  // Near the end of the disk, near the longest I/O, or anything.
  const std::uint64_t sectors = geometry.size_bytes / sector;
  descriptor.start_sector = input.flag() ? input.bits(8) : sectors - input.byte();
  if (input.flag() && sectors != 0) descriptor.start_sector %= sectors;
  descriptor.nr_sectors = static_cast<std::uint32_t>(input.bits(input.flag() ? 4 : 1));
  if (input.flag()) descriptor.nr_sectors = geometry.max_io_bytes / 512 + input.below(3) - 1;
  return descriptor;
}

/// Whether `value` blocks-of-512 are whole blocks of the disk.
[[nodiscard]] bool is_whole(std::uint64_t sectors, const ublk::Geometry& geometry) {
  return sectors % (geometry.block_bytes / sector) == 0;
}

[[nodiscard]] blkown::Status expected_of(const ublksrv_io_desc& descriptor,
                                         const ublk::Geometry& geometry) {
  const std::uint32_t op = descriptor.op_flags % 256;
  if (op == UBLK_IO_OP_FLUSH) return blkown::Status::ok;
  if (op > UBLK_IO_OP_WRITE_ZEROES || op == UBLK_IO_OP_WRITE_SAME) {
    return blkown::Status::not_supported;
  }
  const std::uint64_t sectors = geometry.size_bytes / sector;
  const std::uint64_t count = descriptor.nr_sectors;
  const bool has_data = op == UBLK_IO_OP_READ || op == UBLK_IO_OP_WRITE;
  // sectors < 2^54 and count < 2^32: the sum does not overflow behind the first test.
  const bool is_good = count != 0 && descriptor.start_sector < sectors &&
                       descriptor.start_sector + count <= sectors &&
                       is_whole(descriptor.start_sector, geometry) && is_whole(count, geometry) &&
                       (!has_data || count * sector <= geometry.max_io_bytes) &&
                       (!geometry.read_only || op == UBLK_IO_OP_READ);
  return is_good ? blkown::Status::ok : blkown::Status::invalid;
}

void check_io(const storage::Io& io, const ublksrv_io_desc& descriptor, const std::byte* buffer,
              Verdict& verdict) {
  const std::uint32_t op = descriptor.op_flags % 256;
  if (op == UBLK_IO_OP_FLUSH) {
    verdict.expect(io.operation == storage::Operation::flush, "a flush is one");
    verdict.expect(io.length == 0 && io.memory.empty(), "a flush has no range");
    return;
  }
  using enum storage::Operation;
  const std::array operations{read, write, flush, discard, flush, write_zeroes};
  verdict.expect(io.operation == operations[op], "the operation");
  verdict.expect(io.offset == descriptor.start_sector * sector, "the offset");
  verdict.expect(io.length == descriptor.nr_sectors * sector, "the length");
  verdict.expect(io.is_durable == (descriptor.op_flags >> 13 & 1), "FUA is bit 13");
  verdict.expect(io.keeps_blocks == (descriptor.op_flags >> 15 & 1), "NOUNMAP is bit 15");
  const bool has_data = op == UBLK_IO_OP_READ || op == UBLK_IO_OP_WRITE;
  verdict.expect(io.memory.data == (has_data ? buffer : nullptr), "the memory's address");
  verdict.expect(io.memory.length_bytes == (has_data ? io.length : 0), "the memory's length");
}

}  // namespace

std::string run_case(Bytes bytes) {
  Input input{bytes};
  Verdict verdict;
  const ublk::Geometry geometry = take_geometry(input);
  std::array<std::byte, 1> buffer{};
  do {
    const ublksrv_io_desc descriptor = take_descriptor(input, geometry);
    const auto io = ublk::parse_descriptor(descriptor, geometry, buffer.data());
    const blkown::Status status = io ? blkown::Status::ok : io.error();
    verdict.expect(status == expected_of(descriptor, geometry), "whether the I/O is accepted");
    if (io) check_io(*io, descriptor, buffer.data(), verdict);
  } while (!input.exhausted() && verdict.clean());
  return verdict.first();
}

}  // namespace fuzz
