// SPDX-License-Identifier: BSL-1.0
//
// NullExport: a null block disk with its threads and its control socket, for MqStore.

#ifndef NBD_SERVER_NULL_EXPORT_HPP
#define NBD_SERVER_NULL_EXPORT_HPP

#include <blkown/mq/mq.hpp>
#include <blkown/mq/thread_runtime.hpp>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "mq_store.hpp"
#include "null_block/control.hpp"
#include "null_block/control_socket.hpp"
#include "null_block/null_block.hpp"
#include "null_block/shared_tags.hpp"

namespace nbd_server {

class NullExport {
 public:
  using Runtime = blkown::mq::ThreadRuntime;
  using Store = MqStore<null_block::Driver, Runtime>;

  /// Makes a disk of KEY=VALUE,... with this number of contexts, each with a thread, and a socket
  /// for its commands if `control` is not empty. With shared_tags=1 it draws from `tags`.
  /// Precondition: `tags` outlives the export.
  /// Errors: the parameter that is wrong, or the reason why there is no socket.
  [[nodiscard]] static std::expected<std::unique_ptr<NullExport>, std::string> create(
      std::string_view text, std::uint32_t contexts, const std::string& control,
      null_block::SharedTags& tags) {
    const auto config = null_block::parse_config(text);
    if (!config) return std::unexpected(config.error().text);
    if (config->zoned != 0) return std::unexpected(std::string{"zoned=1: NBD has no zones"});
    const auto pool = tags.pool_for(*config);
    if (!pool) return std::unexpected(pool.error().text);
    std::unique_ptr<NullExport> made{new NullExport{contexts}};
    auto disk = null_block::NullDisk<Runtime>::create(*config, made->runtime_, *pool);
    if (!disk) return std::unexpected(disk.error().text);
    made->disk_ = *std::move(disk);
    if (control.empty()) return made;
    auto socket = null_block::ControlSocket::listen_at(
        control, [&its = *made->disk_](std::string_view line) { return answer_to(its, line); });
    if (!socket) return std::unexpected(socket.error());
    made->control_ = *std::move(socket);
    return made;
  }
  NullExport(const NullExport&) = delete;
  NullExport& operator=(const NullExport&) = delete;

  [[nodiscard]] std::unique_ptr<Store> make_store() {
    return std::make_unique<Store>(disk_->disk(), runtime_);
  }

 private:
  explicit NullExport(std::uint32_t contexts) : runtime_{contexts} {}

  Runtime runtime_;
  std::unique_ptr<null_block::NullDisk<Runtime>> disk_;
  std::unique_ptr<null_block::ControlSocket> control_;  // goes before the disk
};

}  // namespace nbd_server

#endif
