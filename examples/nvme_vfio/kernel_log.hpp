// SPDX-License-Identifier: BSL-1.0
//
// KernelLog: the DMA faults that the IOMMU's driver writes to the kernel's log.
//
// A completion that says "success" does not show that a device reached memory: QEMU's controller
// reports success for data that the IOMMU kept from it. The log and the memory show it.

#ifndef EXAMPLES_NVME_VFIO_KERNEL_LOG_HPP
#define EXAMPLES_NVME_VFIO_KERNEL_LOG_HPP

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "failure.hpp"

namespace nvme_vfio {

/// Reads /dev/kmsg from the moment at which it was opened.
class KernelLog {
 public:
  KernelLog()
      : file_{must(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), "open /dev/kmsg")} {
    must(lseek(file_, 0, SEEK_END), "lseek /dev/kmsg");
  }
  KernelLog(const KernelLog&) = delete;
  KernelLog& operator=(const KernelLog&) = delete;
  ~KernelLog() { close(file_); }

  /// The pages of all DMA faults that were logged since the last call. The kernel limits the rate
  /// of its messages and leaves out repeats, so the number of messages means nothing.
  [[nodiscard]] std::set<std::uint64_t> take_faults() {
    static constexpr std::string_view mark = "fault addr 0x";
    std::set<std::uint64_t> pages;
    char record[2048];
    ssize_t length;
    // Each read returns one record. EPIPE: the oldest records were overwritten.
    while ((length = read(file_, record, sizeof record - 1)) > 0 || errno == EPIPE) {
      if (length <= 0) continue;
      const std::string_view line{record, static_cast<std::size_t>(length)};
      const auto at = line.find(mark);
      if (line.find("DMAR") == line.npos || at == line.npos) continue;
      record[length] = '\0';
      pages.insert(std::strtoull(record + at + mark.size(), nullptr, 16) & ~std::uint64_t{4095});
    }
    return pages;
  }

 private:
  int file_;
};

}  // namespace nvme_vfio

#endif
