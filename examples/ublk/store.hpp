// SPDX-License-Identifier: BSL-1.0
//
// Store: what executes the I/Os of a device. Two are here: file_store.hpp, and slow_store.hpp.

#ifndef UBLK_STORE_HPP
#define UBLK_STORE_HPP

#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <span>
#include <string>

#include "request.hpp"
#include "storage/io.hpp"

namespace ublk {

/// What a store gets from the server that uses it.
struct StoreContext {
  Tags& tags;
  storage::RefusedLookups& refused;
  std::span<const blkown::Segment> regions;  ///< The buffers of each queue.
};

/// A store. All functions with a queue are called on the thread of that queue. Queues call at the
/// same time.
class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;

  /// Prepares the store for the queues. Called once, before all functions below.
  /// Errors: the reason in words.
  [[nodiscard]] virtual std::expected<void, std::string> attach(const StoreContext& context) = 0;

  /// Executes the request's I/O. The store ends the request once: at once or later, on any thread.
  /// By then a read has filled its memory, and a durable I/O is durable. A flush makes all durable
  /// that ended before the flush began.
  virtual void start(blkown::Owned<Rq> request, blkown::QueueIndex queue) = 0;

  /// The I/O is in flight for longer than the time limit. The store sees to its end with timed_out,
  /// but not before the device is done with its memory. Called again until the I/O has ended.
  virtual void expire(const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) = 0;

  /// A descriptor that can be read when the store wants poll() to be called. -1: never.
  [[nodiscard]] virtual int wake_fd(blkown::QueueIndex queue) {
    static_cast<void>(queue);
    return -1;
  }
  /// Gives the device what start() has collected, and ends what the device has completed. Does not
  /// block.
  virtual void poll(blkown::QueueIndex queue) { static_cast<void>(queue); }

  /// The queues have ended: no I/O is in flight. Afterwards the store uses neither the tags nor the
  /// buffers. Called once.
  virtual void detach() {}
};

}  // namespace ublk

#endif
