// SPDX-License-Identifier: BSL-1.0
//
// NvmeErrorLog and NvmeEvents: the errors that a simulated NVMe controller remembers, and the
// asynchronous events that it has to report.

#ifndef BLKOWN_SIM_DEVICE_NVME_LOG_HPP
#define BLKOWN_SIM_DEVICE_NVME_LOG_HPP

#include <algorithm>
#include <array>
#include <blkown/config.hpp>
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/sim/device/nvme/command.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace sim::detail {

/// The Error Information log.
/// Context: any thread.
class NvmeErrorLog {
 public:
  explicit NvmeErrorLog(std::size_t max_entries) : max_entries_{max_entries} {}

  /// Adds the error of a command.
  void add(const NvmeCommand& command, nvme::StatusField status) {
    nvme::ErrorLogEntry entry;
    entry.sq_id = command.queue;
    entry.command_id = command.entry.command_id;
    entry.status_and_phase = nvme::CompletionEntry::status_word(status, false);
    entry.parameter_location = nvme::ErrorLogEntry::no_location;
    entry.lba = command.moves_blocks() ? command.entry.slba() : 0;
    entry.nsid = command.entry.nsid;
    add(entry);
  }
  /// Adds an error of no command.
  void add(nvme::StatusField status) {
    nvme::ErrorLogEntry entry;
    entry.sq_id = entry.command_id = 0xFFFF;
    entry.status_and_phase = nvme::CompletionEntry::status_word(status, false);
    entry.parameter_location = nvme::ErrorLogEntry::no_location;
    add(entry);
  }
  /// A reset empties the log. The errors are counted on.
  void clear() {
    const std::lock_guard guard{mutex_};
    entries_.clear();
  }
  /// The log page: the newest entry first, and empty ones up to the maximum.
  [[nodiscard]] std::vector<nvme::ErrorLogEntry> page() {
    const std::lock_guard guard{mutex_};
    std::vector<nvme::ErrorLogEntry> all(entries_.begin(), entries_.end());
    all.resize(max_entries_);
    return all;
  }
  /// The number of errors over the controller's life.
  [[nodiscard]] std::uint64_t count() {
    const std::lock_guard guard{mutex_};
    return count_;
  }

 private:
  void add(nvme::ErrorLogEntry entry) {
    const std::lock_guard guard{mutex_};
    entry.error_count = ++count_;
    entries_.push_front(entry);
    if (entries_.size() > max_entries_) entries_.pop_back();
  }

  std::size_t max_entries_;
  std::mutex mutex_;
  std::uint64_t count_ = 0;
  std::deque<nvme::ErrorLogEntry> entries_;
};

/// The events that wait for an Asynchronous Event Request. After the report of an event, events of
/// its type are not reported until the driver has read the event's log page.
/// Context: any thread.
class NvmeEvents {
 public:
  /// Adds an event, unless the same one waits.
  void add(nvme::AsyncEvent event) {
    const std::lock_guard guard{mutex_};
    if (std::ranges::find(waiting_, event) == waiting_.end()) waiting_.push_back(event);
  }
  /// Whether an event can be reported.
  [[nodiscard]] bool has_reportable() {
    const std::lock_guard guard{mutex_};
    return find_reportable() != waiting_.end();
  }
  /// Takes the oldest event that can be reported.
  [[nodiscard]] std::optional<nvme::AsyncEvent> take() {
    const std::lock_guard guard{mutex_};
    const auto found = find_reportable();
    if (found == waiting_.end()) return std::nullopt;
    const nvme::AsyncEvent event = *found;
    waiting_.erase(found);
    masked(event.type()) = true;
    return event;
  }
  /// The driver has read a log page: events that belong to the page are reported again.
  void log_page_read(nvme::LogPageId page) {
    const std::lock_guard guard{mutex_};
    if (page == nvme::LogPageId::error_information) masked(nvme::AsyncEventType::error) = false;
    if (page == nvme::LogPageId::smart) masked(nvme::AsyncEventType::smart) = false;
  }
  void clear() {
    const std::lock_guard guard{mutex_};
    waiting_.clear();
    masked_ = {};
  }

 private:
  [[nodiscard]] bool& masked(nvme::AsyncEventType type) noexcept {
    return masked_[static_cast<std::size_t>(type)];
  }
  [[nodiscard]] std::deque<nvme::AsyncEvent>::iterator find_reportable() {
    return std::ranges::find_if(waiting_,
                                [&](nvme::AsyncEvent event) { return !masked(event.type()); });
  }

  std::mutex mutex_;
  std::deque<nvme::AsyncEvent> waiting_;
  std::array<bool, 8> masked_{};
};

}  // namespace sim::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
