// SPDX-License-Identifier: BSL-1.0
//
// Copies one disk to another, on several contexts at once.

#ifndef EXAMPLES_DMA_ROUND_TRIP_COPIER_HPP
#define EXAMPLES_DMA_ROUND_TRIP_COPIER_HPP

#include <atomic>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace round_trip {

namespace mq = blkown::mq;
using blkown::Status;

/// Copies one disk to another in chunks, several at a time on each context. A bio that fails is
/// submitted again, a limited number of times, unless its disk is offline. `D` is the driver of
/// both disks.
template <class D>
class Copier {
 public:
  static constexpr std::size_t chunk_bytes = 64 * 1024;
  static constexpr unsigned max_failures = 32;

  Copier(mq::Disk<D>& from, mq::Disk<D>& to) : from_{from}, to_{to} {}

  /// Starts the copy of `chunks` chunks at a time on the context.
  void start_on(mq::Context& context, std::uint32_t chunks) {
    for (std::uint32_t i = 0; i != chunks; ++i) {
      lanes_.push_back(std::make_unique<Lane>(*this, context));
      running_.fetch_add(1);
      context.post(*lanes_.back());
    }
  }

  /// Set when the copy is complete or has failed.
  [[nodiscard]] mq::Event& done() noexcept { return done_; }
  [[nodiscard]] std::uint64_t copied_bytes() const noexcept { return copied_bytes_.load(); }
  /// The number of bios that failed and were submitted again.
  [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(); }
  /// Why the copy failed. Status::ok if the copy has not failed.
  [[nodiscard]] Status status() const noexcept { return status_.load(); }

 private:
  /// Copies one chunk after the other.
  struct Lane : mq::Work {
    Lane(Copier& its_copier, mq::Context& its_context)
        : Work{[](void* self, Work&) { static_cast<Lane*>(self)->next_chunk(); }, this},
          copier{its_copier},
          context{its_context},
          buffer(chunk_bytes) {}

    void next_chunk() {
      offset_bytes = copier.next_bytes_.fetch_add(chunk_bytes);
      const std::uint64_t capacity = copier.from_.config().capacity_sectors * mq::sector_bytes;
      if (offset_bytes >= capacity || copier.status() != Status::ok) return copier.leave();
      length_bytes = static_cast<std::size_t>(
          capacity - offset_bytes < chunk_bytes ? capacity - offset_bytes : chunk_bytes);
      failures = 0;
      begin(false);
    }
    void begin(bool writes) {
      is_writing = writes;
      const std::uint64_t sector = offset_bytes / mq::sector_bytes;
      const blkown::Segment memory{buffer.data(), length_bytes};
      if (writes) {
        bio.set_write(sector, memory, {&on_end, this});
      } else {
        bio.set_read(sector, memory, {&on_end, this});
      }
      (writes ? copier.to_ : copier.from_).submit(context, bio);
    }
    static void on_end(void* self, mq::Bio& ended) {
      Lane& lane = *static_cast<Lane*>(self);
      if (ended.status() != Status::ok) {
        ++lane.copier.failures_;
        if (ended.status() == Status::offline || ++lane.failures == max_failures) {
          lane.copier.status_.store(ended.status());
          return lane.copier.leave();
        }
        return lane.begin(lane.is_writing);
      }
      if (!lane.is_writing) return lane.begin(true);
      lane.copier.copied_bytes_ += lane.length_bytes;
      lane.next_chunk();
    }

    Copier& copier;
    mq::Context& context;
    std::vector<std::byte> buffer;
    mq::Bio bio;
    std::uint64_t offset_bytes = 0;
    std::size_t length_bytes = 0;
    unsigned failures = 0;
    bool is_writing = false;
  };

  void leave() {
    if (running_.fetch_sub(1) == 1) done_.set();
  }

  mq::Disk<D>& from_;
  mq::Disk<D>& to_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<std::uint64_t> next_bytes_{0};
  std::atomic<std::uint64_t> copied_bytes_{0};
  std::atomic<std::uint64_t> failures_{0};
  std::atomic<std::uint32_t> running_{0};
  std::atomic<Status> status_{Status::ok};
  mq::Event done_;
};

}  // namespace round_trip

#endif
