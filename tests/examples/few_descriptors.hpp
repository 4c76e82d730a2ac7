// SPDX-License-Identifier: BSL-1.0
//
// FewDescriptors: a process that runs out of file descriptors, for a test.

#ifndef BLKOWN_TESTS_EXAMPLES_FEW_DESCRIPTORS_HPP
#define BLKOWN_TESTS_EXAMPLES_FEW_DESCRIPTORS_HPP

#include <sys/resource.h>
#include <unistd.h>

namespace front_ends {

/// Leaves the process `count` descriptors.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t count) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest = dup(STDERR_FILENO);
    ::close(lowest);
    rlimit few = before_;
    few.rlim_cur = static_cast<rlim_t>(lowest) + count;
    setrlimit(RLIMIT_NOFILE, &few);
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace front_ends

#endif
