// SPDX-License-Identifier: BSL-1.0
//
// Side: the source or the destination of nbd_copy: a file, or a disk on an NBD server.

#ifndef EXAMPLES_NBD_COPY_SIDE_HPP
#define EXAMPLES_NBD_COPY_SIDE_HPP

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <blkown/error_code.hpp>
#include <blkown/mq/coroutine.hpp>
#include <blkown/mq/sync.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "../nbd_client/disk.hpp"
#include "../nbd_client/open.hpp"
#include "../nbd_client/poll_loop.hpp"

namespace nbd_copy {

namespace mq = blkown::mq;
using blkown::Status;
using nbd_client::NbdDisk;

/// The problem, for a message, or none.
using Problem = std::optional<std::string>;

/// A file or a disk. A disk is closed by close().
class Side {
 public:
  explicit Side(std::string name) : name_{std::move(name)} {}
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  ~Side() {
    if (fd_ >= 0) ::close(fd_);
  }

  [[nodiscard]] bool is_file() const noexcept { return fd_ >= 0; }
  [[nodiscard]] bool has_disk() const noexcept { return disk_ != nullptr; }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Precondition: the side is a disk that was made.
  [[nodiscard]] mq::AsyncDisk<NbdDisk> disk() const { return mq::AsyncDisk{*disk_}; }
  [[nodiscard]] const NbdDisk& driver() const { return *driver_; }
  /// Whether a range can be made zero without its bytes being sent.
  [[nodiscard]] bool can_zero() const {
    return is_file() ? is_new_file_ : disk_->config().limits.max_write_zeroes_sectors != 0;
  }

  // --- before the copy ---------------------------------------------------------------------------

  /// Opens the file, or connects to the server.
  Problem open(bool is_destination, std::uint32_t timeout_ms) {
    if (!nbd_client::is_uri(name_)) return open_file(is_destination);
    auto opened = nbd_client::open_export(name_, timeout_ms);
    if (!opened) return opened.error();
    opened_ = *std::move(opened);
    size_bytes_ = opened_->info.size_bytes;
    if (is_destination && opened_->info.has(nbd::transmission_flag::read_only)) {
      return "the export is read-only";
    }
    return std::nullopt;
  }
  /// The connections that the server allows.
  [[nodiscard]] std::uint32_t max_connections(std::uint32_t wanted) const {
    const bool has_one = opened_ && !opened_->info.has(nbd::transmission_flag::can_multi_conn);
    return has_one ? 1 : wanted;
  }
  /// Empties a destination file, and makes it as long as the source.
  Problem fit_to(const Side& source) {
    if (is_file() && source.is_file() && identity_ == source.identity_) {
      return "the same file as the source";
    }
    const std::uint64_t bytes = source.size_bytes();
    if (opened_ &&
        bytes % std::max<std::uint64_t>(opened_->info.min_bytes, blkown::mq::sector_bytes) != 0) {
      return "its blocks do not divide the source's size";
    }
    if (!is_new_file_) {
      return bytes > size_bytes_ ? Problem{"smaller than the source"} : std::nullopt;
    }
    if (::ftruncate(fd_, 0) != 0 || ::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) {
      return std::strerror(errno);
    }
    size_bytes_ = bytes;
    return std::nullopt;
  }
  /// Makes the disk of the export. The loop has a context for each connection.
  Problem make_disk(nbd_client::PollLoop& loop, nbd_client::DriverConfig config) {
    if (!opened_) return std::nullopt;
    config.connections = loop.context_count();
    driver_.emplace(*opened_->dialer, opened_->name, opened_->info, config);
    auto made = mq::Disk<NbdDisk>::create(driver_->disk_config(), *driver_, loop);
    if (!made) return std::string{made.error().field} + ": " + to_string(made.error().reason);
    disk_ = *std::move(made);
    driver_->start(loop, std::move(opened_->socket));
    if (size_bytes_ % disk_->config().logical_block_bytes != 0) {
      return "its size is not a multiple of its block";
    }
    return std::nullopt;
  }

  /// The length of I/O that the server prefers: chunks are multiples of it. 1 of a file.
  [[nodiscard]] std::size_t preferred_bytes() const noexcept {
    return disk_ == nullptr ? 1 : disk_->config().io_min_bytes;
  }

  // --- the copy ----------------------------------------------------------------------------------

  [[nodiscard]] Status read_file(std::uint64_t offset, std::span<std::byte> memory) const {
    return transfer(offset, memory, [this](std::span<std::byte> rest, off_t at) {
      return ::pread(fd_, rest.data(), rest.size(), at);
    });
  }
  [[nodiscard]] Status write_file(std::uint64_t offset, std::span<std::byte> memory) const {
    return transfer(offset, memory, [this](std::span<std::byte> rest, off_t at) {
      return ::pwrite(fd_, rest.data(), rest.size(), at);
    });
  }

  // --- after the copy ----------------------------------------------------------------------------

  /// Makes what was written durable.
  [[nodiscard]] Status flush(nbd_client::PollLoop& loop) const {
    if (disk_ != nullptr) return mq::flush(loop, *disk_);
    return ::fsync(fd_) == 0 ? Status::ok : blkown::status_of_errno(errno);
  }
  /// Removes the disk, and closes its connections.
  [[nodiscard]] Status close(nbd_client::PollLoop& loop) {
    if (disk_ == nullptr) return Status::ok;
    const Status status = mq::remove(loop, *disk_);
    driver_->stop(loop);
    counters_ = disk_->counters();
    disk_.reset();
    return status;
  }
  /// Of the disk that was closed.
  [[nodiscard]] const mq::Counters& counters() const noexcept { return counters_; }

 private:
  Problem open_file(bool is_destination) {
    const int flags = is_destination ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC;
    fd_ = ::open(name_.c_str(), flags, 0666);
    if (fd_ < 0) return std::strerror(errno);
    struct stat info{};
    if (::fstat(fd_, &info) != 0) return std::strerror(errno);
    const bool is_regular = S_ISREG(info.st_mode);
    if (!is_regular && !S_ISBLK(info.st_mode)) return "neither a file nor a block device";
    identity_ = {info.st_dev, info.st_ino};
    if (is_destination && is_regular) {
      is_new_file_ = true;
      return std::nullopt;
    }
    const off_t end = ::lseek(fd_, 0, SEEK_END);
    if (end < 0) return std::strerror(errno);
    size_bytes_ = static_cast<std::uint64_t>(end);
    return std::nullopt;
  }

  template <class Call>
  [[nodiscard]] static Status transfer(std::uint64_t offset, std::span<std::byte> memory,
                                       Call call) {
    while (!memory.empty()) {
      const ssize_t count = call(memory, static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return blkown::status_of_errno(errno);
      if (count == 0) return Status::io_error;  // the file has become shorter
      memory = memory.subspan(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
    return Status::ok;
  }

  std::string name_;
  int fd_ = -1;
  std::pair<dev_t, ino_t> identity_{};
  bool is_new_file_ = false;  // a destination, which the copy empties first
  std::uint64_t size_bytes_ = 0;
  std::optional<nbd_client::OpenedExport> opened_;
  std::optional<NbdDisk> driver_;
  std::unique_ptr<mq::Disk<NbdDisk>> disk_;
  mq::Counters counters_;
};

}  // namespace nbd_copy

#endif
