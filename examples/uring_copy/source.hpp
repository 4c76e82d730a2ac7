// SPDX-License-Identifier: BSL-1.0
//
// Source: the file to copy. File: the owner of a file descriptor.

#ifndef URING_COPY_SOURCE_HPP
#define URING_COPY_SOURCE_HPP

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <utility>

#include "problem.hpp"

namespace uring_copy {

/// Owns a file descriptor.
class File {
 public:
  explicit File(int fd) noexcept : fd_{fd} {}
  File(File&& other) noexcept : fd_{std::exchange(other.fd_, -1)} {}
  File& operator=(File&&) = delete;
  ~File() {
    if (fd_ >= 0) close(fd_);
  }

  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// Closes the file. Returns 0, or the errno value of a late write error.
  [[nodiscard]] int close_now() noexcept { return close(std::exchange(fd_, -1)) == 0 ? 0 : errno; }

 private:
  int fd_;
};

/// The file to copy: a regular file or a block device, so that the size is known.
class Source {
 public:
  [[nodiscard]] static std::expected<Source, Problem> open(const std::string& path) {
    // Without O_NONBLOCK, open() of a named pipe would wait for a writer. The flag is cleared
    // below, because with it io_uring fails reads that would have to wait.
    File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)};
    if (file.fd() < 0) return std::unexpected(system_problem(path, "cannot open it", errno));
    Source source{std::move(file), path};
    if (fstat(source.fd(), &source.status_) != 0 ||
        fcntl(source.fd(), F_SETFL, fcntl(source.fd(), F_GETFL) & ~O_NONBLOCK) != 0) {
      return std::unexpected(system_problem(path, "cannot examine it", errno));
    }
    if (S_ISDIR(source.status_.st_mode)) {
      return std::unexpected(system_problem(path, "cannot copy it", EISDIR));
    }
    if (!S_ISREG(source.status_.st_mode) && !S_ISBLK(source.status_.st_mode)) {
      return std::unexpected(Problem{path + ": neither a regular file nor a block device, so its"
                                            " size is not known; write it to a file first"});
    }
    // stat() does not know the size of a block device.
    const off_t size =
        S_ISBLK(source.status_.st_mode) ? lseek(source.fd(), 0, SEEK_END) : source.status_.st_size;
    if (size < 0) return std::unexpected(system_problem(path, "cannot find its size", errno));
    source.size_bytes_ = static_cast<std::uint64_t>(size);
    return source;
  }

  [[nodiscard]] int fd() const noexcept { return file_.fd(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const struct stat& status() const noexcept { return status_; }
  /// The size at the open, which is copied.
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

  /// Checks that the source has not grown. A copy of a growing file matches neither its old nor its
  /// new state.
  [[nodiscard]] std::expected<void, Problem> check_not_grown() const {
    // Checked by a read, because files of /proc have more bytes than stat() reports.
    char byte = 0;
    ssize_t got = 0;
    do {
      got = pread(fd(), &byte, 1, static_cast<off_t>(size_bytes_));
    } while (got < 0 && errno == EINTR);
    if (got < 0) return std::unexpected(system_problem(path_, "read behind its end", errno));
    if (got == 0) return {};
    return std::unexpected(Problem{path_ + ": has more than the " + std::to_string(size_bytes_) +
                                   " bytes it had when the copy began; stop what lengthens it and"
                                   " copy again"});
  }

 private:
  Source(File file, std::string path) : file_{std::move(file)}, path_{std::move(path)} {}

  File file_;
  std::string path_;
  struct stat status_{};
  std::uint64_t size_bytes_ = 0;
};

}  // namespace uring_copy

#endif
