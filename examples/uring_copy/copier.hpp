// SPDX-License-Identifier: BSL-1.0
//
// Copier: the driver. One request copies one block, first with a read and then with a write.
//
//   1. Each command is one publication: its buffer is mapped, and its cookie, a tag and a new
//      generation, is the command's user_data.
//   2. A publication has up to three completion entries with this cookie: the I/O's own, its time
//      limit's and a cancel's. Each entry is looked up, and the lookup refuses an entry whose
//      publication has ended.
//   3. Only the I/O's own entry proves that the device is done with the buffer. The other entries
//      release the Claim again.
//   4. A short or cancelled command is published again for the rest. After the first failure the
//      copier publishes nothing more and cancels the commands in flight.
//
// If the device fails or loses a command, the buffers are never used again (abandon()).

#ifndef URING_COPY_COPIER_HPP
#define URING_COPY_COPIER_HPP

#include <algorithm>
#include <array>
#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "buffers.hpp"
#include "device.hpp"
#include "failure.hpp"

namespace uring_copy {

/// A request's data: the block that the request copies. Accessed through the Owned, the Claim or
/// the Ended.
struct Copy {
  blkown::Segment buffer;  ///< Belongs to the request for the whole copy.
  std::uint32_t buffer_index = 0;
  Operation stage = Operation::read;
  std::uint64_t offset_bytes = 0;
  std::uint32_t length_bytes = 0;
  std::uint32_t done_bytes = 0;  ///< In this stage.
  std::uint32_t cancelled = 0;   ///< Cancelled tries since the last progress.
  bool cancel_sent = false;      ///< In the current publication.

  /// The buffer's mapping, from before a publication until the I/O's own completion.
  blkown::dma::IovaList<1> iovas{};
  std::optional<blkown::dma::ActiveMapping> mapping{};

  /// The bytes of this stage that are not copied yet.
  [[nodiscard]] blkown::Segment rest() const noexcept {
    return buffer.part(done_bytes, length_bytes - done_bytes);
  }
  [[nodiscard]] blkown::dma::Direction direction() const noexcept {
    return stage == Operation::read ? blkown::dma::Direction::from_device
                                    : blkown::dma::Direction::to_device;
  }
  /// The command for the rest of this stage.
  /// Precondition: the rest is mapped.
  [[nodiscard]] Command command(std::uint32_t timeout_ms) const noexcept {
    return {stage, buffer_index, mapping->segments().front(), offset_bytes + done_bytes,
            timeout_ms};
  }
};

using CopyRequest = blkown::Request<Copy>;
using Requests = blkown::TagSet<CopyRequest>;

/// The end sink of all I/Os: counts the copied bytes and frees the tags.
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

/// Makes one request for each buffer.
/// Precondition: `ledger` outlives the requests.
[[nodiscard]] inline std::expected<Requests, Problem> make_requests(const Buffers& buffers,
                                                                    Ledger& ledger) {
  auto made = Requests::create(
      {.queue_count = 1, .depth = buffers.count(), .layout = cookie_layout},
      blkown::EndSink<CopyRequest>::to(ledger), [&](blkown::QueueIndex, blkown::Tag tag) {
        return Copy{.buffer = buffers.block(tag.value), .buffer_index = tag.value};
      });
  if (!made.has_value()) {
    return std::unexpected(Problem{std::string{"the requests: "} + to_string(made.error().reason)});
  }
  return std::move(*made);
}

class Copier {
 public:
  /// The copy fails when a command is cancelled this many times in a row.
  static constexpr std::uint32_t max_attempts = 10;

  struct Counters {
    std::uint64_t short_transfers = 0;  ///< Published again for the rest.
    std::uint64_t cancelled = 0;        ///< Published again, or given up.
    std::uint64_t came_first = 0;  ///< Entries of time limits and cancels before the I/O's own.
    std::array<std::uint64_t, blkown::lookup_reason_count> rejected{};
  };

  /// timeout_ms is the time limit of a command's first try, 0 for none. The limit doubles with each
  /// try.
  /// Precondition: `requests` come from make_requests(buffers, ledger) and are idle. `mapped` maps
  /// their buffers. All arguments outlive the Copier.
  Copier(Device& device, MappedDevice& mapped, Requests& requests, const Ledger& ledger,
         std::uint64_t size_bytes, std::uint32_t timeout_ms)
      : device_{device},
        mapped_{mapped},
        requests_{requests},
        ledger_{ledger},
        cache_{requests.tag_cache(blkown::QueueIndex{0})},
        size_bytes_{size_bytes},
        timeout_ms_{timeout_ms} {
    held_back_.reserve(requests.depth());
  }

  /// Copies everything, or stops at the first failure. All I/Os have ended at the return. Calls
  /// `keep_going` in each round; false interrupts the copy.
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
      complete_each(*completions);
      if (!failure_ && !keep_going()) fail({.cause = Cause::interrupted});
    }
    abandon();
    if (ledger_.copied_bytes != size_bytes_) fail({.cause = Cause::lost});
    return failure_;
  }

  /// Handles one completion entry, with any value. At most one entry of a publication ends the
  /// publication. A hardware driver calls this from its interrupt handler.
  void complete(const Completion& completion) { complete_each(std::span{&completion, 1}); }
  /// The same for entries that have arrived together.
  void complete_each(std::span<const Completion> completions) {
    std::array<std::uint64_t, max_batch> values;
    while (!completions.empty()) {
      const auto batch = completions.first(std::min(completions.size(), max_batch));
      completions = completions.subspan(batch.size());
      std::ranges::transform(batch, values.begin(), &Completion::value);
      const auto handle = [&](std::size_t index, std::expected<Claim, LookupError> found) {
        take(batch[index], std::move(found));
      };
      requests_.claim_each(blkown::QueueIndex{0}, std::span{values.data(), batch.size()}, handle);
    }
  }

  [[nodiscard]] const Counters& counters() const noexcept { return counters_; }

 private:
  using Claim = blkown::Claim<CopyRequest>;
  using EndProof = blkown::dma::EndProof;
  using LookupError = blkown::LookupError;

  /// The completions that are looked up together, at most.
  static constexpr std::size_t max_batch = 32;

  void take(const Completion& completion, std::expected<Claim, LookupError> found) {
    if (!found.has_value()) {
      // A late, duplicate or foreign entry. The entry's I/O has ended, and the I/O that has the tag
      // now is not changed. Late entries are normal here, so this is no error.
      ++counters_.rejected[static_cast<std::size_t>(found.error().reason)];
    } else if (entry_of(completion.value) == Entry::io) {
      settle(*std::move(found), completion.result);
    } else {
      give_back(*std::move(found), completion);
    }
  }

  /// Whether the device has failed, from the doorbell's `error`. A busy device has failed after ten
  /// seconds without a completion.
  [[nodiscard]] bool is_dead(int error, bool completed_nothing) noexcept {
    idle_rounds_ = completed_nothing ? idle_rounds_ + 1 : 0;
    return !is_busy(error) || idle_rounds_ == 100;
  }

  /// Starts reads of the next blocks, while free requests are left.
  void start_reads() {
    while (!failure_ && held_back_.empty() && next_bytes_ != size_bytes_) {
      auto idle = requests_.allocate(blkown::QueueIndex{0}, cache_);
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

  /// Publishes the rest of the request's stage, with a new cookie.
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
    // Built before the publication, because a published request may end at any moment.
    const Command command = copy.command(timeout_ms_ << copy.cancelled);
    auto published = std::move(claim).publish(
        [&](blkown::Cookie cookie) { return device_.issue(command, cookie.value); });
    if (published.has_value()) return;

    // The device has refused the command. The error has the Claim, unless a completion has claimed
    // the refused command. In that case the completion handles the request.
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

  /// Unmaps the buffer and drops the mapping's pin.
  /// Precondition: `proof` covers the mapping.
  static void unmap(const Claim& claim, const EndProof& proof) {
    auto mapping = std::exchange(claim.data().mapping, std::nullopt);
    auto unmapped = std::move(*mapping).unmap(proof);
    // A proof that does not cover the mapping would leave it where it was.
    if (!unmapped.has_value()) claim.data().mapping.emplace(std::move(unmapped.error()));
  }

  /// Publishes the commands for which the device had no room.
  void publish_held_back() {
    for (Claim& claim : std::exchange(held_back_, {})) publish(std::move(claim));
  }

  /// Handles the I/O's own completion. The device is done with the buffer, so the request can end
  /// or be published again.
  void settle(Claim claim, int result) {
    unmap(claim, *EndProof::of(claim));
    Copy& copy = claim.data();
    const std::uint64_t here_bytes = copy.offset_bytes + copy.done_bytes;
    const std::uint32_t left_bytes = copy.length_bytes - copy.done_bytes;
    Failure failure{.operation = copy.stage, .offset_bytes = here_bytes};

    if (failure_) {
      // The copy has failed already; this result does not matter.
      std::move(claim).end(blkown::Status::aborted);
      return;
    }
    if (result == -ECANCELED || result == -EINTR || result == -EAGAIN) {
      // The command was cancelled and is published again from the same position. A write that was
      // interrupted writes the same bytes to the same place again.
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

  /// Continues after progress: with the rest, with the write, or with the end.
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

  /// Handles a time limit's or a cancel's entry that arrived before the I/O's own. The entry must
  /// not end or publish the I/O, whatever its result: until the I/O's own entry the kernel may
  /// still copy between the buffer and the file. The Claim is released, so that the I/O's own entry
  /// finds it.
  void give_back(Claim claim, const Completion& completion) {
    ++counters_.came_first;
    const bool late = completion.result == -ETIME || completion.result == -EALREADY;
    const bool needs_cancel = entry_of(completion.value) == Entry::link_timeout && late &&
                              !std::exchange(claim.data().cancel_sent, true);
    const std::uint64_t cookie = claim.cookie().value;
    std::move(claim).release();
    // The time limit has passed and the I/O is still in flight. The limit's own cancellation may
    // have failed because the I/O was running; a later cancel may find the I/O waiting. The cancel
    // races with the I/O's completion but cannot hit another I/O: the next publication has another
    // cookie.
    if (needs_cancel) static_cast<void>(device_.cancel(cookie));
  }

  /// Records the first failure, ends the commands that wait for room, and cancels those in flight.
  /// The cancelled commands still end by their completions.
  void fail(const Failure& failure) {
    if (failure_) return;
    failure_ = failure;
    for (Claim& claim : std::exchange(held_back_, {})) {
      std::move(claim).end(blkown::Status::aborted);
    }
    requests_.for_each_in_flight(blkown::QueueIndex{0},
                                 [&](blkown::ARef<CopyRequest>, blkown::Cookie cookie) {
                                   // Without the cancel the I/O only takes longer.
                                   static_cast<void>(device_.cancel(cookie.value));
                                 });
  }

  /// Ends the I/Os that a failed device will not complete. Such a device may still write to the
  /// buffers: may_still_write() tells the buffers' owner to leak them. Because the memory is never
  /// used again, the device may be declared stopped.
  void abandon() {
    const EndProof stopped = mapped_.declare_stopped();
    requests_.for_each_in_flight(blkown::QueueIndex{0},
                                 [&](blkown::ARef<CopyRequest> pin, blkown::Cookie cookie) {
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
  std::uint64_t next_bytes_ = 0;   // the offset of the next block
  std::vector<Claim> held_back_;   // the device had no room; to be published again
  std::uint32_t idle_rounds_ = 0;  // rounds of a busy device without a completion
  std::optional<Failure> failure_;
  Counters counters_;
};

}  // namespace uring_copy

#endif
