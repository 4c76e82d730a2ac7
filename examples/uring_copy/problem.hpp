// SPDX-License-Identifier: BSL-1.0
//
// Problem: a one-line error message for the user, with the exit status.

#ifndef URING_COPY_PROBLEM_HPP
#define URING_COPY_PROBLEM_HPP

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

namespace uring_copy {

inline constexpr int exit_failed = 1;       ///< The copy failed; DST is unchanged.
inline constexpr int exit_usage = 2;        ///< The command line is invalid.
inline constexpr int exit_unavailable = 3;  ///< No io_uring here; another backend may work.
inline constexpr int exit_interrupted =
    -1;  ///< The program ends itself with the signal that it got.

struct Problem {
  std::string text;  ///< Names the object and, if there is one, the remedy.
  int exit_status = exit_failed;
};

/// The system's message for an errno value.
[[nodiscard]] inline std::string error_text(int error) {
  return std::generic_category().message(error);
}

/// The remedy for an errno value, as the end of a message, or an empty string.
[[nodiscard]] inline std::string remedy(int error) {
  switch (error) {
    case ENOSPC: return "; free space there, or name another destination";
    case EDQUOT: return "; free some of the quota, or name another destination";
    case EFBIG: return "; raise the limit on file sizes (ulimit -f), or name another file system";
    case EACCES:
    case EPERM: return "; ask its owner for the right, or run as another user";
    case EROFS: return "; name a destination that can be written";
    case ENAMETOOLONG: return "; use a shorter name";
    case EMFILE: return "; raise the limit on open files (ulimit -n)";
    default: return "";
  }
}

/// A message of the form "PATH: what happened: the system's message; the remedy".
[[nodiscard]] inline Problem system_problem(const std::string& path, const std::string& what,
                                            int error) {
  return {path + ": " + what + ": " + error_text(error) + remedy(error)};
}

[[nodiscard]] inline Problem interrupted(const std::string& destination) {
  return {"interrupted; " + destination + " is as it was", exit_interrupted};
}

}  // namespace uring_copy

#endif
