// SPDX-License-Identifier: BSL-1.0
//
// Controller: the bring-up of an NVMe controller with one I/O queue pair.
//
//   1. Disable it. Give it the rings of the admin queue. Enable it, and wait until it is ready.
//   2. Identify namespace 1.
//   3. Create the I/O completion queue, with interrupts on vector 0, and its submission queue.
//
// The admin queue has a TagSet of its own, with one tag, and is polled before interrupts are
// enabled.
//
// Source: NVMe Base 1.4, section 7.6.1.

#ifndef EXAMPLES_KERNEL_CONTROLLER_HPP
#define EXAMPLES_KERNEL_CONTROLLER_HPP

#include <blkown/blkown.hpp>
#include <blkown/nvme/nvme.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "../nvme/queue_pair.hpp"
#include "console.hpp"
#include "registers.hpp"

namespace kernel {

namespace nvme = blkown::nvme;

/// A namespace, as far as this kernel uses it.
struct Namespace {
  std::uint32_t id = 1;
  std::uint32_t block_bytes = 0;
  std::uint64_t blocks = 0;
};

class Controller {
 public:
  using QueuePair = nvme_driver::QueuePair<Registers>;
  static constexpr std::uint32_t io_entries = 32;

  /// Brings the controller up.
  /// Precondition: interrupts are disabled.
  explicit Controller(std::uint64_t bar)
      : registers_{bar},
        admin_{registers_, pair_config(0, admin_entries, admin_rings_)},
        io_{registers_, pair_config(1, io_entries, io_rings_)} {
    enable(false);
    registers_.write32(nvme::reg::aqa, nvme::Aqa::of(admin_entries, admin_entries).value);
    registers_.write64(nvme::reg::asq, address_of(admin_rings_.submissions));
    registers_.write64(nvme::reg::acq, address_of(admin_rings_.completions));
    enable(true);
    identify();
    execute(nvme::SubmissionEntry::create_io_cq({.queue = 1,
                                                 .entries = io_entries,
                                                 .iova = address_of(io_rings_.completions),
                                                 .vector = 0,
                                                 .interrupts_enabled = true}));
    execute(nvme::SubmissionEntry::create_io_sq({.queue = 1,
                                                 .entries = io_entries,
                                                 .iova = address_of(io_rings_.submissions),
                                                 .completion_queue = 1}));
  }

  [[nodiscard]] QueuePair& io() { return io_; }
  [[nodiscard]] const Namespace& disk() const { return disk_; }

  /// Stops the controller. It touches no memory afterwards.
  void stop() { enable(false); }

 private:
  static constexpr std::uint32_t admin_entries = 4;

  /// The memory of a queue pair, a page each.
  struct Rings {
    alignas(4096) std::byte submissions[4096];
    alignas(4096) std::byte completions[4096];
  };

  /// The device's address of memory: that of the identity map.
  [[nodiscard]] static std::uint64_t address_of(const std::byte* memory) {
    return reinterpret_cast<std::uintptr_t>(memory);
  }

  [[nodiscard]] nvme_driver::QueuePairConfig pair_config(std::uint16_t id, std::uint32_t entries,
                                                         Rings& rings) const {
    const unsigned stride = nvme::Cap{registers_.read64(nvme::reg::cap)}.doorbell_stride_exponent();
    return {.id = id,
            .submission_entries = entries,
            .completion_entries = entries,
            .submissions = {rings.submissions, address_of(rings.submissions)},
            .completions = {rings.completions, address_of(rings.completions)},
            .submission_doorbell = nvme::doorbell_offset(id, false, stride),
            .completion_doorbell = nvme::doorbell_offset(id, true, stride)};
  }

  /// Sets CC.EN, and waits until CSTS.RDY has followed.
  void enable(bool is_on) {
    nvme::Cc cc;
    cc.set_enabled(is_on);
    cc.set_page_bytes(4096);
    cc.set_submission_entry_exponent(6);
    cc.set_completion_entry_exponent(4);
    registers_.write32(nvme::reg::cc, cc.value);
    for (unsigned reads = 0; reads != 10'000'000; ++reads) {
      const nvme::Csts status{registers_.read32(nvme::reg::csts)};
      if (status.is_fatal()) fail("the controller has a fatal error");
      if (status.is_ready() == is_on) return;
    }
    fail("the controller does not become ", is_on ? "ready" : "disabled");
  }

  /// Executes an admin command.
  void execute(const nvme::SubmissionEntry& command) {
    using Rq = blkown::Request<bool>;  // whether the command has ended
    using Tags = blkown::TagSet<Rq>;
    constexpr blkown::TagSetConfig config{.depth = 1, .layout = blkown::CookieLayout::nvme()};
    constexpr blkown::QueueIndex queue{0};
    alignas(Tags::storage_alignment_bytes()) std::byte storage[Tags::storage_bytes(config)];
    auto tags = Tags::create_in(storage, config, blkown::EndSink<Rq>::freeing());
    if (!tags.has_value()) fail("no TagSet: ", to_string(tags.error().reason));

    auto owned = (*tags->allocate_tag(queue, blkown::Tag{0})).start();
    if (!admin_.publish(std::move(owned), command).has_value()) fail("the admin ring is full");
    admin_.ring_doorbell();
    bool is_done = false;
    while (!is_done) {
      admin_.poll([&](const nvme::CompletionEntry& entry) {
        auto claim = tags->claim(queue, entry.command_id);
        if (!claim.has_value()) fail("admin: ", to_string(claim.error().reason));
        if (!entry.status().is_success()) fail("admin: ", to_string(entry.status().code()));
        std::move(*claim).end_ok();
        is_done = true;
      });
    }
  }

  void identify() {
    alignas(4096) static constinit std::byte page[4096]{};
    auto command = nvme::SubmissionEntry::identify(nvme::Cns::identify_namespace, disk_.id);
    command.prp1 = address_of(page);
    execute(command);
    nvme::IdentifyNamespace identity;
    std::memcpy(&identity, page, sizeof identity);
    disk_.blocks = identity.size_blocks;
    disk_.block_bytes = static_cast<std::uint32_t>(identity.format().block_bytes());
    // The workload's shortest I/O is 512 bytes. Of a larger block that would be no block at all,
    // and a count of 0 is 65536 on the wire.
    if (disk_.block_bytes != 512) fail("a block has ", disk_.block_bytes, " bytes, not 512");
  }

  static inline constinit Rings admin_rings_{};
  static inline constinit Rings io_rings_{};
  Registers registers_;
  QueuePair admin_;
  QueuePair io_;
  Namespace disk_;
};

}  // namespace kernel

#endif
