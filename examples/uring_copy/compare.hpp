// SPDX-License-Identifier: BSL-1.0
//
// --check: reads both files piece by piece, with plain reads instead of the copy's device, and
// compares every byte.

#ifndef URING_COPY_COMPARE_HPP
#define URING_COPY_COMPARE_HPP

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "problem.hpp"
#include "source.hpp"

namespace uring_copy {

namespace detail {

/// Reads until the buffer is full or the file ends. Returns the bytes read, or an errno value.
[[nodiscard]] inline std::expected<std::size_t, int> read_fully(int fd, std::span<std::byte> buffer,
                                                                std::uint64_t offset_bytes) {
  std::size_t filled = 0;
  while (filled != buffer.size()) {
    const ssize_t got = pread(fd, buffer.data() + filled, buffer.size() - filled,
                              static_cast<off_t>(offset_bytes + filled));
    if (got == 0) break;
    if (got < 0 && errno != EINTR) return std::unexpected(errno);
    if (got > 0) filled += static_cast<std::size_t>(got);
  }
  return filled;
}

}  // namespace detail

/// Compares the source's first size_bytes bytes with the whole file `copy_path`, which messages
/// call `copy_name`. Calls `keep_going` after each piece with the bytes compared so far; false
/// interrupts the comparison.
[[nodiscard]] inline std::expected<void, Problem> compare(
    const std::string& source_path, const std::string& copy_path, const std::string& copy_name,
    std::uint64_t size_bytes, const std::function<bool(std::uint64_t)>& keep_going) {
  const File source{open(source_path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (source.fd() < 0) return std::unexpected(system_problem(source_path, "--check", errno));
  const File copy{open(copy_path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (copy.fd() < 0) return std::unexpected(system_problem(copy_name, "--check", errno));
  // Drops the cached pages, where the file system allows it, so that the medium is read.
  for (const int fd : {source.fd(), copy.fd()}) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

  constexpr std::size_t piece_bytes = 1024 * 1024;
  std::vector<std::byte> expected(piece_bytes);
  std::vector<std::byte> found(piece_bytes);
  std::uint64_t offset_bytes = 0;
  while (true) {
    const std::size_t wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(piece_bytes, size_bytes - offset_bytes));
    const auto expected_bytes =
        detail::read_fully(source.fd(), std::span{expected}.first(wanted), offset_bytes);
    if (!expected_bytes) {
      return std::unexpected(system_problem(source_path, "--check", expected_bytes.error()));
    }
    // Reads a whole piece of the copy, so that bytes beyond the expected end are a difference.
    const auto found_bytes = detail::read_fully(copy.fd(), found, offset_bytes);
    if (!found_bytes) {
      return std::unexpected(system_problem(copy_name, "--check", found_bytes.error()));
    }
    const std::span<const std::byte> there{expected.data(), *expected_bytes};
    const std::span<const std::byte> here{found.data(), *found_bytes};
    const bool equal = there.size() == wanted && here.size() == wanted &&
                       (wanted == 0 || std::memcmp(there.data(), here.data(), wanted) == 0);
    if (!equal) {
      const auto same_bytes = std::ranges::mismatch(there, here).in1 - there.begin();
      return std::unexpected(
          Problem{copy_name + ": --check: differs from " + source_path + " first at byte " +
                  std::to_string(offset_bytes + static_cast<std::uint64_t>(same_bytes)) +
                  "; copy again while nothing writes to either"});
    }
    offset_bytes += wanted;
    if (wanted != piece_bytes) return {};
    if (!keep_going(offset_bytes)) return std::unexpected(interrupted(copy_name));
  }
}

}  // namespace uring_copy

#endif
