// SPDX-License-Identifier: BSL-1.0
//
// Store: where the data of an export is.

#ifndef NBD_SERVER_STORE_HPP
#define NBD_SERVER_STORE_HPP

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "request.hpp"
#include "storage/io.hpp"

namespace nbd_server {

/// What a store can do, for the client. All sizes in bytes.
struct StoreInfo {
  std::uint64_t size = 0;
  std::uint32_t min_block = 1;           ///< Offsets and lengths are multiples. A power of two.
  std::uint32_t preferred_block = 4096;  ///< A power of two. Clients are told min_block at least.
  bool read_only = false;
  bool rotational = false;
  bool can_zero = true;  ///< Write Zeroes.
  bool is_block_device = false;
  bool ends_writes_at_once = false;  ///< When start() returns, a write has ended.
};

using storage::RefusedLookups;

/// What a store gets from the server that uses it.
struct StoreContext {
  Tags& tags;
  RefusedLookups& refused;
  std::span<const blkown::Segment> regions;  ///< The memory of most payloads: one for each worker.
};

/// A store. Each function says which thread calls it; workers call at the same time.
class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  virtual ~Store() = default;

  /// The same answer at all times.
  [[nodiscard]] virtual StoreInfo info() const = 0;

  /// Prepares the store for the workers of a server. Called once, before all functions below.
  /// Errors: the reason in words.
  [[nodiscard]] virtual std::expected<void, std::string> attach(const StoreContext& context) = 0;

  /// Executes a command other than block_status and disconnect. The store ends the request once: at
  /// once or later, on any thread. A read has filled the payload by then, unless it is lent. The
  /// effects of a command with FUA are durable by then, as are those of all commands that ended
  /// before a flush began, on whatever connection.
  /// Precondition: the range is within the store, and whole blocks.
  /// Context: the worker with this index.
  virtual void start(blkown::Owned<Rq> request, std::uint32_t worker) = 0;

  /// The store's own memory of the range, of which a reply to a read is sent in place of a payload.
  /// It stays where it is until the store is destroyed, and may be written at any time: a read and
  /// a write at the same time may mix. Empty: the store fills a payload.
  /// Precondition: the range is within the store.
  /// Context: any worker.
  [[nodiscard]] virtual blkown::Segment lend(std::uint64_t offset, std::uint32_t length) {
    static_cast<void>(offset);
    static_cast<void>(length);
    return {};
  }

  /// Appends the extents of the range to `extents`, at most `max`, from its start on. None: all is
  /// allocated.
  /// Context: any worker.
  virtual void list_extents(std::uint64_t offset, std::uint32_t length, std::size_t max,
                            std::vector<nbd::Extent>& extents) {
    static_cast<void>(max);
    static_cast<void>(offset);
    extents.push_back({.length = length, .flags = 0});
  }

  /// A descriptor that can be read when the store wants poll() to be called. -1: never.
  [[nodiscard]] virtual int wake_fd(std::uint32_t worker) {
    static_cast<void>(worker);
    return -1;
  }
  /// Gives the device what start() has collected, and ends what the device has completed. Does not
  /// block.
  /// Context: the worker with this index, before it sleeps and when wake_fd() can be read.
  virtual void poll(std::uint32_t worker) { static_cast<void>(worker); }

  /// The workers have ended: nothing is in flight. When this returns, no thread that belongs to the
  /// store uses the tags, or is at work in the sink of a request. Called once, if attach()
  /// succeeded.
  virtual void detach() {}
};

}  // namespace nbd_server

#endif
