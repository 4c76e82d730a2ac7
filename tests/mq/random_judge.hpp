// SPDX-License-Identifier: BSL-1.0
//
// The judges of random_hooks_test.cpp: the order in which requests reach the driver, and the times
// at which the timeout hook is called.

#ifndef BLKOWN_TESTS_MQ_RANDOM_JUDGE_HPP
#define BLKOWN_TESTS_MQ_RANDOM_JUDGE_HPP

#include <blkown/mq/mq.hpp>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace random_hooks {

namespace mq = blkown::mq;

/// The first finding of a run.
class Findings {
 public:
  void add(std::string what) {
    const std::lock_guard lock{mutex_};
    if (first_.empty()) first_ = std::move(what);
  }
  [[nodiscard]] std::string first() {
    const std::lock_guard lock{mutex_};
    return first_;
  }

 private:
  std::mutex mutex_;
  std::string first_;
};

/// Judges the order in which one context issues the parts of bios to the queues of one type of one
/// disk. A part is named by its first sector. Belongs to the context.
class IssueOrder {
 public:
  explicit IssueOrder(Findings& findings) : findings_{&findings} {}

  /// A part reaches the driver. `serial` numbers the submits of the bios. `is_ordered` is false for
  /// a bio with flush steps, whose data may be issued after later bios. `kicked_ns`: a kick
  /// may have released every part that was requeued before. 0: there was no kick.
  void issue(std::uint64_t sector, std::uint64_t serial, bool is_ordered, std::uint64_t kicked_ns) {
    const auto [found, is_first] = parts_.try_emplace(sector);
    Part& part = found->second;
    if (is_first) part.number = next_number_++;
    for (const auto& [other_sector, other] : parts_) {
      if (&other == &part || other.number > part.number) continue;
      if (other.state == State::waiting) fail("a part passes one that waits to be issued again");
      if (other.is_refused) fail("a part passes one that the driver has refused as busy");
    }
    if (part.state == State::held && part.held_ns >= kicked_ns) {
      fail("a requeued part is issued without a kick");
    }
    const bool is_new = part.state == State::with_driver;
    if (is_new && !is_first) fail("a part that the driver has is issued again");
    if (is_first && is_ordered) {
      if (serial < latest_serial_) fail("bios are issued in another order than submitted");
      latest_serial_ = serial;
    }
    part.state = State::with_driver;
    part.is_refused = false;
  }
  /// The driver refuses the part as busy.
  void refuse(std::uint64_t sector) { parts_[sector].is_refused = true; }
  /// The part is back, and will be issued again. A part that was never issued was in a batch behind
  /// a refused one.
  void requeue(std::uint64_t sector, bool auto_kick, std::uint64_t now_ns) {
    const auto [found, is_unknown] = parts_.try_emplace(sector);
    Part& part = found->second;
    if (is_unknown) part.number = next_number_++;
    const bool needs_kick = !auto_kick && !is_unknown && !part.is_refused;
    part.state = needs_kick ? State::held : State::waiting;
    part.held_ns = now_ns;
  }
  void end(std::uint64_t sector) { parts_.erase(sector); }

 private:
  enum class State : std::uint8_t { with_driver, waiting, held };
  struct Part {
    std::uint64_t number = 0;
    State state = State::with_driver;
    std::uint64_t held_ns = 0;
    bool is_refused = false;  // until the part is issued again
  };

  void fail(const char* what) { findings_->add(what); }

  Findings* findings_;
  std::map<std::uint64_t, Part> parts_;  // by the first sector
  std::uint64_t next_number_ = 0;
  std::uint64_t latest_serial_ = 0;
};

/// Judges when the timeout hook is called: for no publication before its timeout, not again after
/// `handled`, and, if the run is exact, for every one soon after.
class Deadlines {
 public:
  Deadlines(Findings& findings, bool is_exact) : findings_{findings}, is_exact_{is_exact} {}

  /// Called before the device can answer. `pool` tells the tags of different pools apart.
  void publish(const void* pool, const blkown::Cookie& cookie, std::uint32_t timeout_ms,
               std::uint64_t now_ns) {
    const std::lock_guard lock{mutex_};
    watches_[{pool, cookie.queue.value, cookie.tag.value}] = {cookie.value, now_ns, timeout_ms,
                                                              false};
  }
  void call(const void* pool, const blkown::Cookie& cookie, std::uint64_t now_ns) {
    const std::lock_guard lock{mutex_};
    const Watch* const watch = find(pool, cookie);
    if (watch == nullptr) return;
    if (watch->is_silent) findings_.add("the timeout hook is called again after `handled`");
    if (now_ns < watch->since_ns + watch->timeout_ms * ns_per_ms) {
      findings_.add("the timeout hook is called early");
    }
    if (is_late(*watch, now_ns)) findings_.add("the timeout hook is called late");
  }
  /// The hook's answer, which counts for the publication that it was called for.
  void answer(const void* pool, const blkown::Cookie& cookie, mq::TimeoutAction action,
              std::uint64_t now_ns) {
    const std::lock_guard lock{mutex_};
    Watch* const watch = find(pool, cookie);
    if (watch == nullptr) return;
    watch->since_ns = now_ns;
    watch->is_silent = action == mq::TimeoutAction::handled;
  }
  /// The publication has been claimed.
  void claim(const void* pool, const blkown::Cookie& cookie, std::uint64_t now_ns) {
    const std::lock_guard lock{mutex_};
    const Watch* const watch = find(pool, cookie);
    if (watch == nullptr || watch->is_silent) return;
    if (is_late(*watch, now_ns)) findings_.add("the timeout hook was not called in time");
  }

 private:
  static constexpr std::uint64_t ns_per_ms = 1'000'000;
  struct Key {
    const void* pool;
    std::uint32_t queue, tag;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Watch {
    std::uint64_t value = 0;
    std::uint64_t since_ns = 0;
    std::uint32_t timeout_ms = 0;
    bool is_silent = false;
  };

  [[nodiscard]] Watch* find(const void* pool, const blkown::Cookie& cookie) {
    const auto found = watches_.find({pool, cookie.queue.value, cookie.tag.value});
    return found == watches_.end() || found->second.value != cookie.value ? nullptr
                                                                          : &found->second;
  }
  /// Two scans, a quarter of the timeout or a millisecond apart, and a millisecond for the other
  /// work of the context.
  [[nodiscard]] bool is_late(const Watch& watch, std::uint64_t now_ns) const {
    const std::uint64_t scan_ms = watch.timeout_ms / 4 < 1 ? 1 : watch.timeout_ms / 4;
    return is_exact_ && now_ns > watch.since_ns + (watch.timeout_ms + 2 * scan_ms + 1) * ns_per_ms;
  }

  Findings& findings_;
  bool is_exact_;
  std::mutex mutex_;
  std::map<Key, Watch> watches_;  // the latest publication of each request
};

}  // namespace random_hooks

#endif
