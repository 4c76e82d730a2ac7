// SPDX-License-Identifier: BSL-1.0
//
// FlushSequence: the steps of one bio that make its data durable on a device with a volatile cache.
//
//   preflush   a flush request, if the bio has the flag and the disk has a write cache
//   data       the bio's own operation, split into requests
//   postflush  a flush request, if the bio is a FUA write, the disk has a write cache, and the
//              device does not support FUA, or the write is a discard
//
// Steps that do not apply are left out. A step is complete when its last request has been issued
// and all of its requests have ended. Then the next step begins. A bio ends after its last step, or
// after the first step with a failure. The state is in the bio (BioState). A FlushSequence is a
// view of that state and of the disk's configuration. Flushes of different bios are not merged.
//
// Source: the kernel's blk-flush.c, which also merges flushes.

#ifndef BLKOWN_MQ_DETAIL_FLUSH_SEQUENCE_HPP
#define BLKOWN_MQ_DETAIL_FLUSH_SEQUENCE_HPP

#include <blkown/config.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/status.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {
namespace mq::detail {

/// A view of one bio's flush sequence. Belongs to the bio's context.
class FlushSequence {
 public:
  FlushSequence(Bio& bio, const DiskConfig& config) noexcept
      : bio_{bio}, state_{BioAccess::state(bio)}, config_{config} {}

  /// Whether the bio needs no request: a flush of a disk whose acknowledged writes are durable.
  [[nodiscard]] bool is_empty() const noexcept {
    return bio_.op() == Op::flush && !config_.write_cache;
  }

  /// Enters the first step.
  void begin() noexcept { state_.step = needs_preflush() ? FlushStep::preflush : FlushStep::data; }

  [[nodiscard]] bool is_in_data() const noexcept { return state_.step == FlushStep::data; }

  /// Whether the bio needs a flush before or after its data.
  [[nodiscard]] bool has_flush_step() const noexcept {
    return needs_preflush() || needs_postflush();
  }

  /// The flags of a request of the data step. The other steps replace the flags that are cleared.
  [[nodiscard]] IoFlags data_flags() const noexcept {
    IoFlags flags = bio_.flags();
    flags.preflush = false;
    flags.fua = flags.fua && device_obeys_fua();
    return flags;
  }

  [[nodiscard]] bool is_step_complete() const noexcept {
    return state_.parts == 0 && state_.all_issued;
  }

  /// Enters the next step. Returns false if there is none: the bio ends.
  /// Precondition: is_step_complete().
  [[nodiscard]] bool advance() noexcept {
    // The first test is that of most bios.
    if ((state_.step == FlushStep::data && !needs_postflush()) ||
        state_.step == FlushStep::postflush || state_.status != Status::ok) {
      return false;
    }
    state_.step = state_.step == FlushStep::preflush ? FlushStep::data : FlushStep::postflush;
    state_.all_issued = false;
    return true;
  }

 private:
  [[nodiscard]] bool needs_preflush() const noexcept {
    return bio_.flags().preflush && config_.write_cache && bio_.op() != Op::flush;
  }
  [[nodiscard]] bool needs_postflush() const noexcept {
    return bio_.flags().fua && !device_obeys_fua() && config_.write_cache && is_write(bio_.op());
  }
  /// No device knows a discard with FUA: neither NVMe, SCSI, ATA nor virtio.
  [[nodiscard]] bool device_obeys_fua() const noexcept {
    return config_.fua && bio_.op() != Op::discard;
  }

  Bio& bio_;
  BioState& state_;
  const DiskConfig& config_;
};

}  // namespace mq::detail
}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
