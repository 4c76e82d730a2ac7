// SPDX-License-Identifier: BSL-1.0
//
// Device: what a null block disk is made of, without the block layer.
//
// The contexts of the disk call perform() at the same time. The parameters change only while the
// disk is frozen, so the path of an I/O reads them without a lock. Power and bad blocks change at
// any time, and have locks of their own.

#ifndef NULL_BLOCK_DEVICE_HPP
#define NULL_BLOCK_DEVICE_HPP

#include <algorithm>
#include <blkown/blkown.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include "bad_blocks.hpp"
#include "bandwidth.hpp"
#include "config.hpp"
#include "faults.hpp"
#include "store.hpp"
#include "zoned.hpp"

namespace null_block {

/// One request, as the device gets it.
struct Command {
  blkown::mq::Op op = blkown::mq::Op::read;
  blkown::mq::IoFlags flags{};
  std::uint64_t sector = 0;
  std::uint64_t length_bytes = 0;
  blkown::mq::RequestSegments segments{};
};

/// A position in the memory of a request. A block's memory may be in several pieces.
class MemoryCursor {
 public:
  explicit MemoryCursor(const blkown::mq::RequestSegments& segments) noexcept
      : next_{segments.begin()} {}

  /// Copies to the memory. A null `from` means zeroes.
  void fill(const std::byte* from, std::size_t length_bytes) {
    for_each_piece(length_bytes, [&](std::byte* data, std::size_t done, std::size_t length) {
      if (from == nullptr) {
        std::memset(data, 0, length);
      } else {
        std::memcpy(data, from + done, length);
      }
    });
  }
  /// Copies from the memory.
  void drain(std::byte* to, std::size_t length_bytes) {
    for_each_piece(length_bytes, [&](const std::byte* data, std::size_t done, std::size_t length) {
      std::memcpy(to + done, data, length);
    });
  }

 private:
  /// Precondition: the memory has that many bytes from the position on.
  template <class Visit>
  void for_each_piece(std::size_t length_bytes, Visit visit) {
    for (std::size_t done = 0; done != length_bytes;) {
      if (piece_.empty()) {
        piece_ = *next_;
        ++next_;
      }
      const blkown::Segment part = piece_.part(0, length_bytes - done);
      visit(part.data, done, part.length_bytes);
      done += part.length_bytes;
      piece_ = piece_.part(part.length_bytes, piece_.length_bytes);
    }
  }

  blkown::mq::RequestSegments::Iterator next_;
  blkown::Segment piece_{};
};

class Device {
 public:
  /// Precondition: `config` was checked.
  explicit Device(const Config& its_config, std::uint64_t now_ns = 0) {
    if (its_config.zoned != 0) zones.emplace(zone_layout_of(its_config));
    configure(its_config, now_ns);
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// Executes a command. The sector of a zone_append becomes the first sector written.
  [[nodiscard]] blkown::Status perform(Command& command) {
    if (zones.has_value()) return perform_zoned(command);
    return perform_flat(command);
  }

  /// Forgets data, as a reset of a zone does.
  /// Errors: offline, if the power is off.
  [[nodiscard]] blkown::Status forget(std::uint64_t sector, std::uint64_t sectors) {
    using blkown::mq::sector_bytes;
    if (!store.has_value()) return blkown::Status::ok;
    return store->zero(sector * sector_bytes, sectors * sector_bytes);
  }
  /// Whether the power is on. A disk without memory has no power to lose.
  [[nodiscard]] bool has_power() { return !store.has_value() || store->has_power(); }

  /// Whether perform() does nothing and answers ok.
  [[nodiscard]] bool is_inert() const noexcept { return is_inert_ && bad_blocks.empty(); }
  /// Whether perform() does nothing, and nothing holds a request back: the shortest path of an I/O.
  [[nodiscard]] bool does_nothing() const noexcept { return is_idle_ && bad_blocks.empty(); }
  /// The same, and a request ends at once.
  [[nodiscard, gnu::always_inline]] bool ends_at_once() const noexcept {
    return is_instant_ && bad_blocks.empty();
  }
  /// How requests end, but for those of poll queues.
  [[nodiscard]] Completion completion() const noexcept { return completion_; }

  /// Whether a fault or the bandwidth may hold a request back.
  [[nodiscard]] bool is_disturbed() const noexcept { return is_disturbed_; }

  /// Takes new values of the parameters. A fault, or the bandwidth, begins again if its own values
  /// change.
  /// Precondition: no other function runs.
  void configure(const Config& changed, std::uint64_t now_ns) {
    if (changed.mbps != config.mbps) bandwidth.set_rate(changed.mbps, now_ns);
    config = changed;
    if (config.memory_backed != 0 && !store.has_value()) store.emplace(config);
    if (store.has_value()) store->set_memory_limit(config.memory_limit);
    const std::uint64_t seed = config.fault_seed;
    timeouts.plan(
        {config.timeout_probability, config.timeout_interval, config.timeout_times, seed});
    requeues.plan(
        {config.requeue_probability, config.requeue_interval, config.requeue_times, seed + 1});
    init_hctx.plan({config.init_hctx_probability, config.init_hctx_interval, config.init_hctx_times,
                    seed + 2});
    is_disturbed_ = bandwidth.is_limited() || config.timeout_probability != 0 ||
                    config.requeue_probability != 0;
    is_inert_ = !store.has_value() && !zones.has_value();
    is_idle_ = is_inert_ && !is_disturbed_;
    completion_ = static_cast<Completion>(config.completion);
    is_instant_ = is_idle_ && completion_ == Completion::none;
  }

  Config config;
  std::optional<Store> store;        ///< With memory_backed.
  std::optional<ZonedMedium> zones;  ///< With zoned.
  BadBlocks bad_blocks;
  Bandwidth bandwidth;
  FaultPoint timeouts;   ///< A request is lost, and times out.
  FaultPoint requeues;   ///< A request is requeued, or refused as busy.
  FaultPoint init_hctx;  ///< A queue cannot be put into use.

 private:
  [[nodiscard]] blkown::Status perform_flat(const Command& command) {
    if (!store.has_value() && !bad_blocks_apply(command.op)) return blkown::Status::ok;
    std::uint64_t length_bytes = command.length_bytes;
    const blkown::Status bad = check_blocks(command, length_bytes);
    const blkown::Status done =
        store.has_value() ? transfer(command, length_bytes) : blkown::Status::ok;
    return bad == blkown::Status::ok ? done : bad;
  }

  [[nodiscard]] blkown::Status perform_zoned(Command& command) {
    using blkown::mq::Op;
    // Before a zone changes: most operations of zones do not touch the memory.
    if (!has_power()) return blkown::Status::offline;
    if (blkown::mq::is_zone_management(command.op)) {
      return zones->manage(
          command.op, command.sector,
          [this](std::uint64_t sector, std::uint64_t sectors) { return forget(sector, sectors); });
    }
    if (command.op == Op::read) {
      const blkown::Status status = zones->check_read(command.sector);
      return status == blkown::Status::ok ? perform_flat(command) : status;
    }
    if (command.op != Op::write && command.op != Op::zone_append) return perform_flat(command);
    return zones->write(command.sector, command.length_bytes / blkown::mq::sector_bytes,
                        command.op == Op::zone_append,
                        [&](std::uint64_t first) { return write_in_zone(command, first); });
  }
  /// Writes data of a zone. What the medium does not take of it is forgotten.
  [[nodiscard]] ZonedMedium::Moved write_in_zone(const Command& command, std::uint64_t first) {
    using blkown::mq::sector_bytes;
    Command write = command;
    write.op = blkown::mq::Op::write;
    write.sector = first;
    const bool is_sequential = zones->is_sequential(first);
    write.flags.fua = write.flags.fua || is_sequential;
    std::uint64_t length_bytes = command.length_bytes;
    const blkown::Status bad = check_blocks(write, length_bytes);
    const blkown::Status done =
        store.has_value() ? transfer(write, length_bytes) : blkown::Status::ok;
    const std::uint64_t sectors = done == blkown::Status::ok ? length_bytes / sector_bytes : 0;
    const std::uint64_t missing_sectors = command.length_bytes / sector_bytes - sectors;
    // If the power went off in between, the rest stays: old or new data above the write pointer.
    if (is_sequential && missing_sectors != 0)
      static_cast<void>(forget(first + sectors, missing_sectors));
    return {bad == blkown::Status::ok ? done : bad, sectors};
  }

  [[nodiscard]] static bool bad_blocks_apply(blkown::mq::Op op) noexcept {
    return blkown::mq::has_range(op);
  }

  /// Looks for bad blocks. With badblocks_partial_io, `length_bytes` becomes what lies before them,
  /// in whole blocks, else 0.
  [[nodiscard]] blkown::Status check_blocks(const Command& command, std::uint64_t& length_bytes) {
    using blkown::mq::sector_bytes;
    if (!bad_blocks_apply(command.op)) return blkown::Status::ok;
    const SectorRange range{command.sector, command.sector + command.length_bytes / sector_bytes};
    const auto bad = bad_blocks.find(range);
    if (!bad) return blkown::Status::ok;
    if (!has_power()) return blkown::Status::offline;
    if (config.badblocks_once != 0) bad_blocks.clear(*bad);
    const std::uint64_t good_bytes = (bad->begin - range.begin) * sector_bytes;
    length_bytes =
        config.badblocks_partial_io != 0 ? good_bytes - good_bytes % config.blocksize : 0;
    return blkown::Status::io_error;
  }

  [[nodiscard]] blkown::Status transfer(const Command& command, std::uint64_t length_bytes) {
    std::uint64_t offset = command.sector * blkown::mq::sector_bytes;
    switch (command.op) {
      case blkown::mq::Op::flush: return store->flush();
      case blkown::mq::Op::discard: return discard(offset, length_bytes);
      case blkown::mq::Op::write_zeroes: return store->zero(offset, length_bytes);
      case blkown::mq::Op::read:
      case blkown::mq::Op::write: break;
      default: return blkown::Status::not_supported;
    }
    return copy(command, offset, length_bytes);
  }

  /// A discard is advice: what covers a unit in part is ignored.
  [[nodiscard]] blkown::Status discard(std::uint64_t offset, std::uint64_t length_bytes) {
    const std::uint64_t unit = std::max(config.discard_granularity, config.blocksize);
    const std::uint64_t shift = (unit - config.discard_alignment % unit) % unit;
    const std::uint64_t begin = (offset + shift + unit - 1) / unit * unit;
    const std::uint64_t end = (offset + length_bytes + shift) / unit * unit;
    if (begin < end) return store->zero(begin - shift, end - begin);
    return has_power() ? blkown::Status::ok : blkown::Status::offline;
  }

  [[nodiscard]] blkown::Status copy(const Command& command, std::uint64_t offset,
                                    std::uint64_t length_bytes) {
    MemoryCursor memory{command.segments};
    if (command.op == blkown::mq::Op::read) {
      return store->read(offset, length_bytes, [&](const std::byte* from, std::size_t length) {
        memory.fill(from, length);
      });
    }
    return store->write(offset, length_bytes, command.flags.fua,
                        [&](std::byte* to, std::size_t length) { memory.drain(to, length); });
  }

  bool is_disturbed_ = false;
  // But for bad blocks, which change at any time:
  bool is_inert_ = false;  // nothing happens to a request
  bool is_idle_ = false;   // nor is it held back
  bool is_instant_ = false;
  Completion completion_ = Completion::none;
};

}  // namespace null_block

#endif
