// SPDX-License-Identifier: BSL-1.0
//
// AsyncEvents: the asynchronous events of a controller, one at a time.
//
//   arm       sends an Asynchronous Event Request. The controller keeps it until there is an event.
//   event     ends the request, and names a log page. The controller reports no further event of
//             the kind before that page is read.
//   log page  is read, the event is reported to the owner, and the next request is sent.
//   stop      ends whichever of the two commands is in flight with aborted_by_host, and nothing is
//             reported. The next start arms again.

#ifndef EXAMPLES_NVME_ASYNC_EVENTS_HPP
#define EXAMPLES_NVME_ASYNC_EVENTS_HPP

#include <algorithm>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/submission_entry.hpp>
#include <cstdint>

#include "admin_queue.hpp"

namespace nvme_driver {

/// What is called for an asynchronous event after its log page was read, on the context that takes
/// the completions. The default does nothing.
struct OnAsyncEvent {
  void (*function)(void* argument, blkown::nvme::AsyncEvent event) = nullptr;
  void* argument = nullptr;
};

/// The events of the controller whose commands go through `Admin`, an AdminQueue.
/// Precondition: the queue outlives the object.
template <class Admin>
class AsyncEvents {
 public:
  /// The bytes at `log_iova` that a log page may take: every one but the error log has as many.
  static constexpr std::uint32_t log_bytes = 512;

  AsyncEvents(Admin& admin, std::uint64_t log_iova, const OnAsyncEvent& on_event) noexcept
      : admin_{admin}, log_iova_{log_iova}, on_event_{on_event} {}
  AsyncEvents(const AsyncEvents&) = delete;
  AsyncEvents& operator=(const AsyncEvents&) = delete;

  /// The number of entries of the controller's error log, which is read up to its end.
  void set_error_log_entries(std::uint32_t entries) noexcept {
    error_log_bytes_ = std::min<std::uint32_t>(
        log_bytes, entries * static_cast<std::uint32_t>(sizeof(blkown::nvme::ErrorLogEntry)));
  }
  /// Asks for the next event. False: no tag is free, or the queue is closed.
  bool arm() noexcept {
    return admin_.start(SubmissionEntry::async_event_request(), {&on_event, this});
  }

 private:
  static AsyncEvents& of(void* self) noexcept { return *static_cast<AsyncEvents*>(self); }

  static void on_event(void* self, const AdminResult& result) {
    if (!result.status.is_success()) return;  // ended by a stop, or not supported
    of(self).event_ = {result.value};
    const auto page = of(self).event_.log_page();
    const bool is_error_log = page == blkown::nvme::LogPageId::error_information;
    SubmissionEntry entry =
        SubmissionEntry::get_log_page(page, is_error_log ? of(self).error_log_bytes_ : log_bytes);
    entry.prp1 = of(self).log_iova_;
    of(self).admin_.start(entry, {&on_log_page, self});
  }
  static void on_log_page(void* self, const AdminResult& result) {
    if (result.status.code() == StatusCode::aborted_by_host) return;  // ended by a stop
    const OnAsyncEvent& tell = of(self).on_event_;
    if (tell.function != nullptr) tell.function(tell.argument, of(self).event_);
    of(self).arm();
  }

  Admin& admin_;
  std::uint64_t log_iova_;
  OnAsyncEvent on_event_;
  std::uint32_t error_log_bytes_ = 0;
  blkown::nvme::AsyncEvent event_;  // between an event and the end of its log page
};

}  // namespace nvme_driver

#endif
