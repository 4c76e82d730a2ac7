// SPDX-License-Identifier: BSL-1.0
//
// Bio: one I/O of a submitter.

#ifndef BLKOWN_MQ_BIO_HPP
#define BLKOWN_MQ_BIO_HPP

#include <blkown/check.hpp>
#include <blkown/config.hpp>
#include <blkown/mq/on_end.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/segments.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq {

namespace detail {
struct BioAccess;

/// The step of a bio that is in progress.
enum class Phase : std::uint8_t { preflush, data, postflush };
}  // namespace detail

/// One I/O of a submitter: an operation, a range of sectors, memory, and an end callback.
///
///   mq::Bio bio = mq::Bio::read(sector, {buffer, length_bytes}, {&on_end, this});
///   disk.submit(context, bio);
///
/// The submitter owns the bio. The bio, its memory and its array of segments stay in place from
/// Disk::submit until the end callback is called. The callback runs once for each submit, on the
/// context that submitted, and may submit the bio again or destroy it.
///
/// A bio that exceeds the disk's limits is split into several requests. The bio ends once, after
/// all of its requests have ended, with Status::ok or with the status of the request that failed
/// first.
/// Source: the kernel's struct bio.
class Bio {
 public:
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
  /// Makes a write from `sector` on of several pieces of memory. The array stays in place as above.
  [[nodiscard]] static Bio write(std::uint64_t sector, std::span<const Segment> memory,
                                 OnEnd<Bio> on_end, IoFlags flags = {}) noexcept {
    return Bio{Op::write, sector, memory, on_end, flags};
  }
  /// Makes an append to the zone that begins at `zone_sector`. After the end, sector() is the first
  /// sector written. The array stays in place as above.
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
  /// `zone_sector`.
  /// Precondition: is_zone_management(op).
  [[nodiscard]] static Bio zone(Op op, std::uint64_t zone_sector, OnEnd<Bio> on_end,
                                IoFlags flags = {}) noexcept {
    return Bio{op, zone_sector, std::uint64_t{0}, on_end, flags};
  }

  Bio(const Bio&) = delete;
  Bio& operator=(const Bio&) = delete;
  /// Violation: the bio is in flight.
  ~Bio() {
    if (is_in_flight_) [[unlikely]]
      violate("destruction of mq::Bio", Place{});
  }

  [[nodiscard]] Op op() const noexcept { return op_; }
  [[nodiscard]] IoFlags flags() const noexcept { return flags_; }
  /// The first sector. After a zone_append has ended: the first sector written.
  [[nodiscard]] std::uint64_t sector() const noexcept { return sector_; }
  /// The length of the range, or of the memory. 0 for a flush and for operations on zones.
  [[nodiscard]] std::uint64_t length_bytes() const noexcept { return length_bytes_; }
  /// The memory.
  [[nodiscard]] std::span<const Segment> segments() const noexcept {
    return segments_ == nullptr ? std::span{&own_segment_, std::size_t{1}}
                                : std::span{segments_, segment_count_};
  }
  /// The result of the last submit, valid after the end callback was called.
  [[nodiscard]] Status status() const noexcept { return status_; }
  /// The argument of the end callback.
  [[nodiscard]] void* argument() const noexcept { return on_end_.argument; }
  /// Whether the bio was submitted and its end callback has not been called.
  /// Context: the context that submits the bio.
  [[nodiscard]] bool is_in_flight() const noexcept { return is_in_flight_; }

 private:
  friend struct detail::BioAccess;

  Bio(Op op, std::uint64_t sector, std::uint64_t length_bytes, OnEnd<Bio> on_end,
      IoFlags flags) noexcept
      : on_end_{on_end}, sector_{sector}, length_bytes_{length_bytes}, op_{op}, flags_{flags} {}
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

  [[noreturn, gnu::cold, gnu::noinline]] static void violate(const char* operation,
                                                             const Place& place) {
    Incident incident;
    incident.operation = operation;
    incident.place = place;
    blkown::detail::violate(Violation::object_in_use, incident);
  }

  OnEnd<Bio> on_end_;
  std::uint64_t sector_;
  std::uint64_t length_bytes_;
  Segment own_segment_;
  const Segment* segments_ = nullptr;  // null: own_segment_
  std::size_t segment_count_ = 0;

  // The block layer's, while it is in flight.
  Bio* next_ = nullptr;
  std::uint64_t done_bytes_ = 0;  // handed out in requests
  SegmentCursor cursor_;          // where those end
  std::uint32_t parts_ = 0;       // requests that are out
  Op op_;
  IoFlags flags_;
  detail::Phase phase_ = detail::Phase::data;
  Status status_ = Status::ok;
  bool all_issued_ = false;  // no request of this phase is still to be made
  bool is_in_flight_ = false;
};

static_assert(sizeof(Bio) <= 128, "a bio fits in two cache lines");

namespace detail {

/// The block layer's way into a bio.
struct BioAccess {
  static void begin(Bio& bio, const Place& where) noexcept {
    if (bio.is_in_flight_) [[unlikely]]
      Bio::violate("mq::Disk::submit", where);
    bio.is_in_flight_ = true;
    bio.status_ = Status::ok;
    bio.done_bytes_ = 0;
    bio.cursor_ = {};
    bio.parts_ = 0;
    bio.phase_ = Phase::data;
    bio.all_issued_ = false;
  }
  /// The first failure is the bio's status.
  static void fail(Bio& bio, Status status) noexcept {
    if (bio.status_ == Status::ok) bio.status_ = status;
  }
  /// Tells the submitter; the bio is not touched afterwards.
  static void finish(Bio& bio) noexcept {
    bio.is_in_flight_ = false;
    bio.on_end_(bio);
  }
  static Bio*& next(Bio& bio) noexcept { return bio.next_; }
  static std::uint64_t& done_bytes(Bio& bio) noexcept { return bio.done_bytes_; }
  static SegmentCursor& cursor(Bio& bio) noexcept { return bio.cursor_; }
  static std::uint32_t& parts(Bio& bio) noexcept { return bio.parts_; }
  static Phase& phase(Bio& bio) noexcept { return bio.phase_; }
  static bool& all_issued(Bio& bio) noexcept { return bio.all_issued_; }
  static void set_sector(Bio& bio, std::uint64_t sector) noexcept { bio.sector_ = sector; }
};

/// Bios in order, linked through themselves. One context uses a list at a time.
class BioList {
 public:
  [[nodiscard]] bool empty() const noexcept { return last_ == nullptr; }
  [[nodiscard]] Bio* front() const noexcept {
    return last_ == nullptr ? nullptr : BioAccess::next(*last_);
  }

  void push_back(Bio& bio) noexcept {
    push_front(bio);
    last_ = &bio;
  }
  void push_front(Bio& bio) noexcept {
    if (last_ == nullptr) {
      BioAccess::next(bio) = last_ = &bio;
    } else {
      BioAccess::next(bio) = std::exchange(BioAccess::next(*last_), &bio);
    }
  }
  /// The oldest, or null.
  [[nodiscard]] Bio* pop_front() noexcept {
    Bio* const bio = front();
    if (bio == nullptr) return nullptr;
    if (bio == last_) {
      last_ = nullptr;
    } else {
      BioAccess::next(*last_) = BioAccess::next(*bio);
    }
    return bio;
  }
  /// Moves all of `other` behind what is here.
  void append(BioList& other) noexcept {
    if (this == &other || other.last_ == nullptr) return;
    Bio* const last = std::exchange(other.last_, nullptr);
    if (last_ != nullptr) {
      std::swap(BioAccess::next(*last), BioAccess::next(*last_));
    }
    last_ = last;
  }

 private:
  Bio* last_ = nullptr;  // behind it comes the first
};

}  // namespace detail

}  // namespace mq
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
