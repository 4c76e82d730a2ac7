// SPDX-License-Identifier: BSL-1.0
//
// Failed: why a scenario did not show what it is there for, or why the machine cannot be set up.

#ifndef EXAMPLES_NVME_VFIO_FAILURE_HPP
#define EXAMPLES_NVME_VFIO_FAILURE_HPP

#include <blkown/dma/vfio.hpp>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <expected>
#include <string>
#include <type_traits>
#include <utility>

namespace nvme_vfio {

/// The exception of this program. Library code never sees one: no callback of the library throws.
struct Failed {
  std::string what;
};

/// printf into a string.
[[gnu::format(printf, 1, 2)]] [[nodiscard]] inline std::string text(const char* format, ...) {
  char buffer[512];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

/// Throws Failed unless the condition holds.
inline void expect(bool condition, std::string what) {
  if (!condition) throw Failed{std::move(what)};
}

/// Throws Failed with the text of errno if the result of a system call is negative.
template <class T>
T must(T result, const char* call) {
  if (result < 0) throw Failed{text("%s: %s", call, std::strerror(errno))};
  return result;
}

/// The value, or Failed with the step of VFIO that failed.
template <class T>
T value_of(std::expected<T, blkown::dma::VfioError> result) {
  if (!result.has_value()) {
    throw Failed{text("VFIO: %s: %s", to_string(result.error().step),
                      std::strerror(result.error().error_number))};
  }
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace nvme_vfio

#endif
