// SPDX-License-Identifier: BSL-1.0
//
// MqStore: an export of a disk of the block layer, whatever its driver.
//
//   worker    publishes the request, and posts a Work with its id to one of the disk's contexts
//   context   submits the bio; its end callback looks the id up and ends the request, which the
//             server passes back to the worker
//
// A request has a Work and a Bio of its own, which its tag finds: nothing is allocated for an I/O.
// The disk is driven by the threads of its runtime, so a driver that sleeps does not stop a worker.

#ifndef NBD_SERVER_MQ_STORE_HPP
#define NBD_SERVER_MQ_STORE_HPP

#include <algorithm>
#include <bit>
#include <blkown/blkown.hpp>
#include <blkown/mq/mq.hpp>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <utility>

#include "nbd/messages.hpp"
#include "request.hpp"
#include "store.hpp"

namespace nbd_server {

/// The runtime has threads of its own, such as mq::ThreadRuntime. The export of a disk without
/// write_zeroes does not offer them.
template <class Driver, class Runtime>
class MqStore final : public Store {
 public:
  /// Precondition: the disk is made on the runtime. Both outlive the store.
  MqStore(blkown::mq::Disk<Driver>& disk, Runtime& runtime) : disk_{disk}, runtime_{runtime} {}

  [[nodiscard]] StoreInfo info() const override {
    const blkown::mq::DiskConfig& config = disk_.config();
    return {.size = config.capacity_sectors * blkown::mq::sector_bytes,
            .min_block = config.logical_block_bytes,
            .preferred_block = std::max(4096U, std::bit_floor(config.io_min_bytes)),
            .read_only = config.read_only,
            .rotational = config.rotational,
            .can_zero = config.limits.max_write_zeroes_sectors != 0};
  }

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    tags_ = &context.tags;
    refused_ = &context.refused;
    jobs_ = std::make_unique<Job[]>(std::size_t{tags_->queue_count()} * tags_->depth());
    return {};
  }

  /// A context may still be in the sink of the last request that it has ended. What it does behind
  /// that runs when it has left the sink.
  void detach() override {
    for (std::uint32_t i = 0; i != runtime_.context_count(); ++i) {
      blkown::mq::Event done;
      blkown::mq::Work work{
          [](void* event, blkown::mq::Work&) { static_cast<blkown::mq::Event*>(event)->set(); },
          &done};
      runtime_.context(i).post(work);
      done.wait();
    }
  }

  void start(blkown::Owned<Rq> request, std::uint32_t worker) override {
    Job& job = jobs_[std::size_t{request.queue().value} * tags_->depth() + request.tag().value];
    job.store = this;
    job.context = &runtime_.context(worker % runtime_.context_count());
    if (!set_bio(job, request.data())) {
      std::move(request).end_ok();
      return;
    }
    std::move(request).publish([&job](blkown::Cookie id) {
      job.id = id.value;
      job.context->post(job.work);
    });
  }

 private:
  /// What a request has at the disk. The request's owner has it, then the context.
  struct Job {
    MqStore* store = nullptr;
    blkown::mq::Context* context = nullptr;
    std::uint64_t id = 0;
    blkown::mq::Bio bio{};
    blkown::mq::Work work{[](void* self, blkown::mq::Work&) {
                            Job& job = *static_cast<Job*>(self);
                            job.store->disk_.submit(*job.context, job.bio);
                          },
                          this};
  };

  /// Makes the bio of a command. Returns false if there is nothing to do.
  [[nodiscard]] static bool set_bio(Job& job, const Command& command) {
    const nbd::Request& wire = command.wire;
    const std::uint64_t sector = wire.offset / blkown::mq::sector_bytes;
    const blkown::Segment memory = command.payload.memory();
    const blkown::mq::IoFlags flags{.fua = command.has_flag(nbd::command_flag::fua)};
    const blkown::mq::OnEnd<blkown::mq::Bio> on_end{&MqStore::bio_ended, &job};
    switch (wire.command) {
      case nbd::Command::read: job.bio.set_read(sector, memory, on_end); return true;
      case nbd::Command::write: job.bio.set_write(sector, memory, on_end, flags); return true;
      case nbd::Command::flush: job.bio.set_flush(on_end); return true;
      case nbd::Command::trim: job.bio.set_discard(sector, wire.length, on_end, flags); return true;
      case nbd::Command::write_zeroes:
        job.bio.set_write_zeroes(sector, wire.length, on_end, flags);
        return true;
      default: return false;
    }
  }

  /// On the context.
  static void bio_ended(void* argument, blkown::mq::Bio& bio) {
    const Job& job = *static_cast<const Job*>(argument);
    MqStore& store = *job.store;
    const bool is_advice = bio.op() == blkown::mq::Op::discard;
    blkown::Status status = bio.status();
    if (is_advice && status == blkown::Status::not_supported) status = blkown::Status::ok;
    auto claim = store.tags_->claim(cookie_layout.queue_of(job.id), job.id);
    if (claim) {
      // The last access: the worker may use the job again at once.
      std::move(*claim).end(status);
    } else {
      store.refused_->count(claim.error().reason);
    }
  }

  blkown::mq::Disk<Driver>& disk_;
  Runtime& runtime_;
  Tags* tags_ = nullptr;
  RefusedLookups* refused_ = nullptr;
  std::unique_ptr<Job[]> jobs_;
};

}  // namespace nbd_server

#endif
