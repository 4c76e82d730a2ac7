// SPDX-License-Identifier: BSL-1.0
//
// The driver keeps the commands that are not completed when their disk is removed, by namespace and
// tag. The block layer ends their requests, and the disk that is made again on the namespace gets
// the commands.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_COMMAND_KEPT_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_COMMAND_KEPT_HPP

#include <compare>
#include <cstdint>
#include <expected>
#include <map>
#include <utility>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class CommandKept : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  void exit_hctx(Hw& hw, NamespaceInfo& info) override {
    for (const auto& [key, entry] : open_) {
      if (key.nsid == info.nsid && key.queue == hw.index().value) kept_[key] = entry;
    }
    VariantDriver::exit_hctx(hw, info);
  }
  void complete(Hw& hw, Claim<Rq> claim) override {
    open_.erase(key_of(hw, hw.disk().queue_data(), claim));
    VariantDriver::complete(hw, std::move(claim));
  }

 protected:
  [[nodiscard]] std::expected<SubmissionEntry, Status> command(Hw& hw, const NamespaceInfo& info,
                                                               const Claim<Rq>& claim) override {
    auto entry = VariantDriver::command(hw, info, claim);
    if (!entry.has_value()) return entry;
    const nvme::IoOpcode opcode = entry->io_opcode();
    if (opcode != nvme::IoOpcode::read && opcode != nvme::IoOpcode::write) return entry;
    const Key key = key_of(hw, info, claim);
    const auto kept = kept_.find(key);
    if (kept != kept_.end() && kept->second.opcode == entry->opcode &&
        kept->second.block_count() == entry->block_count()) {
      entry->cdw10 = kept->second.cdw10;
      entry->cdw11 = kept->second.cdw11;
      kept_.erase(kept);
    }
    open_[key] = *entry;
    return entry;
  }

 private:
  struct Key {
    std::uint32_t nsid = 0;
    std::uint32_t queue = 0;
    std::uint32_t tag = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };

  [[nodiscard]] static Key key_of(Hw& hw, const NamespaceInfo& info, const Claim<Rq>& claim) {
    return {info.nsid, hw.index().value, claim.tag().value};
  }

  std::map<Key, SubmissionEntry> open_;
  std::map<Key, SubmissionEntry> kept_;
};

}  // namespace broken_mq

#endif
