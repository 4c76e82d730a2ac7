// SPDX-License-Identifier: BSL-1.0
//
// PollLoop: a runtime of the block layer whose one thread waits for sockets with poll(2).
//
// The loop has a context for each connection of a disk. The thread that waits for something runs
// all contexts, then sleeps until a socket is ready or a timer is due, and calls the connections
// whose sockets are ready, each on its own context. Nothing needs a lock. A program that wants more
// threads gives each a loop with a disk of its own.

#ifndef EXAMPLES_NBD_CLIENT_POLL_LOOP_HPP
#define EXAMPLES_NBD_CLIENT_POLL_LOOP_HPP

#include <poll.h>

#include <algorithm>
#include <blkown/mq/context.hpp>
#include <blkown/mq/loop_runtime.hpp>
#include <blkown/mq/runtime.hpp>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace nbd_client {

namespace mq = blkown::mq;

/// What a PollLoop calls when a descriptor is ready.
class Pollable {
 public:
  Pollable() = default;
  Pollable(const Pollable&) = delete;
  Pollable& operator=(const Pollable&) = delete;
  virtual ~Pollable() = default;

  /// What to wait for. A negative descriptor: nothing.
  [[nodiscard]] virtual pollfd interest() = 0;
  /// The descriptor of interest() has these events, which may be events of its previous file.
  virtual void ready(short events) = 0;
};

/// A runtime for programs with one thread. Event::set() is called by that thread only.
class PollLoop {
 public:
  explicit PollLoop(std::uint32_t context_count) : runtime_{context_count} {}

  [[nodiscard]] std::uint32_t context_count() const noexcept { return runtime_.context_count(); }
  [[nodiscard]] mq::Context& context(std::uint32_t index) noexcept {
    return runtime_.context(index);
  }
  [[nodiscard]] std::uint64_t now_ns() noexcept { return runtime_.now_ns(); }

  /// Calls the pollable on the context. It is removed before it is destroyed.
  void add(Pollable& pollable, mq::Context& context) { members_.push_back({&pollable, &context}); }
  void remove(const Pollable& pollable) {
    std::erase_if(members_, [&](const Member& member) { return member.pollable == &pollable; });
  }

  /// Runs until the event is set. Returns false if there is nothing to wait for.
  bool wait_for(mq::Event& event) { return wait(event, std::nullopt); }
  /// The same, but returns false when now_ns() has reached the deadline, too.
  bool wait_until(mq::Event& event, std::uint64_t deadline_ns) { return wait(event, deadline_ns); }

 private:
  struct Member {
    Pollable* pollable;
    mq::Context* context;
  };
  static constexpr std::size_t max_calls = 256;  // between two looks at the sockets

  bool wait(mq::Event& event, std::optional<std::uint64_t> deadline_ns) {
    while (true) {
      const bool has_more = runtime_.run_some(max_calls) == max_calls;
      if (event.is_set()) return true;
      if (deadline_ns && now_ns() >= *deadline_ns) return false;
      const auto timeout_ms = has_more ? std::optional{0} : timeout_until(deadline_ns);
      if (!poll_members(timeout_ms.value_or(-1)) && !timeout_ms) return false;
    }
  }

  /// For poll(2). None: no timer is armed, and there is no deadline.
  [[nodiscard]] std::optional<int> timeout_until(std::optional<std::uint64_t> deadline_ns) {
    auto next_ns = runtime_.next_timer_ns();
    if (deadline_ns) next_ns = std::min(next_ns.value_or(*deadline_ns), *deadline_ns);
    if (!next_ns) return std::nullopt;
    const std::uint64_t now = now_ns();
    const std::uint64_t wait_ns = *next_ns > now ? *next_ns - now : 0;
    return static_cast<int>(std::min<std::uint64_t>((wait_ns + 999'999) / 1'000'000, 60'000));
  }

  /// Returns whether there is a descriptor to wait for.
  bool poll_members(int timeout_ms) {
    polled_.clear();
    bool has_any = false;
    for (const Member& member : members_) {
      polled_.push_back(member.pollable->interest());
      has_any = has_any || polled_.back().fd >= 0;
    }
    if (!has_any && timeout_ms < 0) return false;
    if (::poll(polled_.data(), polled_.size(), timeout_ms) > 0) {
      for (std::size_t i = 0; i != polled_.size(); ++i) {
        if (polled_[i].revents == 0) continue;
        const mq::Context::Scope scope{*members_[i].context};
        members_[i].pollable->ready(polled_[i].revents);
      }
    }
    return has_any;
  }

  mq::LoopRuntime runtime_;
  std::vector<Member> members_;
  std::vector<pollfd> polled_;  // of the members
};

static_assert(mq::Runtime<PollLoop>);

}  // namespace nbd_client

#endif
