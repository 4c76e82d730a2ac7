// SPDX-License-Identifier: BSL-1.0
//
// CommandObserver: the interface through which a simulated device reports its events, so that a
// harness can judge the driver.

#ifndef BLKOWN_SIM_DEVICE_CONTROLLER_OBSERVER_HPP
#define BLKOWN_SIM_DEVICE_CONTROLLER_OBSERVER_HPP

#include <blkown/config.hpp>
#include <cstdint>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim {

/// Receives the events of a device whose submission entries are of the type `Entry`. A device
/// without an observer records none of them.
///
/// Precondition: no function calls the controller.
/// Context: that of the controller's caller, with the controller's lock held.
template <class Entry>
class CommandObserver {
 public:
  CommandObserver() = default;
  CommandObserver(const CommandObserver&) = delete;
  CommandObserver& operator=(const CommandObserver&) = delete;
  virtual ~CommandObserver() = default;

  /// The controller has fetched a command from the queue's submission ring, which is not disowned.
  virtual void command_fetched(std::uint32_t queue, const Entry& entry) = 0;
  /// The controller has refused a command, and posts a false completion for the command.
  virtual void command_refused(std::uint32_t queue, const Entry& entry) = 0;
  /// The command has failed with a status that says that it would fail again. command_done
  /// follows.
  virtual void command_failed_for_good(std::uint32_t, const Entry&) {}
  /// The command is done. Its own completion is posted next, unless the ring is full.
  virtual void command_done(std::uint32_t queue, const Entry& entry) = 0;
  /// An entry was posted on the queue's completion ring. `is_genuine`: the entry is the completion
  /// of a command that is done; any other entry is a false completion.
  virtual void entry_posted(std::uint32_t queue, std::uint64_t cookie, bool is_genuine) = 0;
  /// The entry that was just posted has the phase of the previous round: the driver sees neither it
  /// nor those behind it.
  virtual void entry_hidden(std::uint32_t) {}
  /// An entry that names another submission queue was posted on the queue's completion ring. A
  /// driver drops it without a lookup. Called instead of entry_posted.
  virtual void foreign_entry_posted(std::uint32_t) {}
  /// The driver has moved the completion head past the oldest entry of the queue.
  virtual void entry_taken(std::uint32_t queue) = 0;
  /// The driver has written a value to a doorbell of the queue that is no index of its ring.
  virtual void doorbell_misused(std::uint32_t) {}
  /// The controller was stopped: it has given up all commands and emptied all rings.
  virtual void stopped() = 0;
  /// The driver has deleted a completion queue of an NvmeController, or connected a queue of a
  /// MessageDevice again: the device has given up the queue's commands, and its entries or replies.
  virtual void queue_stopped(std::uint32_t) {}
};

}  // namespace sim
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
