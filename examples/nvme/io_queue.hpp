// SPDX-License-Identifier: BSL-1.0
//
// IoQueue: an I/O queue pair with its memory, its lock and its gate. IoQueues: those of a
// controller.

#ifndef EXAMPLES_NVME_IO_QUEUE_HPP
#define EXAMPLES_NVME_IO_QUEUE_HPP

#include <algorithm>
#include <blkown/dma/dma.hpp>
#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "completion_gate.hpp"
#include "controller_info.hpp"
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

/// The I/O queues of a controller: index i has the identifier i + 1.
template <Registers R, blkown::dma::Backend B, class Hw>
class IoQueues {
 public:
  using Queue = IoQueue<R, B, Hw>;

  [[nodiscard]] std::size_t size() const noexcept { return queues_.size(); }
  [[nodiscard]] Queue& operator[](std::size_t index) const noexcept { return *queues_[index]; }

  /// Allocates the memory of `count` queues with `depth` requests each. Does nothing if that was
  /// done before. False: there is no memory.
  template <class Owner>
  [[nodiscard]] bool allocate(Owner& controller, std::uint32_t count, std::uint32_t depth) {
    // Only completions say what was fetched, so the ring has room for more than the requests.
    const std::uint32_t entries = std::min(2 * depth, controller.info().max_queue_entries);
    while (queues_.size() < count) {
      QueuePairConfig pair{.id = static_cast<std::uint16_t>(queues_.size() + 1),
                           .submission_entries = entries,
                           .completion_entries = entries};
      controller.state().set_doorbells(pair);
      auto queue = Queue::allocate(controller.registers(), controller.device(), pair, depth);
      if (queue == nullptr) return false;
      queues_.push_back(std::move(queue));
    }
    return true;
  }

  /// Creates the queues in the controller, the first ones with interrupts: queue i has vector i.
  /// Errors: create_queue.
  template <class Owner>
  [[nodiscard]] std::expected<void, ControllerError> create(Owner& controller,
                                                            std::uint32_t with_interrupts) {
    for (const auto& queue : queues_) {
      const QueuePairConfig& pair = queue->pair.config();
      const auto vector = pair.id <= with_interrupts ? std::optional{pair.id} : std::nullopt;
      if (auto created = controller.create_queue_pair(pair, vector); !created.has_value()) {
        return created;
      }
    }
    return {};
  }

  /// Frees the memory of all queues. False: the proof does not cover some of it.
  [[nodiscard]] bool free(const blkown::dma::EndProof& proof) {
    bool is_freed = true;
    for (const auto& queue : queues_) is_freed = queue->free(proof) && is_freed;
    queues_.clear();
    return is_freed;
  }

 private:
  std::vector<std::unique_ptr<Queue>> queues_;
};

}  // namespace nvme_driver

#endif
