// SPDX-License-Identifier: BSL-1.0
//
// KernelQueue: the kernel's side of a queue, as Queue sees it. RingQueue is the real one. The tests
// have one that sends what no kernel should.

#ifndef UBLK_KERNEL_QUEUE_HPP
#define UBLK_KERNEL_QUEUE_HPP

#include <linux/ublk_cmd.h>

#include <blkown/tag.hpp>
#include <cstddef>
#include <cstdint>

namespace ublk {

class KernelQueue {
 public:
  KernelQueue() = default;
  KernelQueue(const KernelQueue&) = delete;
  KernelQueue& operator=(const KernelQueue&) = delete;
  virtual ~KernelQueue() = default;

  /// A copy of the tag's descriptor. The kernel writes it before the tag's command completes.
  /// Precondition: the tag is less than the queue's depth.
  [[nodiscard]] virtual ublksrv_io_desc descriptor(blkown::Tag tag) const = 0;
  /// FETCH_REQ: the tag may be used from now on, with this buffer.
  virtual void fetch(blkown::Tag tag, std::byte* buffer) = 0;
  /// COMMIT_AND_FETCH_REQ: the tag's I/O has ended with this many bytes, or a negative errno value,
  /// and the tag may be used again.
  virtual void commit(blkown::Tag tag, std::int32_t result, std::byte* buffer) = 0;
};

}  // namespace ublk

#endif
