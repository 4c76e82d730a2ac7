// SPDX-License-Identifier: BSL-1.0
//
// ScriptedController: the registers and rings of one queue pair, which a test scripts.

#ifndef BLKOWN_TESTS_EXAMPLES_NVME_SCRIPTED_CONTROLLER_HPP
#define BLKOWN_TESTS_EXAMPLES_NVME_SCRIPTED_CONTROLLER_HPP

#include <gtest/gtest.h>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <vector>

#include "nvme/queue_pair.hpp"

namespace nvme_test {

using nvme_driver::CompletionEntry;
using nvme_driver::SubmissionEntry;

/// The registers and the rings of a controller with one queue pair.
class ScriptedController {
 public:
  static constexpr std::uint64_t submission_doorbell = 0x1008;
  static constexpr std::uint64_t completion_doorbell = 0x100C;

  ScriptedController(std::uint16_t queue_id, std::uint32_t entries)
      : submissions(entries), completions(entries), queue_id_{queue_id}, entries_{entries} {}

  [[nodiscard]] nvme_driver::QueuePairConfig config() {
    const auto memory_of = [](auto& ring) {
      return nvme_driver::RingMemory{reinterpret_cast<std::byte*>(ring.data()), 0};
    };
    return {.id = queue_id_,
            .submission_entries = entries_,
            .completion_entries = entries_,
            .submissions = memory_of(submissions),
            .completions = memory_of(completions),
            .submission_doorbell = submission_doorbell,
            .completion_doorbell = completion_doorbell};
  }

  std::uint32_t read32(std::uint64_t) { return 0; }
  std::uint64_t read64(std::uint64_t) { return 0; }
  void write32(std::uint64_t offset, std::uint32_t value) {
    if (offset == submission_doorbell) {
      submission_doorbells.push_back(value);
      if (on_doorbell) on_doorbell();
    } else {
      EXPECT_EQ(offset, completion_doorbell);
      completion_doorbells.push_back(value);
    }
  }
  void write64(std::uint64_t, std::uint64_t) {}

  /// Fetches the next command below the tail of the last doorbell.
  std::optional<SubmissionEntry> fetch() {
    if (submission_doorbells.empty() || head == submission_doorbells.back()) return std::nullopt;
    const SubmissionEntry entry = submissions[head];
    head = (head + 1) % entries_;
    return entry;
  }
  /// Posts a completion with the head that the controller has.
  void post(std::uint16_t command_id, std::uint16_t status = 0) {
    post(command_id, status, static_cast<std::uint16_t>(head), queue_id_);
  }
  /// Posts a completion with any head and queue.
  void post(std::uint16_t command_id, std::uint16_t status, std::uint16_t reported_head,
            std::uint16_t sq_id) {
    const std::uint16_t words[] = {0,
                                   0,
                                   0,
                                   0,
                                   reported_head,
                                   sq_id,
                                   command_id,
                                   static_cast<std::uint16_t>(status * 2U + phase_)};
    std::memcpy(&completions[posted_], words, sizeof words);
    posted_ = (posted_ + 1) % entries_;
    if (posted_ == 0) phase_ ^= 1;
  }

  /// The state after a reset.
  void restart() {
    head = posted_ = 0;
    phase_ = 1;
    submission_doorbells.clear();
  }

  std::vector<SubmissionEntry> submissions;
  std::vector<CompletionEntry> completions;
  std::vector<std::uint32_t> submission_doorbells;
  std::vector<std::uint32_t> completion_doorbells;
  std::function<void()> on_doorbell;
  std::uint32_t head = 0;

 private:
  std::uint16_t queue_id_;
  std::uint32_t entries_;
  std::uint32_t posted_ = 0;
  unsigned phase_ = 1;
};
static_assert(nvme_driver::Registers<ScriptedController>);

}  // namespace nvme_test

#endif
