// SPDX-License-Identifier: BSL-1.0
//
// Poller: the file descriptors that a device waits for. Any of them may be closed and sent again by
// the front end while the front end still has it open: a descriptor is removed before it is closed.

#ifndef VHOST_USER_BLK_POLLER_HPP
#define VHOST_USER_BLK_POLLER_HPP

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "signal.hpp"

namespace vhost_user_blk {

class Poller {
 public:
  Poller() : fd_{epoll_create1(EPOLL_CLOEXEC)} {}

  [[nodiscard]] bool is_open() const noexcept { return fd_.is_open(); }
  /// Waits for the descriptor to be readable. False: it is of a kind that cannot be waited for.
  [[nodiscard]] bool add(int fd, std::uint64_t key) const noexcept {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = key;
    return epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
  }
  void remove(int fd) const noexcept {
    if (fd >= 0) epoll_ctl(fd_.get(), EPOLL_CTL_DEL, fd, nullptr);
  }
  /// Calls `visit` with the key of each readable descriptor, of some of them. Waits for one if
  /// `blocks`.
  template <class Visit>
  void wait(bool blocks, Visit visit) const {
    std::array<epoll_event, 16> events;
    const int count =
        epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), blocks ? -1 : 0);
    for (int i = 0; i < count; ++i) visit(events[static_cast<std::size_t>(i)].data.u64);
  }

 private:
  Descriptor fd_;
};

}  // namespace vhost_user_blk

#endif
