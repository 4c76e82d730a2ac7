// SPDX-License-Identifier: BSL-1.0
//
// The base of the scenarios: the real core over the explorer's atomic, a TagSet with one queue that
// is created for each execution, and the invariants that hold for all scenarios.
//
// The data of a request is a model::Data. Two writers, or a pin's read that is not ordered before
// the next owner's write, are therefore a data race. The data stands for the plain members of the
// header too: the sink writes the data where it reads the status that the ender wrote.

#ifndef BLKOWN_TESTS_MODEL_SCENARIOS_FIXTURE_HPP
#define BLKOWN_TESTS_MODEL_SCENARIOS_FIXTURE_HPP

// The explorer comes first: config.hpp expects the atomic to be declared.
#include "../explorer/explorer.hpp"
#include "mutex.hpp"

#define BLKOWN_ATOMIC model::atomic
#define BLKOWN_ATOMIC_NAME model
#define BLKOWN_MQ_TIMER_MUTEX model::Mutex

#include <blkown/blkown.hpp>
#include <optional>
#include <string>
#include <utility>

#include "scenario.hpp"

struct Payload {
  model::Data<int> value{0, "the request's data"};

  Payload() = default;
  // Request<T> moves the result of its builder into place. All new data is alike.
  Payload(Payload&&) noexcept {}
};
template <>
inline constexpr bool blkown::shared_data<Payload> = true;

using R = blkown::Request<Payload>;
using Owned = blkown::Owned<R>;
using Claim = blkown::Claim<R>;
using ARef = blkown::ARef<R>;
using Idle = blkown::Idle<R>;
using Ended = blkown::Ended<R>;
using Value = blkown::detail::RefValue<blkown::Word>;
using blkown::Cookie;
using blkown::Generation;
using blkown::LookupReason;
using blkown::QueueIndex;
using blkown::Tag;

constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto relaxed = std::memory_order_relaxed;

inline void format_word(std::uint64_t bits, char* text, std::size_t text_bytes) {
  const Value value{static_cast<blkown::Word>(bits)};
  std::snprintf(text, text_bytes, "g%lu:%lu%s%s%s",
                static_cast<unsigned long>(value.generation().value),
                static_cast<unsigned long>(value.count()), value.owned() ? " owned" : "",
                value.claimed() ? " claimed" : "", value.finished() ? " finished" : "");
}

/// A device with `depth` requests of queue 0. The first publication has generation `first`.
class Device {
 public:
  static constexpr std::uint32_t first = 7;

  explicit Device(std::uint32_t depth = 1,
                  blkown::CookieLayout layout = blkown::CookieLayout::nbd())
      : depth_{depth}, set_{make(depth, layout)} {
    blkown::set_violation_handler(&fail_violation);
    blkown::set_report_handler(nullptr);
  }

  /// Set by a thread that puts its own ended I/Os into `kept`, and does not free the tag at once.
  bool keep_list = false;
  std::optional<Ended> kept;

  [[nodiscard]] blkown::TagSet<R>& set() { return set_; }

  /// Starts a new I/O on the tag.
  /// Precondition: the tag is free.
  [[nodiscard]] Owned start(std::uint32_t tag = 0) {
    std::optional<Idle> idle = set_.allocate_tag(QueueIndex{0}, Tag{tag});
    model::check(idle.has_value(), "the tag is free");
    return begin(std::move(*idle));
  }
  [[nodiscard]] Owned begin(Idle idle) {
    ++lives_;
    idle.data().value.set(1);
    return std::move(idle).start();
  }

  /// The integer of publication `generation` of the tag, as the device carries it.
  [[nodiscard]] std::uint64_t wire(std::uint32_t generation = first, std::uint32_t tag = 0) {
    return set_.layout().encode(QueueIndex{0}, Tag{tag}, Generation{generation});
  }
  /// The cookie of the same, for claim and try_claim through a pin.
  [[nodiscard]] Cookie cookie(std::uint32_t generation = first, std::uint32_t tag = 0) {
    return {wire(generation, tag), Generation{generation}, Tag{tag}, QueueIndex{0}};
  }

  /// Writes the data and ends the I/O, as the holder of the right may.
  static void write_and_end(Claim claim) {
    claim.data().value.set(2);
    std::move(claim).end_ok();
  }
  static void write_and_end(Owned owned) {
    owned.data().value.set(2);
    std::move(owned).end_ok();
  }
  static void read(const ARef& pin) { static_cast<void>(pin.data().value.get()); }

  /// Publishes to a device that does nothing.
  template <class Handle>
  static void publish(Handle handle) {
    std::move(handle).publish([](const Cookie&) {});
  }

  [[nodiscard]] std::uint32_t lives() const { return lives_; }
  [[nodiscard]] std::uint32_t ends() const { return ends_; }
  [[nodiscard]] std::uint32_t requeues() const { return requeues_; }

  /// The last I/O that was requeued, for the context that requeued it.
  [[nodiscard]] Idle take_requeued() {
    model::check(requeued_.has_value(), "the requeued I/O came back");
    Idle idle = std::move(*requeued_).into_idle();
    requeued_.reset();
    return idle;
  }

  /// The current flags and count of the tag's word.
  [[nodiscard]] blkown::Word state(std::uint32_t tag = 0) { return word(tag).peek().state(); }
  [[nodiscard]] blkown::detail::RefWord<blkown::Word>& word(std::uint32_t tag = 0) {
    auto* const core = reinterpret_cast<blkown::detail::TagSetState*>(storage_);
    return blkown::detail::word_of(
        blkown::detail::TagSetStorage<R>::slot(*core, QueueIndex{0}, Tag{tag}));
  }

  /// Called at the end, without handles: every started I/O has ended exactly once, and its word is
  /// idle with its flags clear. The destructor of the TagSet checks that every tag is free.
  void check_all_ended() {
    model::check(ends_ >= lives_, "a lost completion: an I/O has not ended");
    model::check(ends_ == lives_, "an I/O has ended twice");
    for (std::uint32_t tag = 0; tag != depth_; ++tag) {
      model::check(state(tag) == 0, "the word of an ended request is idle, its flags clear");
    }
  }

  /// The same for scenarios that may leave I/Os in flight. All handles are gone, so the word of
  /// such an I/O must be at 1 and claimable.
  void sweep() {
    for (std::uint32_t tag = 0; tag != depth_; ++tag) {
      if (state(tag) == 0) continue;
      model::check(state(tag) == 1, "without handles, a request in flight has count 1, no flags");
      auto claim = set_.claim_any_generation(QueueIndex{0}, Tag{tag});
      model::check(claim.has_value(), "an I/O in flight can be claimed");
      write_and_end(std::move(*claim));
    }
    check_all_ended();
  }

 private:
  struct Sink {
    Device* device;
    void operator()(blkown::EndedList<R>&& list) const {
      while (std::optional<Ended> ended = list.pop_front()) {
        ended->data().value.set(3);
        if (ended->is_requeue()) {
          ++device->requeues_;
          device->requeued_.emplace(std::move(*ended));
        } else {
          ++device->ends_;
          if (device->keep_list) {
            device->kept.emplace(std::move(*ended));
          } else {
            std::move(*ended).release();
          }
        }
      }
    }
  };

  [[nodiscard]] blkown::TagSet<R> make(std::uint32_t depth, blkown::CookieLayout layout) {
    const std::size_t before = model::Engine::current().memory().location_count();
    auto made = blkown::TagSet<R>::create_in(storage_,
                                             {.queue_count = 1,
                                              .depth = depth,
                                              .layout = layout,
                                              .first_generation = Generation{first - 1}},
                                             blkown::EndSink<R>::to(sink_));
    model::check(made.has_value(), "the TagSet is made");
    static constexpr const char* names[] = {"tag bitmap",    "tag waiters",   "tag caches",
                                            "word of tag 0", "word of tag 1", "word of tag 2"};
    for (std::size_t i = 0; i != 3 + depth; ++i) {
      model::Location& location =
          model::Engine::current().memory().location(static_cast<unsigned>(before + i));
      location.name = names[i];
      if (i >= 3) location.format = &format_word;
    }
    return std::move(*made);
  }

  static void fail_violation(blkown::Violation violation, const blkown::Incident& incident) {
    model::Engine::current().fail(std::string{"violation: "} + blkown::to_string(violation) + ": " +
                                  incident.operation);
  }

  alignas(blkown::TagSet<R>::storage_alignment_bytes()) std::byte storage_[4096];
  std::uint32_t depth_;
  std::uint32_t lives_ = 0;
  std::uint32_t ends_ = 0;
  std::uint32_t requeues_ = 0;
  std::optional<Ended> requeued_;
  Sink sink_{this};
  blkown::TagSet<R> set_;
};

#endif
