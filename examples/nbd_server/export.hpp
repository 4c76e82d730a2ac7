// SPDX-License-Identifier: BSL-1.0
//
// Export: a store under a name, and which commands its clients may send.

#ifndef NBD_SERVER_EXPORT_HPP
#define NBD_SERVER_EXPORT_HPP

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "nbd/messages.hpp"
#include "request.hpp"
#include "store.hpp"

namespace nbd_server {

/// What a client has negotiated.
struct Session {
  const Export* target = nullptr;
  bool structured = false;  ///< Replies are chunks.
  bool allocation = false;  ///< The context base:allocation was selected.
};
/// The id of the context base:allocation in replies.
inline constexpr std::uint32_t allocation_context_id = 1;

class Export {
 public:
  Export(std::string name, std::string description, std::unique_ptr<Store> store, bool read_only)
      : name_{std::move(name)},
        description_{std::move(description)},
        store_{std::move(store)},
        info_{store_->info()} {
    info_.read_only = info_.read_only || read_only;
  }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& description() const noexcept { return description_; }
  [[nodiscard]] Store& store() const noexcept { return *store_; }
  [[nodiscard]] const StoreInfo& info() const noexcept { return info_; }

  /// The flags that the client gets.
  /// Source: "Transmission flags".
  [[nodiscard]] std::uint16_t flags(bool structured) const noexcept {
    using namespace nbd::transmission_flag;
    // A store's flush covers all that has ended, whatever the connection.
    std::uint16_t flags = has_flags | send_flush | send_fua | send_cache | can_multi_conn;
    if (info_.read_only) {
      flags |= read_only;
    } else {
      flags |= send_trim;
      if (info_.can_zero) flags |= send_write_zeroes | send_fast_zero;
    }
    if (info_.rotational) flags |= rotational;
    if (structured) flags |= send_df;
    return flags;
  }

 private:
  std::string name_;
  std::string description_;
  std::unique_ptr<Store> store_;
  StoreInfo info_;
};

/// The exports of a server. The first is also the default one, whose name is empty.
using Exports = std::vector<Export>;

/// The export of this name, or null.
[[nodiscard]] inline const Export* find_export(const Exports& exports, std::string_view name) {
  for (const Export& candidate : exports) {
    if (candidate.name() == name) return &candidate;
  }
  return name.empty() && !exports.empty() ? &exports.front() : nullptr;
}

/// Whether the command writes.
[[nodiscard]] constexpr bool is_write(nbd::Command command) noexcept {
  return command == nbd::Command::write || command == nbd::Command::trim ||
         command == nbd::Command::write_zeroes;
}

namespace detail {

/// The flags that a command may have.
/// Source: "Command flags".
[[nodiscard]] constexpr std::uint16_t flags_of(nbd::Command command, bool structured) noexcept {
  using namespace nbd::command_flag;
  switch (command) {
    case nbd::Command::read: return structured ? fua | df : fua;
    case nbd::Command::write_zeroes: return fua | no_hole | fast_zero;
    case nbd::Command::block_status: return fua | req_one;
    default: return fua;
  }
}

[[nodiscard]] constexpr bool is_known(nbd::Command command) noexcept {
  return static_cast<std::uint16_t>(command) <=
         static_cast<std::uint16_t>(nbd::Command::block_status);
}

}  // namespace detail

/// Why the command is refused, if it is.
/// Source: "Request types", "Error values".
[[nodiscard]] inline Refusal check_request(const nbd::Request& request, const Session& session,
                                           std::uint32_t max_payload_bytes) {
  using enum nbd::Error;
  const StoreInfo& info = session.target->info();
  const nbd::Command command = request.command;
  if (!detail::is_known(command)) return {einval, "this server does not know the command"};
  if ((request.flags & ~detail::flags_of(command, session.structured)) != 0) {
    return {einval, "the command cannot have this flag"};
  }
  if (command == nbd::Command::flush) {
    if (request.offset == 0 && request.length == 0) return {};
    return {einval, "a flush has no range"};
  }
  if (info.read_only && is_write(command)) return {eperm, "the export is read-only"};
  if (command == nbd::Command::write_zeroes && !info.can_zero) {
    return {einval, "the export cannot write zeroes"};
  }
  if (request.length == 0) return {einval, "the range is empty"};
  if (request.offset > info.size || request.length > info.size - request.offset) {
    const bool fills = command == nbd::Command::write || command == nbd::Command::write_zeroes;
    return {fills ? enospc : einval, "the range ends behind the end of the export"};
  }
  if (request.offset % info.min_block != 0 || request.length % info.min_block != 0) {
    return {einval, "the range is not of whole blocks: see the minimum block size"};
  }
  const bool has_payload = command == nbd::Command::read || command == nbd::Command::write;
  if (has_payload && request.length > max_payload_bytes) {
    return {eoverflow, "the range is longer than the maximum block size"};
  }
  if (command == nbd::Command::block_status && !session.allocation) {
    return {einval, "no metadata context was selected"};
  }
  return {};
}

}  // namespace nbd_server

#endif
