// SPDX-License-Identifier: BSL-1.0
//
// Status as an errno value and as a std::error_code, for drivers between the library and an
// interface of the operating system. Hosted programs only.

#ifndef BLKOWN_ERROR_CODE_HPP
#define BLKOWN_ERROR_CODE_HPP

#include <array>
#include <blkown/config.hpp>
#include <blkown/status.hpp>
#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>
#include <type_traits>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace detail {

/// In the order of Status. ECANCELED is not in the kernel's table, which has no aborted.
// NOLINTBEGIN(misc-include-cleaner): Linux adds some of these to the values of <cerrno>.
inline constexpr std::array<int, status_count> errno_of_status{
    0,      EIO,    EOPNOTSUPP, ETIMEDOUT, ENOSPC,       ENOLINK,   EREMOTEIO, EBADE,  ENODATA,
    EILSEQ, ENOMEM, EBUSY,      EAGAIN,    ETOOMANYREFS, EOVERFLOW, ENODEV,    EINVAL, ECANCELED};
// NOLINTEND(misc-include-cleaner)

}  // namespace detail

/// The errno value of the status, positive, as errno holds it. 0 for ok.
/// Source: the kernel's blk_errors table, blk_status_to_errno.
[[nodiscard]] constexpr int to_errno(Status status) noexcept {
  const auto index = static_cast<std::size_t>(status);
  return index < status_count ? detail::errno_of_status[index] : EIO;
}

/// The status of an errno value, which may be negative, as a system call in a ring returns it.
/// io_error for a value without a status of its own.
/// Source: the kernel's errno_to_blk_status.
[[nodiscard]] constexpr Status status_of_errno(int error) noexcept {
  for (std::size_t i = 0; i != status_count; ++i) {
    // The table's value is negated: the least int has no negative.
    if (detail::errno_of_status[i] == error || -detail::errno_of_status[i] == error) {
      return static_cast<Status>(i);
    }
  }
  return Status::io_error;
}

namespace detail {

/// The status of a code's value. A program may make a code of any integer: one without a status
/// becomes a value that no enumerator has.
[[nodiscard]] constexpr Status status_of_code(int value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  return static_cast<Status>(index < status_count ? index : status_count);
}

class StatusCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "blkown"; }
  [[nodiscard]] std::string message(int value) const override {
    return to_string(status_of_code(value));
  }
  [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
    return {to_errno(status_of_code(value)), std::generic_category()};
  }
};

}  // namespace detail

/// The category of the statuses. A code of the category equals the std::errc of its errno value.
/// A shared library may have a category object of its own, whose codes are not equal to the
/// program's: compare a code that comes from a shared library with a std::errc.
[[nodiscard]] inline const std::error_category& status_category() noexcept {
  static const detail::StatusCategory category;
  return category;
}

/// The status as a code: false in a condition for ok.
[[nodiscard]] inline std::error_code make_error_code(Status status) noexcept {
  return {static_cast<int>(status), status_category()};
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

namespace std {

/// Makes a Status convert to a std::error_code.
template <>
struct is_error_code_enum<blkown::Status> : true_type {};

}  // namespace std

#endif
