// SPDX-License-Identifier: BSL-1.0
//
// Control: the control commands of the driver. Each waits for its result.

#ifndef UBLK_CONTROL_HPP
#define UBLK_CONTROL_HPP

#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <memory>
#include <string>

#include "passthrough_ring.hpp"
#include "protocol.hpp"
#include "storage/descriptor.hpp"

namespace ublk {

/// Synchronization: one thread.
class Control {
 public:
  /// Errors: the reason in words.
  [[nodiscard]] static std::expected<std::unique_ptr<Control>, std::string> open() {
    std::unique_ptr<Control> control{new Control};
    control->fd_ = storage::Descriptor{::open(control_path, O_RDWR | O_CLOEXEC)};
    if (control->fd_.get() < 0) {
      const int error = errno;
      const char* hint = "";
      if (error == ENOENT) hint = "; load the module ublk_drv of Linux 6.4 or newer";
      if (error == EACCES || error == EPERM) hint = "; run this program as root";
      return std::unexpected(std::string{control_path} + ": " + std::strerror(error) + hint);
    }
    if (const int error = control->ring_.open(4); error != 0) {
      return std::unexpected(std::string{"io_uring is not available: "} + std::strerror(error));
    }
    return control;
  }

  /// Makes a device. Sets the id and the flags in `info` to those that the kernel has chosen.
  /// Errors: for all functions, an errno value; 0 on success.
  [[nodiscard]] int add(ublksrv_ctrl_dev_info& info) {
    return run(Opcode::add, {.id = info.dev_id, .buffer = &info, .bytes = sizeof(info)});
  }
  /// `params` is a ublk_params, or one of a newer kernel.
  template <class Params>
  [[nodiscard]] int set_params(std::uint32_t id, Params& params) {
    return run(Opcode::set_params, {.id = id, .buffer = &params, .bytes = sizeof(params)});
  }
  [[nodiscard]] int get_info(std::uint32_t id, ublksrv_ctrl_dev_info& info) {
    return run(Opcode::get_info, {.id = id, .buffer = &info, .bytes = sizeof(info)});
  }
  [[nodiscard]] int get_params(std::uint32_t id, ublk_params& params) {
    params.len = sizeof(params);
    return run(Opcode::get_params, {.id = id, .buffer = &params, .bytes = sizeof(params)});
  }
  /// Makes the block device appear. Waits until all tags are fetched.
  [[nodiscard]] int start(std::uint32_t id, int pid) {
    return run(Opcode::start, {.id = id, .data = static_cast<std::uint64_t>(pid)});
  }
  /// Makes the block device disappear. Waits until the server has ended what is in flight.
  [[nodiscard]] int stop(std::uint32_t id) { return run(Opcode::stop, {.id = id}); }
  /// Removes the device. Waits until the server has closed the character device.
  [[nodiscard]] int remove(std::uint32_t id) { return run(Opcode::remove, {.id = id}); }
  /// EBUSY while the last server is not gone yet.
  [[nodiscard]] int start_recovery(std::uint32_t id) {
    return run(Opcode::start_recovery, {.id = id});
  }
  /// As start. What was in flight is issued again.
  [[nodiscard]] int end_recovery(std::uint32_t id, int pid) {
    return run(Opcode::end_recovery, {.id = id, .data = static_cast<std::uint64_t>(pid)});
  }

 private:
  struct Arguments {
    std::uint32_t id = 0;
    void* buffer = nullptr;
    std::size_t bytes = 0;
    std::uint64_t data = 0;
  };

  Control() = default;

  [[nodiscard]] int run(Opcode opcode, const Arguments& arguments) {
    ublksrv_ctrl_cmd command{};
    command.dev_id = arguments.id;
    command.queue_id = UINT16_MAX;  // of no queue
    command.len = static_cast<std::uint16_t>(arguments.bytes);
    command.addr = reinterpret_cast<std::uintptr_t>(arguments.buffer);
    command.data[0] = arguments.data;
    if (!ring_.add(fd_.get(), opcode, command, 0)) return EBUSY;
    return -ring_.wait().result;
  }

  storage::Descriptor fd_;
  PassthroughRing ring_;
};

/// Removes a device that was stopped, if it is still there. With a stop from outside, two processes
/// remove the device, and the id may be another disk's before the second one comes: a device that
/// has a server, or is to be recovered, is left alone. A window is left: a device that another
/// program adds with this id and has not started yet looks like the stopped one, and so does any
/// that is added after the answer of GET_DEV_INFO.
/// Errors: an errno value; 0 if the device is removed, or was.
template <class AnyControl>
[[nodiscard]] int remove_stopped(AnyControl& control, std::uint32_t id, int own_pid) {
  ublksrv_ctrl_dev_info info{};
  int error = control.get_info(id, info);
  // The kernel leaves the process's own id in a device that it could not start.
  const bool has_server = info.ublksrv_pid > 0 && info.ublksrv_pid != own_pid;
  const bool is_stopped = info.state == UBLK_S_DEV_DEAD && !has_server;
  if (error == 0 && is_stopped) error = control.remove(id);
  return error == ENODEV ? 0 : error;
}

}  // namespace ublk

#endif
