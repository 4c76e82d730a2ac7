// SPDX-License-Identifier: BSL-1.0
//
// Store: where the data of a disk is.

#ifndef VHOST_USER_BLK_STORE_HPP
#define VHOST_USER_BLK_STORE_HPP

#include <blkown/blkown.hpp>
#include <expected>
#include <string>

#include "block_request.hpp"
#include "counters.hpp"
#include "request.hpp"

namespace vhost_user_blk {

/// What a store gets from the device that uses it.
struct StoreContext {
  Tags& tags;
  Tally<blkown::LookupReason, blkown::lookup_reason_count>& refused_lookups;
};

/// A store. start() and poll() are called on the thread of its device.
class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;

  /// The same answer at all times.
  [[nodiscard]] virtual DiskInfo info() const = 0;

  /// Prepares the store for a device. Called once, before all functions below.
  /// Errors: the reason in words.
  [[nodiscard]] virtual std::expected<void, std::string> attach(const StoreContext& context) = 0;

  /// Executes a command other than get_id. The store ends the request once: at once or later, on
  /// any thread. A read has filled the data by then. The effects of all commands that ended before
  /// a flush began are durable when the flush ends.
  /// Precondition: the range is on the disk.
  virtual void start(blkown::Owned<Rq> request) = 0;

  /// A descriptor that can be read when the store wants poll() to be called. -1: never.
  [[nodiscard]] virtual int wake_fd() { return -1; }
  /// Gives the store's device what start() has collected, and ends what that device has completed.
  /// Does not block. Called before the device sleeps and when wake_fd() can be read.
  virtual void poll() {}

  /// The device has stopped: nothing is in flight. When this returns, no thread of the store uses
  /// the tags, or is at work in the sink of a request. Called once, if attach() succeeded.
  virtual void detach() {}
};

}  // namespace vhost_user_blk

#endif
