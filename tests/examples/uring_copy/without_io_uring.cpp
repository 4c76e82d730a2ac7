// SPDX-License-Identifier: BSL-1.0
//
// Runs a program as on a machine without io_uring. io_uring_setup fails with EPERM, as under a
// sysctl or a seccomp profile that forbids io_uring, or with ENOSYS, as on a kernel built without
// io_uring.

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <string_view>

namespace {

/// Makes io_uring_setup fail with `error` in this process and in the programs that it executes.
bool forbid_io_uring(unsigned error) {
  std::array<sock_filter, 4> program{{
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, __NR_io_uring_setup},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | error},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  }};
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view error = argc > 2 ? argv[1] : "";
  if (error != "EPERM" && error != "ENOSYS") {
    std::fputs("Usage: without_io_uring EPERM|ENOSYS PROGRAM [ARGUMENT]...\n", stderr);
    return 99;
  }
  if (!forbid_io_uring(error == "EPERM" ? EPERM : ENOSYS)) {
    std::perror("without_io_uring: seccomp");
    return 99;
  }
  execv(argv[2], argv + 2);
  std::perror(argv[2]);
  return 99;
}
