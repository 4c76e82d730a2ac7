// SPDX-License-Identifier: BSL-1.0
//
// The signals of a server: stop (SIGINT, SIGTERM) and report (SIGUSR1).

#ifndef STORAGE_SIGNALS_HPP
#define STORAGE_SIGNALS_HPP

#include <signal.h>  // NOLINT(modernize-deprecated-headers): POSIX
#include <sys/signalfd.h>

#include "descriptor.hpp"

namespace storage {

/// Blocks the signals for all threads that are started later, and returns a descriptor that reads
/// them; a negative one, with errno, on failure.
[[nodiscard]] inline Descriptor make_signal_fd() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return Descriptor{signalfd(-1, &signals, SFD_CLOEXEC)};
}

}  // namespace storage

#endif
