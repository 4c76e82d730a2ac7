// SPDX-License-Identifier: BSL-1.0
//
// The copy itself: a driver in small. One request moves one block, first as a read and then as a
// write; each time it is published, its tag and a new generation are the name that the device
// carries, and each name that comes back is looked up.

#ifndef URING_COPY_COPIER_HPP
#define URING_COPY_COPIER_HPP

#include <algorithm>
#include <array>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <cerrno>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "buffers.hpp"
#include "device.hpp"
#include "failure.hpp"

namespace uring_copy {

/// A request's data: the block that it moves. Only who holds the Owned, the Claim or the Ended
/// touches it.
struct Copy {
  blkown::Segment buffer;  ///< This request's own, for ever.
  std::uint32_t buffer_index = 0;
  Operation stage = Operation::read;
  std::uint64_t offset_bytes = 0;
  std::uint32_t length_bytes = 0;
  std::uint32_t done_bytes = 0;  ///< Of this stage.
  std::uint32_t cancelled = 0;   ///< Times in a row, since something was moved.
  bool cancel_sent = false;      ///< For the current publication.

  /// What the device may do with the buffer, from before a publication until its own completion.
  blkown::dma::IovaList<1> iovas{};
  std::optional<blkown::dma::ActiveMapping> mapping{};

  /// What is left of this stage.
  [[nodiscard]] blkown::Segment rest() const noexcept {
    return buffer.part(done_bytes, length_bytes - done_bytes);
  }
  [[nodiscard]] blkown::dma::Direction direction() const noexcept {
    return stage == Operation::read ? blkown::dma::Direction::from_device
                                    : blkown::dma::Direction::to_device;
  }
  /// The same for the device. Precondition: it is mapped.
  [[nodiscard]] Command command(std::uint32_t timeout_ms) const noexcept {
    return {stage, buffer_index, mapping->segments().front(), offset_bytes + done_bytes,
            timeout_ms};
  }
};

using CopyRequest = blkown::Request<Copy>;
using Requests = blkown::TagSet<CopyRequest>;

/// What has been copied: the end of every I/O passes through here.
struct Ledger {
  std::uint64_t requests = 0;
  std::uint64_t copied_bytes = 0;

  void operator()(blkown::EndedList<CopyRequest>&& list) {
    while (auto ended = list.pop_front()) {
      if (ended->status() == blkown::Status::ok) {
        ++requests;
        copied_bytes += ended->data().length_bytes;
      }
      std::move(*ended).release();
    }
  }
};

/// One request for each buffer. `ledger` must outlive them.
[[nodiscard]] inline std::expected<Requests, Problem> make_requests(const Buffers& buffers,
                                                                    Ledger& ledger) {
  auto made = Requests::create(
      {.queue_count = 1, .depth = buffers.count(), .layout = cookie_layout},
      blkown::EndSink<CopyRequest>::to(ledger), [&](std::uint32_t, blkown::Tag tag) {
        return Copy{.buffer = buffers.block(tag.value), .buffer_index = tag.value};
      });
  if (!made.has_value()) {
    return std::unexpected(Problem{std::string{"the requests: "} + to_string(made.error().reason)});
  }
  return std::move(*made);
}

class Copier {
 public:
  /// How often a command is tried that is cancelled each time, before the copy fails.
  static constexpr std::uint32_t max_attempts = 10;

  struct Counters {
    std::uint64_t short_transfers = 0;  ///< Published again for the rest.
    std::uint64_t cancelled = 0;        ///< Published again, or given up.
    std::uint64_t came_first = 0;       ///< Time limits and cancels heard before their I/O.
    std::array<std::uint64_t, blkown::lookup_reason_count> rejected{};
  };

  /// `requests` are make_requests(buffers, ledger), all idle, whose buffers `mapped` can map; all
  /// references must outlive this.
  /// timeout_ms is each command's time limit, 0 for none; it doubles at each further try.
  Copier(Device& device, MappedDevice& mapped, Requests& requests, const Ledger& ledger,
         std::uint64_t size_bytes, std::uint32_t timeout_ms)
      : device_{device},
        mapped_{mapped},
        requests_{requests},
        ledger_{ledger},
        cache_{requests.tag_cache(0)},
        size_bytes_{size_bytes},
        timeout_ms_{timeout_ms} {
    held_back_.reserve(requests.depth());
  }

  /// Copies everything, or stops at the first failure; either way no I/O is alive afterwards.
  /// `keep_going` is called now and then; if it returns false, the copy is interrupted.
  [[nodiscard]] std::optional<Failure> run(const std::function<bool()>& keep_going) {
    while (true) {
      publish_held_back();
      start_reads();
      if (device_.outstanding() == 0 && held_back_.empty()) break;
      const auto rung = device_.submit();
      const auto completions = device_.reap();
      if (!completions || (!rung && is_dead(rung.error(), completions->empty()))) {
        fail({.cause = Cause::device, .error = rung ? completions.error() : rung.error()});
        break;
      }
      if (rung) idle_rounds_ = 0;
      for (const Completion& completion : *completions) complete(completion);
      if (!failure_ && !keep_going()) fail({.cause = Cause::interrupted});
    }
    abandon();
    if (ledger_.copied_bytes != size_bytes_) fail({.cause = Cause::lost});
    return failure_;
  }

  /// What the device sent: any value at all is answered, and at most one entry of a publication
  /// ends it. A real driver calls this from an interrupt.
  void complete(const Completion& completion) {
    auto found = requests_.claim(0, completion.value);
    if (!found.has_value()) {
      // Too late, twice, or never ours. That is an answer, not an accident: the I/O that the entry
      // was about is over, and the one that has the tag now is not touched.
      ++counters_.rejected[static_cast<std::size_t>(found.error().reason)];
    } else if (entry_of(completion.value) == Entry::io) {
      settle(std::move(*found), completion.result);
    } else {
      overhear(std::move(*found), completion);
    }
  }

  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

 private:
  using Claim = blkown::Claim<CopyRequest>;
  using EndProof = blkown::dma::EndProof;

  /// Whether a doorbell that answers `error` is the device's end: at once, or after ten seconds of
  /// having no room and completing nothing.
  [[nodiscard]] bool is_dead(int error, bool completed_nothing) noexcept {
    idle_rounds_ = completed_nothing ? idle_rounds_ + 1 : 0;
    return !is_busy(error) || idle_rounds_ == 100;
  }

  /// Takes free requests for the next blocks, as long as there are both.
  void start_reads() {
    while (!failure_ && held_back_.empty() && next_bytes_ != size_bytes_) {
      auto idle = requests_.allocate(0, cache_);
      if (!idle.has_value()) return;
      auto owned = std::move(*idle).start();
      Copy& copy = owned.data();
      copy.stage = Operation::read;
      copy.offset_bytes = next_bytes_;
      copy.length_bytes = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(copy.buffer.length_bytes, size_bytes_ - next_bytes_));
      copy.done_bytes = 0;
      copy.cancelled = 0;
      next_bytes_ += copy.length_bytes;
      publish(std::move(owned).into_claim());
    }
  }

  /// Gives the rest of the request's stage to the device, under a new name.
  void publish(Claim claim) {
    if (failure_) {
      std::move(claim).end(blkown::Status::aborted);
      return;
    }
    Copy& copy = claim.data();
    copy.cancel_sent = false;
    auto prepared =
        blkown::dma::map(claim, mapped_, std::array{copy.rest()}, copy.direction(), copy.iovas);
    if (!prepared.has_value()) {
      std::move(claim).end(prepared.error().status());
      fail({.cause = Cause::device, .error = EFAULT});
      return;
    }
    copy.mapping.emplace(std::move(*prepared).activate());
    // Read before the publication: after it the request may be over at any moment.
    const Command command = copy.command(timeout_ms_ << copy.cancelled);
    auto published = std::move(claim).publish(
        [&](blkown::Cookie cookie) { return device_.issue(command, cookie.value); });
    if (published.has_value()) return;

    // Refused. The right comes back, unless somebody completed a command that the device says it
    // never had; then that Claim's holder sees to the request.
    auto& refused = published.error();
    if (!refused.claim.has_value()) return;
    unmap(*refused.claim, *EndProof::of(*refused.claim));
    if (is_busy(refused.error) && device_.outstanding() != 0) {
      held_back_.push_back(std::move(*refused.claim));
    } else {
      std::move(*refused.claim).end(blkown::Status::device_resource);
      fail({.cause = Cause::device, .error = refused.error});
    }
  }

  /// Takes the buffer away from the device, which is done with it, and lets go of the request.
  static void unmap(const Claim& claim, const EndProof& proof) {
    auto mapping = std::exchange(claim.data().mapping, std::nullopt);
    auto unmapped = std::move(*mapping).unmap(proof);
    // Of something else: then it stays where it was. Here each proof is of the I/O itself.
    if (!unmapped.has_value()) claim.data().mapping.emplace(std::move(unmapped.error()));
  }

  /// Tries again what the device had no room for.
  void publish_held_back() {
    for (Claim& claim : std::exchange(held_back_, {})) publish(std::move(claim));
  }

  /// The I/O's own completion: the device is done with the buffer, and only now may the request be
  /// ended or published again.
  void settle(Claim claim, int result) {
    unmap(claim, *EndProof::of(claim));
    Copy& copy = claim.data();
    const std::uint64_t here_bytes = copy.offset_bytes + copy.done_bytes;
    const std::uint32_t left_bytes = copy.length_bytes - copy.done_bytes;
    Failure failure{.operation = copy.stage, .offset_bytes = here_bytes};

    if (failure_) {
      // Everything stops; what came of this one no longer matters.
      std::move(claim).end(blkown::Status::aborted);
      return;
    }
    if (result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
      // Out of time. Published again from where it was: a write that was cut off writes the same
      // bytes to the same place once more.
      ++counters_.cancelled;
      if (++copy.cancelled != max_attempts) {
        publish(std::move(claim));
        return;
      }
      failure.cause = Cause::cancelled;
    } else if (result < 0) {
      failure.cause = Cause::io;
      failure.error = -result;
    } else if (static_cast<std::uint32_t>(result) > left_bytes) {
      failure.cause = Cause::no_progress;
    } else if (result == 0) {
      failure.cause = copy.stage == Operation::read ? Cause::source_ended : Cause::no_progress;
    } else {
      advance(std::move(claim), static_cast<std::uint32_t>(result));
      return;
    }
    std::move(claim).end(blkown::Status::io_error);
    fail(failure);
  }

  /// Some bytes were moved: on with the rest, with the write, or done.
  void advance(Claim claim, std::uint32_t moved_bytes) {
    Copy& copy = claim.data();
    copy.cancelled = 0;
    copy.done_bytes += moved_bytes;
    if (copy.done_bytes != copy.length_bytes) {
      ++counters_.short_transfers;
      publish(std::move(claim));
    } else if (copy.stage == Operation::read) {
      copy.stage = Operation::write;
      copy.done_bytes = 0;
      publish(std::move(claim));
    } else {
      std::move(claim).end_ok();
    }
  }

  /// A time limit's or a cancel's entry that came before its I/O's own. It got the right, and must
  /// neither end the I/O nor publish it again: whatever it says, "cancelled" included, the kernel
  /// may still be moving bytes between the buffer and the file, until the I/O's own entry comes.
  /// So it gives the right back under the same name, for that entry to find.
  void overhear(Claim claim, const Completion& completion) {
    ++counters_.came_first;
    const bool late = completion.result == -ETIME || completion.result == -EALREADY;
    const bool ask = entry_of(completion.value) == Entry::link_timeout && late &&
                     !std::exchange(claim.data().cancel_sent, true);
    const std::uint64_t cookie = claim.cookie().value;
    std::move(claim).release();
    // The limit has passed and the I/O is still there: where the limit found it in the middle of
    // something, a cancel may find it waiting. This races with the I/O's own completion, and hits
    // nothing else: the next publication of the request has another name.
    if (ask) static_cast<void>(device_.cancel(cookie));
  }

  /// Nothing new from here on, and what is in flight is asked to end soon. It ends by completions.
  void fail(const Failure& failure) {
    if (failure_) return;
    failure_ = failure;
    for (Claim& claim : std::exchange(held_back_, {})) {
      std::move(claim).end(blkown::Status::aborted);
    }
    requests_.for_each_in_flight(0, [&](blkown::ARef<CopyRequest>, blkown::Cookie cookie) {
      // Refused: then the I/O takes the time it takes.
      static_cast<void>(device_.cancel(cookie.value));
    });
  }

  /// Ends what a device that failed, or lost it, will never complete. Such a device may still write
  /// to the buffers: may_still_write() of the failure says so, and their owner leaves them alone
  /// for ever. Only because nobody uses that memory again may the device be taken for stopped.
  void abandon() {
    const EndProof stopped = mapped_.declare_stopped();
    requests_.for_each_in_flight(0, [&](blkown::ARef<CopyRequest> pin, blkown::Cookie cookie) {
      if (auto claim = blkown::claim(pin, cookie)) {
        unmap(*claim, stopped);
        std::move(*claim).end(blkown::Status::transport_error);
      }
    });
  }

  Device& device_;
  MappedDevice& mapped_;
  Requests& requests_;
  const Ledger& ledger_;
  blkown::TagCache cache_;
  std::uint64_t size_bytes_;
  std::uint32_t timeout_ms_;
  std::uint64_t next_bytes_ = 0;   // where the next block begins
  std::vector<Claim> held_back_;   // refused for want of room, to be published again
  std::uint32_t idle_rounds_ = 0;  // of a device without room
  std::optional<Failure> failure_;
  Counters counters_;
};

}  // namespace uring_copy

#endif
