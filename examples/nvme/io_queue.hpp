// SPDX-License-Identifier: BSL-1.0
//
// IoQueue: an I/O queue pair with its memory, its lock and its gate.

#ifndef EXAMPLES_NVME_IO_QUEUE_HPP
#define EXAMPLES_NVME_IO_QUEUE_HPP

#include <algorithm>
#include <blkown/dma/dma.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "completion_gate.hpp"
#include "prp_pool.hpp"
#include "queue_pair.hpp"

namespace nvme_driver {

/// An I/O queue pair. Any context submits, under the lock, and any takes completions, through the
/// gate. `Hw` is the block layer's queue.
template <Registers R, blkown::dma::Backend B, class Hw>
class IoQueue {
 public:
  /// Allocates the memory of a queue pair. Null if there is none.
  /// `config` has the id, the entries and the doorbells.
  [[nodiscard]] static std::unique_ptr<IoQueue> allocate(R& registers,
                                                         blkown::dma::Device<B>& device,
                                                         QueuePairConfig config,
                                                         std::uint32_t depth) {
    auto submissions =
        Memory::allocate(device, config.submission_entries * sizeof(SubmissionEntry));
    auto completions =
        Memory::allocate(device, config.completion_entries * sizeof(CompletionEntry));
    auto prps = PrpPool<B>::allocate(device, depth);
    if (!submissions.has_value() || !completions.has_value() || !prps.has_value()) return nullptr;
    config.submissions = {submissions->data(), submissions->segment().iova};
    config.completions = {completions->data(), completions->segment().iova};
    return std::unique_ptr<IoQueue>{new (std::nothrow)
                                        IoQueue{registers, config, *std::move(submissions),
                                                *std::move(completions), *std::move(prps), depth}};
  }

  /// Frees the memory. False: the proof does not cover it.
  [[nodiscard]] bool free(const blkown::dma::EndProof& proof) {
    for (Memory* const memory : {&submissions_, &completions_}) {
      auto freed = std::move(*memory).free(proof);
      if (freed.has_value()) continue;
      *memory = std::move(freed.error());
      return false;
    }
    return prps.free(proof);
  }

  /// Whether the tag's publication was aborted already. The answer is for the tag's owner.
  [[nodiscard]] bool was_aborted(const blkown::Cookie& cookie) const noexcept {
    return aborted_[cookie.tag.value] == cookie.generation;
  }
  void note_abort(const blkown::Cookie& cookie) noexcept {
    aborted_[cookie.tag.value] = cookie.generation;
  }
  void forget_abort(blkown::Tag tag) noexcept { aborted_[tag.value].reset(); }

  QueuePair<R> pair;
  PrpPool<B> prps;
  std::mutex submission;
  CompletionGate gate;
  Hw* hw = nullptr;  // a queue of the block layer for lookups; changes inside the gate

 private:
  using Memory = blkown::dma::Coherent<B>;

  IoQueue(R& registers, const QueuePairConfig& config, Memory&& submissions, Memory&& completions,
          PrpPool<B>&& pool, std::uint32_t depth)
      : pair{registers, config},
        prps{std::move(pool)},
        submissions_{std::move(submissions)},
        completions_{std::move(completions)},
        aborted_(depth) {}

  Memory submissions_;
  Memory completions_;
  std::vector<std::optional<blkown::Generation>> aborted_;  // by tag
};

}  // namespace nvme_driver

#endif
