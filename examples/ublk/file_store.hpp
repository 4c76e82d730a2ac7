// SPDX-License-Identifier: BSL-1.0
//
// FileStore: a file or a block device through io_uring, by storage/uring_file.hpp, with the buffers
// of the tags registered.

#ifndef UBLK_FILE_STORE_HPP
#define UBLK_FILE_STORE_HPP

#include <expected>
#include <memory>
#include <string>
#include <utility>

#include "request.hpp"
#include "storage/io.hpp"
#include "storage/uring_file.hpp"
#include "store.hpp"

namespace ublk {

class FileStore final : public Store {
 public:
  using File = storage::UringFile<Rq>;

  explicit FileStore(std::unique_ptr<File> file) noexcept : file_{std::move(file)} {}

  [[nodiscard]] File& file() const noexcept { return *file_; }

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    auto attached = file_->attach(context.tags, context.refused, context.regions);
    if (attached) file_->warn_if_not_registered("ublk_server");
    return attached;
  }
  void start(blkown::Owned<Rq> request, blkown::QueueIndex queue) override {
    file_->start(std::move(request), queue.value);
  }
  /// The kernel has the memory until the step's own completion. Nobody can end the I/O earlier: the
  /// mapping pins the request.
  void expire(const blkown::ARef<Rq>& pin, const blkown::Cookie& cookie) override {
    static_cast<void>(pin);
    file_->cancel(cookie, cookie.queue.value);
  }
  [[nodiscard]] int wake_fd(blkown::QueueIndex queue) override {
    return file_->wake_fd(queue.value);
  }
  void poll(blkown::QueueIndex queue) override { file_->poll(queue.value); }
  void detach() override { file_->detach(); }

 private:
  std::unique_ptr<File> file_;
};

}  // namespace ublk

#endif
