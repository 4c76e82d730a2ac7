// SPDX-License-Identifier: BSL-1.0
//
// Bio: one I/O of a submitter.

#ifndef BLKOWN_MQ_BIO_HPP
#define BLKOWN_MQ_BIO_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/ring.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/segments.hpp>
#include <blkown/place.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

class Bio;

namespace detail {

struct BioAccess;

/// The steps of a bio's flush sequence.
enum class FlushStep : std::uint8_t { preflush, data, postflush };

/// The block layer's part of a bio. The submitting context uses this part while the bio is in
/// flight.
struct BioState {
  Bio* next = nullptr;      // in a BioList
  std::uint32_t parts = 0;  // requests in flight
  FlushStep step = FlushStep::data;
  Status status = Status::ok;
  bool all_issued = false;  // no request of this step is left to issue
  bool in_flight = false;

  /// Keeps the first failure.
  void fail(Status reason) noexcept {
    if (status == Status::ok) status = reason;
  }
};

/// The rest of that part, which a read or a write that is one request does not touch.
struct BioProgress {
  std::uint64_t written_sector = 0;  // the result of a zone_append
  std::uint64_t done_bytes = 0;      // issued in requests
  SegmentCursor cursor;              // the position behind those bytes
};

}  // namespace detail

/// One I/O of a submitter: an operation, a range of sectors, memory, and an end callback.
///
///   mq::Bio bio = mq::Bio::read(sector, {buffer, length_bytes}, {&on_end, this});
///   disk.submit(context, bio);
///
/// The submitter owns the bio. The bio, its memory and its array of segments stay in place from
/// Disk::submit until the end callback is called. The callback runs once for each submit, on the
/// context that submitted. It may submit the bio again, make another I/O of it, move or destroy it.
///
/// A bio that is not in flight can be moved, also by the containers of the standard library, and
/// becomes another I/O in place with set_read() and the other set functions:
///
///   std::vector<mq::Bio> bios(depth);
///   bios[i].set_read(sector, {buffer, length_bytes}, {&on_end, this});
///
/// A bio that exceeds the disk's limits is split into several requests. The bio ends once, after
/// all of its requests have ended, with Status::ok or with the status of the request that failed
/// first.
/// Source: the kernel's struct bio.
class Bio {
 public:
  /// Makes a bio that describes no I/O: a read of nothing. A submit ends it with Status::invalid.
  Bio() noexcept = default;

  /// Makes a read from `sector` on into one piece of memory. The bio keeps a copy of `memory`.
  [[nodiscard]] static Bio read(std::uint64_t sector, Segment memory, OnEnd<Bio> on_end,
                                IoFlags flags = {}) noexcept {
    return Bio{Op::read, sector, memory, on_end, flags};
  }
  /// Makes a read from `sector` on into several pieces of memory. The bio refers to the array,
  /// which stays in place until the bio has ended.
  [[nodiscard]] static Bio read(std::uint64_t sector, std::span<const Segment> memory,
                                OnEnd<Bio> on_end, IoFlags flags = {}) noexcept {
    return Bio{Op::read, sector, memory, on_end, flags};
  }
  /// Makes a write from `sector` on of one piece of memory. The bio keeps a copy of `memory`.
  [[nodiscard]] static Bio write(std::uint64_t sector, Segment memory, OnEnd<Bio> on_end,
                                 IoFlags flags = {}) noexcept {
    return Bio{Op::write, sector, memory, on_end, flags};
  }
  /// Makes a write from `sector` on of several pieces of memory. The array stays in place until the
  /// bio has ended.
  [[nodiscard]] static Bio write(std::uint64_t sector, std::span<const Segment> memory,
                                 OnEnd<Bio> on_end, IoFlags flags = {}) noexcept {
    return Bio{Op::write, sector, memory, on_end, flags};
  }
  /// Makes an append to the zone that begins at `zone_sector`. After the end, written_sector() is
  /// the first sector written. The array stays in place until the bio has ended.
  [[nodiscard]] static Bio zone_append(std::uint64_t zone_sector, std::span<const Segment> memory,
                                       OnEnd<Bio> on_end, IoFlags flags = {}) noexcept {
    return Bio{Op::zone_append, zone_sector, memory, on_end, flags};
  }
  /// Makes a flush: all writes that ended before its submit become durable.
  [[nodiscard]] static Bio flush(OnEnd<Bio> on_end, IoFlags flags = {}) noexcept {
    return Bio{Op::flush, 0, std::uint64_t{0}, on_end, flags};
  }
  /// Makes a discard of `length_bytes` from `sector` on.
  [[nodiscard]] static Bio discard(std::uint64_t sector, std::uint64_t length_bytes,
                                   OnEnd<Bio> on_end, IoFlags flags = {}) noexcept {
    return Bio{Op::discard, sector, length_bytes, on_end, flags};
  }
  /// Makes a write_zeroes of `length_bytes` from `sector` on.
  [[nodiscard]] static Bio write_zeroes(std::uint64_t sector, std::uint64_t length_bytes,
                                        OnEnd<Bio> on_end, IoFlags flags = {}) noexcept {
    return Bio{Op::write_zeroes, sector, length_bytes, on_end, flags};
  }
  /// Makes a zone_open, zone_close, zone_finish or zone_reset of the zone that begins at
  /// `zone_sector`, or a zone_reset_all, whose sector is 0.
  /// Precondition: is_zone_management(op).
  [[nodiscard]] static Bio zone(Op op, std::uint64_t zone_sector, OnEnd<Bio> on_end,
                                IoFlags flags = {}) noexcept {
    return Bio{op, zone_sector, std::uint64_t{0}, on_end, flags};
  }

  // --- the same bio for another I/O -------------------------------------------------------------
  //
  // Each function makes the bio what the function without `set_` returns, and clears the results of
  // the last submit. The labels of those functions apply.
  // Violation: object_in_use, if the bio is in flight.
  // Context: the context that submits the bio; the end callback, too.

  /// Makes the bio a read into one piece of memory, of which it keeps a copy.
  void set_read(std::uint64_t sector, Segment memory, OnEnd<Bio> on_end, IoFlags flags = {},
                Place where = Place::current()) noexcept {
    set(read(sector, memory, on_end, flags), "mq::Bio::set_read", where);
  }
  /// Makes the bio a read into several pieces of memory. The array stays in place until the bio has
  /// ended.
  void set_read(std::uint64_t sector, std::span<const Segment> memory, OnEnd<Bio> on_end,
                IoFlags flags = {}, Place where = Place::current()) noexcept {
    set(read(sector, memory, on_end, flags), "mq::Bio::set_read", where);
  }
  /// Makes the bio a write of one piece of memory, of which it keeps a copy.
  void set_write(std::uint64_t sector, Segment memory, OnEnd<Bio> on_end, IoFlags flags = {},
                 Place where = Place::current()) noexcept {
    set(write(sector, memory, on_end, flags), "mq::Bio::set_write", where);
  }
  /// Makes the bio a write of several pieces of memory. The array stays in place until the bio has
  /// ended.
  void set_write(std::uint64_t sector, std::span<const Segment> memory, OnEnd<Bio> on_end,
                 IoFlags flags = {}, Place where = Place::current()) noexcept {
    set(write(sector, memory, on_end, flags), "mq::Bio::set_write", where);
  }
  /// Makes the bio an append to a zone.
  void set_zone_append(std::uint64_t zone_sector, std::span<const Segment> memory,
                       OnEnd<Bio> on_end, IoFlags flags = {},
                       Place where = Place::current()) noexcept {
    set(zone_append(zone_sector, memory, on_end, flags), "mq::Bio::set_zone_append", where);
  }
  /// Makes the bio a flush.
  void set_flush(OnEnd<Bio> on_end, IoFlags flags = {}, Place where = Place::current()) noexcept {
    set(flush(on_end, flags), "mq::Bio::set_flush", where);
  }
  /// Makes the bio a discard.
  void set_discard(std::uint64_t sector, std::uint64_t length_bytes, OnEnd<Bio> on_end,
                   IoFlags flags = {}, Place where = Place::current()) noexcept {
    set(discard(sector, length_bytes, on_end, flags), "mq::Bio::set_discard", where);
  }
  /// Makes the bio a write_zeroes.
  void set_write_zeroes(std::uint64_t sector, std::uint64_t length_bytes, OnEnd<Bio> on_end,
                        IoFlags flags = {}, Place where = Place::current()) noexcept {
    set(write_zeroes(sector, length_bytes, on_end, flags), "mq::Bio::set_write_zeroes", where);
  }
  /// Makes the bio a zone_open, zone_close, zone_finish, zone_reset or zone_reset_all.
  void set_zone(Op op, std::uint64_t zone_sector, OnEnd<Bio> on_end, IoFlags flags = {},
                Place where = Place::current()) noexcept {
    set(zone(op, zone_sector, on_end, flags), "mq::Bio::set_zone", where);
  }

  // --- the bio itself ---------------------------------------------------------------------------

  Bio(const Bio&) = delete;
  Bio& operator=(const Bio&) = delete;
  /// Moves the I/O with its results. The other bio describes no I/O then.
  /// Violation: object_in_use, if the other bio is in flight.
  Bio(Bio&& other, Place where = Place::current()) noexcept {
    check_moved(other, "a move of mq::Bio", where);
    take(other);
  }
  /// Violation: object_in_use, if one of the two bios is in flight.
  Bio& operator=(Bio&& other) noexcept {
    check_set("assignment of mq::Bio", Place{});
    check_moved(other, "assignment of mq::Bio", Place{});
    if (this != &other) take(other);
    return *this;
  }
  /// Violation: the bio is in flight.
  ~Bio() {
    if (state_.in_flight) [[unlikely]]
      violate_destroyed();
  }

  /// The operation.
  [[nodiscard]] Op op() const noexcept { return op_; }
  /// The flags.
  [[nodiscard]] IoFlags flags() const noexcept { return flags_; }
  /// The first sector. Results do not change it: a bio that is submitted again has the same target.
  [[nodiscard]] std::uint64_t sector() const noexcept { return sector_; }
  /// The first sector that a zone_append has written.
  /// Precondition: the bio is a zone_append that has ended with Status::ok.
  [[nodiscard]] std::uint64_t written_sector() const noexcept { return progress_.written_sector; }
  /// The length of the range, or of the memory. 0 for a flush and for operations on zones.
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return length_bytes_; }
  /// The memory.
  [[nodiscard]] std::span<const Segment> segments() const noexcept {
    return segments_ == nullptr ? std::span{&own_segment_, std::size_t{1}}
                                : std::span{segments_, segment_count_};
  }
  /// The result of the last submit, valid after the end callback was called.
  [[nodiscard]] Status status() const noexcept { return state_.status; }
  /// The argument of the end callback.
  [[nodiscard]] void* argument() const noexcept { return on_end_.argument; }
  /// Whether the bio was submitted and its end callback has not been called.
  /// Context: the context that submits the bio.
  [[nodiscard]] bool is_in_flight() const noexcept { return state_.in_flight; }

 private:
  friend struct detail::BioAccess;

  Bio(Op op, std::uint64_t sector, std::uint64_t length_bytes, OnEnd<Bio> on_end,
      IoFlags flags) noexcept
      : on_end_{on_end}, sector_{sector}, op_{op}, flags_{flags}, length_bytes_{length_bytes} {}
  Bio(Op op, std::uint64_t sector, Segment memory, OnEnd<Bio> on_end, IoFlags flags) noexcept
      : Bio{op, sector, std::uint64_t{memory.length_bytes}, on_end, flags} {
    own_segment_ = memory;
  }
  Bio(Op op, std::uint64_t sector, std::span<const Segment> memory, OnEnd<Bio> on_end,
      IoFlags flags) noexcept
      : Bio{op, sector, std::uint64_t{0}, on_end, flags} {
    segments_ = memory.data();
    segment_count_ = memory.size();
    for (const Segment& segment : memory) length_bytes_ += segment.length_bytes;
  }

  void set(Bio&& made, const char* operation, const Place& where) noexcept {
    check_set(operation, where);
    take(made);
  }
  /// Copies all fields, and leaves a bio that describes no I/O.
  void take(Bio& other) noexcept {
    on_end_ = std::exchange(other.on_end_, {});
    state_ = std::exchange(other.state_, {});
    sector_ = std::exchange(other.sector_, 0);
    op_ = std::exchange(other.op_, Op::read);
    flags_ = std::exchange(other.flags_, {});
    length_bytes_ = std::exchange(other.length_bytes_, 0);
    segments_ = std::exchange(other.segments_, nullptr);
    own_segment_ = std::exchange(other.own_segment_, {});
    segment_count_ = std::exchange(other.segment_count_, 0);
    progress_ = std::exchange(other.progress_, {});
  }

  void check_set(const char* operation, const Place& where) const noexcept {
    if (state_.in_flight) [[unlikely]] {
      violate_in_flight("a bio was made another I/O while it is in flight",
                        "wait until its end callback is called, or use another bio", operation,
                        where);
    }
  }
  static void check_moved(const Bio& other, const char* operation, const Place& where) noexcept {
    if (other.state_.in_flight) [[unlikely]] {
      violate_in_flight("a bio was moved while it is in flight",
                        "wait until its end callback is called; a vector that grows moves its"
                        " elements",
                        operation, where);
    }
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void violate_in_flight(const char* problem,
                                                                       const char* remedy,
                                                                       const char* operation,
                                                                       const Place& where) {
    blkown::detail::violate(Violation::object_in_use,
                            Incident::of(operation, where).with(problem, remedy));
  }
  [[noreturn, gnu::cold, gnu::noinline]] static void violate_destroyed() {
    blkown::detail::violate(Violation::object_in_use,
                            Incident::of("destruction of mq::Bio", Place{})
                                .with("a bio was destroyed while it is in flight",
                                      "keep it until its end callback is called"));
  }

  // The members are in the order of their use, because a bio is not aligned to a cache line: GCC
  // does not align the frames of coroutines. An end touches the first 32 bytes, and a read or a
  // write of one piece of memory the first 80.
  OnEnd<Bio> on_end_;
  detail::BioState state_;
  std::uint64_t sector_ = 0;  // the first sector
  Op op_ = Op::read;
  IoFlags flags_;
  std::uint64_t length_bytes_ = 0;
  const Segment* segments_ = nullptr;  // null: own_segment_
  Segment own_segment_;
  std::size_t segment_count_ = 0;
  detail::BioProgress progress_;
};

static_assert(sizeof(Bio) <= 128, "a bio fits in two cache lines");

namespace detail {

/// The block layer's access to a bio.
struct BioAccess {
  [[nodiscard]] static BioState& state(Bio& bio) noexcept { return bio.state_; }
  [[nodiscard]] static BioProgress& progress(Bio& bio) noexcept { return bio.progress_; }

  /// Violation: object_in_use, if the bio is in flight.
  static void check_begin(const Bio& bio, const char* disk_name, const Place& where) noexcept {
    if (bio.state_.in_flight) [[unlikely]]
      violate_submitted(disk_name, where);
  }
  /// Puts a bio in flight.
  /// Violation: object_in_use, if it is in flight already.
  static void begin(Bio& bio, const char* disk_name, const Place& where) noexcept {
    check_begin(bio, disk_name, where);
    begin_checked(bio);
  }
  /// Precondition: the bio is not in flight.
  static void begin_checked(Bio& bio) noexcept {
    BioState& state = bio.state_;
    state.in_flight = true;
    state.status = Status::ok;
    state.parts = 0;
    state.step = FlushStep::data;
    state.all_issued = false;
    bio.progress_.done_bytes = 0;
    bio.progress_.cursor = {};
  }
  /// Begins the issue of a bio that is one request, without a flush step.
  /// Precondition: the bio is not in flight, or it waits and nothing of it is issued.
  static void begin_whole(Bio& bio) noexcept {
    BioState& state = bio.state_;
    state.parts = 1;
    state.step = FlushStep::data;
    state.status = Status::ok;
    state.all_issued = true;
    state.in_flight = true;
  }
  /// The bio's memory, if it is one piece. Else null.
  [[nodiscard]] static const Segment* only_segment(const Bio& bio) noexcept {
    if (bio.segments_ == nullptr) [[likely]]
      return &bio.own_segment_;
    return bio.segment_count_ == 1 ? bio.segments_ : nullptr;
  }
  /// Ends the bio and calls its end callback. The bio is not touched afterwards.
  static void finish(Bio& bio) noexcept {
    bio.state_.in_flight = false;
    bio.on_end_(bio);
  }

 private:
  [[noreturn, gnu::cold, gnu::noinline]] static void violate_submitted(const char* disk_name,
                                                                       const Place& where) {
    blkown::detail::violate(
        Violation::object_in_use,
        Incident::of("mq::Disk::submit", where)
            .with("a bio was submitted to disk '{subject}' while it is in flight",
                  "wait until its end callback is called")
            .about(disk_name));
  }
};

/// The link of a bio in a BioList.
struct BioLink {
  [[nodiscard]] static Bio* next(Bio& bio) noexcept { return BioAccess::state(bio).next; }
  static void set_next(Bio& bio, Bio* next) noexcept { BioAccess::state(bio).next = next; }
};

/// Bios in order, linked through themselves.
using BioList = blkown::detail::Ring<Bio, BioLink>;

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
