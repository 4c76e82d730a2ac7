// SPDX-License-Identifier: BSL-1.0
//
// UringStore: an export of a file or a block device, through the io_uring of
// storage/uring_file.hpp, which other front ends share.

#ifndef NBD_SERVER_URING_STORE_HPP
#define NBD_SERVER_URING_STORE_HPP

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nbd/messages.hpp"
#include "request.hpp"
#include "storage/io.hpp"
#include "storage/uring_file.hpp"
#include "store.hpp"

namespace nbd_server {

/// The command's I/O.
[[nodiscard]] inline storage::Io io_of(const Command& command) noexcept {
  using storage::Operation;
  storage::Io io{.is_durable = command.has_flag(nbd::command_flag::fua),
                 .keeps_blocks = command.has_flag(nbd::command_flag::no_hole),
                 .is_fast = command.has_flag(nbd::command_flag::fast_zero),
                 .offset = command.wire.offset,
                 .length = command.wire.length,
                 .memory = command.payload.memory()};
  switch (command.wire.command) {
    case nbd::Command::write: io.operation = Operation::write; break;
    case nbd::Command::trim: io.operation = Operation::discard; break;
    case nbd::Command::write_zeroes: io.operation = Operation::write_zeroes; break;
    case nbd::Command::flush: io.operation = Operation::flush; break;
    case nbd::Command::cache: io.operation = Operation::read_ahead; break;
    default: io.operation = Operation::read; break;
  }
  return io;
}

class UringStore final : public Store {
 public:
  /// Opens the file. With `direct`, without the kernel's cache.
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<Store>, std::string> open(
      const std::string& path, bool read_only, bool direct) {
    auto file = File::open(path, read_only, direct);
    if (!file) return std::unexpected(file.error());
    return std::unique_ptr<Store>{new UringStore{std::move(*file)}};
  }

  [[nodiscard]] StoreInfo info() const override {
    const storage::FileInfo info = file_->info();
    return {.size = info.size,
            .min_block = info.min_block,
            .read_only = info.read_only,
            .is_block_device = info.is_block_device,
            .ends_writes_at_once = ends_writes_at_once_};
  }

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    auto attached = file_->attach(context.tags, context.refused, context.regions);
    if (attached) file_->warn_if_not_registered("nbd_server");
    return attached;
  }

  void start(blkown::Owned<Rq> request, std::uint32_t worker) override {
    file_->start(std::move(request), worker);
  }
  [[nodiscard]] int wake_fd(std::uint32_t worker) override { return file_->wake_fd(worker); }
  void poll(std::uint32_t worker) override { file_->poll(worker); }

  void list_extents(std::uint64_t offset, std::uint32_t length, std::size_t max,
                    std::vector<nbd::Extent>& extents) override {
    constexpr std::uint32_t hole_flags = nbd::allocation_flag::hole | nbd::allocation_flag::zero;
    const auto end = static_cast<off_t>(offset + length);
    auto at = static_cast<off_t>(offset);
    bool is_hole = false;
    while (at != end && extents.size() != max) {
      // The end of this extent. Without an answer, the rest is allocated; ENXIO: no data is behind.
      off_t next = lseek(file_->fd(), at, is_hole ? SEEK_DATA : SEEK_HOLE);
      if (next < 0) {
        is_hole = is_hole && errno == ENXIO;
        next = end;
      }
      next = std::min(next, end);
      if (next != at) {
        extents.push_back(
            {.length = static_cast<std::uint32_t>(next - at), .flags = is_hole ? hole_flags : 0});
      }
      is_hole = !is_hole;
      at = next;
    }
  }

 private:
  using File = storage::UringFile<Rq>;

  explicit UringStore(std::unique_ptr<File> file) noexcept
      : file_{std::move(file)}, ends_writes_at_once_{file_->transfer_at_once()} {}

  std::unique_ptr<File> file_;
  bool ends_writes_at_once_;
};

}  // namespace nbd_server

#endif
