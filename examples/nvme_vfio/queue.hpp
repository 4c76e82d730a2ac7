// SPDX-License-Identifier: BSL-1.0
//
// Queue: a queue pair with its requests, as a driver has them, and the doors that a scenario needs
// to act against the rules.
//
//   submit    allocates a request, maps the memory, builds the PRP entries, publishes, and writes
//             the command into the ring. One doorbell follows for one or several commands.
//   take      claims the request of each completion, unmaps with the Claim's proof, and ends the
//             I/O.
//   time_out  claims an I/O without a completion. Such a Claim is no proof: the memory stays
//             mapped and the tag allocated when the I/O has ended.
//   give_up   after the controller was stopped: unmaps everything with the proof of the stop.
//
// One thread does all of it, so that a scenario decides what happens first.

#ifndef EXAMPLES_NVME_VFIO_QUEUE_HPP
#define EXAMPLES_NVME_VFIO_QUEUE_HPP

#include <poll.h>
#include <sys/eventfd.h>

#include <blkown/blkown.hpp>
#include <blkown/dma/dma.hpp>
#include <blkown/dma/vfio.hpp>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/prp.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "../nvme/device.hpp"
#include "../nvme/queue_pair.hpp"
#include "failure.hpp"
#include "registers.hpp"

namespace nvme_vfio {

namespace dma = blkown::dma;
namespace nvme = blkown::nvme;
using blkown::Claim;
using blkown::LookupReason;
using blkown::Segment;
using blkown::Status;
using Device = nvme_driver::Device<Registers, dma::Vfio>;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// How long something is awaited that the controller does. Then it is taken not to do it.
inline constexpr milliseconds patience{60'000};

/// An I/O as its submitter sees it. Kept until it has ended.
struct Io {
  Segment memory{};
  dma::Direction direction = dma::Direction::from_device;
  blkown::Cookie cookie{};
  bool has_ended = false;
  Status status = Status::ok;
  std::uint16_t device_status = 0;  ///< The completion's status code with its type.
};

struct RequestData {
  dma::IovaList<1> iovas;
  std::optional<dma::ActiveMapping> mapping;
  Io* io = nullptr;
};
using Request = blkown::Request<RequestData>;

class Queue {
 public:
  static constexpr std::uint32_t page_bytes = 4096;
  static constexpr std::uint32_t depth = 16;
  static constexpr std::uint32_t entries = 64;  // room for commands that no request belongs to

  /// `config` has the queue's id and doorbells. `is_polled`: completions raise no interrupt.
  Queue(const Device::Ref& device, const nvme_driver::QueuePairConfig& config, bool is_polled)
      : device_{device},
        memory_{coherent(submission_bytes + depth * list_bytes)},
        completions_{coherent(page_bytes)},
        tags_{make_tags()},
        cache_{tags_.tag_cache(whole)},
        pair_{*device_, with_rings(config)},
        event_{is_polled ? -1 : must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd")} {}
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue() {
    if (event_ >= 0) close(event_);
  }

  [[nodiscard]] std::uint16_t id() const noexcept { return pair_.config().id; }
  [[nodiscard]] const nvme_driver::QueuePairConfig& config() const noexcept {
    return pair_.config();
  }
  /// The completion ring's memory.
  [[nodiscard]] const dma::IovaSegment& completion_memory() const noexcept {
    return completions_.segment();
  }
  /// The eventfd of the interrupts; negative without interrupts.
  [[nodiscard]] int event() const noexcept { return event_; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return tags_.in_flight(); }
  /// The interrupts that were waited for.
  [[nodiscard]] unsigned interrupts() const noexcept { return interrupts_; }
  /// Why the lookups of completions were refused since the last call.
  [[nodiscard]] std::vector<LookupReason> take_refusals() { return std::exchange(refusals_, {}); }

  /// Submits the command for io.memory. `before_issue(const dma::IovaSegment&)` is called when the
  /// memory is mapped and the command is not yet published.
  template <class BeforeIssue>
  void submit(Io& io, nvme::SubmissionEntry entry, BeforeIssue before_issue) {
    auto idle = tags_.allocate(whole, cache_);
    expect(idle.has_value(), "no tag is free");
    auto claim = std::move(*idle).start().into_claim();
    RequestData& data = claim.data();
    data.io = &io;
    if (!io.memory.empty()) {
      auto prepared =
          dma::map(claim, device_->dma(), std::span{&io.memory, 1}, io.direction, data.iovas);
      expect(prepared.has_value(), "the memory cannot be mapped");
      const auto prps = nvme::build_prps(prepared->segments(), lists(claim.tag()), page_bytes);
      expect(prps.has_value(), "the memory does not fit the PRP lists");
      entry.set_prps(*prps);
      data.mapping = std::move(*prepared).activate();
      before_issue(data.mapping->segments()[0]);
    }
    io.cookie = claim.next_cookie();
    io.has_ended = false;
    expect(pair_.publish(std::move(claim), entry).has_value(), "the submission ring is full");
  }
  void submit(Io& io, const nvme::SubmissionEntry& entry) {
    submit(io, entry, [](const dma::IovaSegment&) {});
  }
  /// Gives all submitted commands to the controller.
  void ring_doorbell() noexcept { pair_.ring_doorbell(); }
  /// Issues a command that no request belongs to, with any command id.
  void submit_raw(nvme::SubmissionEntry entry, std::uint16_t command_id) {
    entry.command_id = command_id;
    expect(pair_.submit(entry).has_value(), "the submission ring is full");
    ring_doorbell();
  }

  /// Takes all completions that are in the ring, and returns their number.
  unsigned take() {
    const unsigned taken = pair_.poll([&](const nvme::CompletionEntry& entry) {
      ++passed_;
      auto claim = tags_.claim(whole, entry.command_id);
      if (claim.has_value()) return complete(*std::move(claim), entry);
      refusals_.push_back(claim.error().reason);
    });
    return taken;
  }
  /// Takes completions until the I/O has ended, with interrupts only behind one. False if it does
  /// not end.
  [[nodiscard]] bool wait(const Io& io) {
    return wait_until([&] { return io.has_ended; }, [&] { take(); });
  }
  /// Takes completions until a lookup has been refused. None if that does not happen.
  [[nodiscard]] std::optional<LookupReason> wait_for_refusal() {
    const auto is_refused = [&] { return !refusals_.empty(); };
    if (!wait_until(is_refused, [&] { take(); })) return std::nullopt;
    return take_refusals().front();
  }
  /// Waits until the ring holds a completion, and does not take it.
  [[nodiscard]] bool wait_for_entry() {
    return wait_until([&] { return pair_.has_completion(); });
  }
  /// The same for a further completion.
  /// Precondition: the ring was not wrapped since the restart.
  [[nodiscard]] bool wait_for_entry(std::uint32_t later) {
    return wait_until([&] {
      return nvme::CompletionEntry::phase_of(dma::load_acquire(entry(later).status_and_phase));
    });
  }
  [[nodiscard]] bool has_entry() const noexcept { return pair_.has_completion(); }
  /// The ring's entry that take() takes next, or a later one.
  [[nodiscard]] nvme::CompletionEntry& entry(std::uint32_t later = 0) noexcept {
    const std::uint32_t at = (passed_ + pair_.foreign_count() - foreign_before_ + later) % entries;
    return reinterpret_cast<nvme::CompletionEntry*>(config().completions.data)[at];
  }
  [[nodiscard]] std::uint32_t foreign_count() const noexcept {
    return pair_.foreign_count() - foreign_before_;
  }

  /// What the driver does when the I/O's time is over: ends the I/O, without a completion. Returns
  /// whether its Claim was proof that the device is done with the memory. It never is.
  [[nodiscard]] bool time_out(const Io& io) {
    auto pin = tags_.tag_to_rq(whole, io.cookie.value);
    expect(pin.has_value(), "the I/O that timed out is not in flight");
    auto claim = blkown::claim(*pin, io.cookie);
    expect(claim.has_value(), "the I/O that timed out cannot be claimed");
    const bool has_proof = dma::EndProof::of(*claim).has_value();
    std::move(*claim).end(Status::timed_out);
    return has_proof;
  }
  /// Unmaps and ends everything in flight with the proof of a stop. Returns the number of I/Os.
  unsigned give_up(const dma::EndProof& proof) {
    unsigned count = 0;
    tags_.for_each_in_flight(whole, [&](const blkown::ARef<Request>& pin, blkown::Cookie cookie) {
      auto claim = blkown::claim(pin, cookie);
      if (!claim.has_value()) return;
      unmap(*claim, proof);
      std::move(*claim).end(Status::aborted);
      ++count;
    });
    return count;
  }
  /// Empties the rings of a stopped controller.
  void reset() noexcept {
    pair_.reset();
    passed_ = 0;
    foreign_before_ = pair_.foreign_count();
  }
  /// Gives the rings back.
  [[nodiscard]] bool free(const dma::EndProof& proof) {
    return std::move(memory_).free(proof).has_value() &&
           std::move(completions_).free(proof).has_value();
  }

 private:
  static constexpr blkown::QueueIndex whole{0};
  static constexpr milliseconds spinning{2};  // a polled wait sleeps after this time
  static constexpr std::size_t submission_bytes = entries * sizeof(nvme::SubmissionEntry);
  static constexpr std::size_t list_pages = 3;  // 4 MiB, and an offset in the first page
  static constexpr std::size_t list_bytes = list_pages * page_bytes;
  static_assert(submission_bytes % page_bytes == 0);
  static_assert(entries * sizeof(nvme::CompletionEntry) <= page_bytes);

  using Memory = dma::Coherent<Device::Backend>;

  [[nodiscard]] Memory coherent(std::size_t bytes) {
    auto made = Memory::allocate(device_->dma(), bytes, page_bytes);
    expect(made.has_value(), "no coherent memory");
    return *std::move(made);
  }
  [[nodiscard]] blkown::TagSet<Request> make_tags() {
    auto made = blkown::TagSet<Request>::create(
        {.depth = depth, .layout = blkown::CookieLayout::nvme()}, {&Queue::on_ended, this});
    expect(made.has_value(), "no requests");
    return *std::move(made);
  }
  [[nodiscard]] nvme_driver::QueuePairConfig with_rings(nvme_driver::QueuePairConfig config) const {
    config.submission_entries = config.completion_entries = entries;
    config.submissions = {memory_.data(), memory_.segment().iova};
    config.completions = {completions_.data(), completions_.segment().iova};
    return config;
  }
  /// The tag's PRP list pages.
  [[nodiscard]] std::span<const nvme::PrpListPage> lists(blkown::Tag tag) {
    const std::size_t first = submission_bytes + tag.value * list_bytes;
    for (std::size_t i = 0; i != list_pages; ++i) {
      const std::size_t at = first + i * page_bytes;
      lists_[i] = {{reinterpret_cast<nvme::Le64*>(memory_.data() + at), page_bytes / 8},
                   memory_.segment().iova + at};
    }
    return lists_;
  }

  void complete(Claim<Request> claim, const nvme::CompletionEntry& entry) {
    Io& io = *claim.data().io;
    io.device_status = static_cast<std::uint16_t>(entry.status().code());
    unmap(claim, *dma::EndProof::of(claim));
    std::move(claim).end(nvme::to_status(entry.status()));
  }
  /// The mapping is in the request's own data, so it is taken out before the I/O ends.
  static void unmap(Claim<Request>& claim, const dma::EndProof& proof) {
    auto mapping = std::exchange(claim.data().mapping, std::nullopt);
    if (!mapping.has_value()) return;
    auto unmapped = std::move(*mapping).unmap(proof);
    if (!unmapped.has_value()) {
      claim.data().mapping = std::move(unmapped.error());
    } else if (*unmapped == dma::UnmapResult::quarantined) {
      std::printf("the memory of an I/O stays mapped: VFIO_IOMMU_UNMAP_DMA has failed\n");
    }
  }
  static void on_ended(void*, blkown::EndedList<Request>&& list) {
    while (auto ended = list.pop_front()) {
      if (Io* const io = std::exchange(ended->data().io, nullptr)) {
        io->status = ended->status();
        io->has_ended = true;
      }
      std::move(*ended).release();
    }
  }

  /// Waits until the condition holds. `look` is called when the controller may have completed
  /// something: with interrupts after one, so that a completion whose interrupt is lost is not
  /// found.
  template <class Condition, class Look>
  [[nodiscard]] bool wait_until(Condition holds, Look look) {
    const auto begin = Clock::now();
    while (!holds()) {
      if (event_ >= 0) {
        if (!wait_for_interrupt()) return false;
      } else if (const auto waited = Clock::now() - begin; waited > patience) {
        return look(), holds();  // after a stall of this machine, too
      } else if (waited > spinning) {
        std::this_thread::sleep_for(milliseconds{1});
      }
      look();
    }
    return true;
  }
  template <class Condition>
  [[nodiscard]] bool wait_until(Condition holds) {
    return wait_until(holds, [] {});
  }
  [[nodiscard]] bool wait_for_interrupt() {
    pollfd waiting{.fd = event_, .events = POLLIN, .revents = 0};
    if (must(poll(&waiting, 1, static_cast<int>(patience.count())), "poll") == 0) return false;
    std::uint64_t signals = 0;
    must(read(event_, &signals, sizeof signals), "read of an eventfd");
    interrupts_ += static_cast<unsigned>(signals);
    return true;
  }

  Device::Ref device_;  // first: freed after the memory that is mapped for it
  Memory memory_;       // the submission ring and the PRP lists
  Memory completions_;
  blkown::TagSet<Request> tags_;
  blkown::TagCache cache_;
  nvme_driver::QueuePair<Device> pair_;
  int event_;
  unsigned interrupts_ = 0;
  std::uint32_t passed_ = 0;
  std::uint32_t foreign_before_ = 0;
  std::vector<LookupReason> refusals_;
  nvme::PrpListPage lists_[list_pages];
};

}  // namespace nvme_vfio

#endif
