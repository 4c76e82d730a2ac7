// SPDX-License-Identifier: BSL-1.0
//
// The buffers of the copy: one block for each request. A request's tag is its buffer's index, so
// the owner of the request owns the buffer. Each buffer is one region that is registered with
// io_uring.

#ifndef URING_COPY_BUFFERS_HPP
#define URING_COPY_BUFFERS_HPP

#include <sys/uio.h>

#include <blkown/dma/dma.hpp>
#include <blkown/dma/uring_buffers.hpp>
#include <blkown/segment.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "problem.hpp"

namespace uring_copy {

/// The device that buffers are mapped for. The worker threads use the same device, because
/// UringBuffers maps memory at its own address.
using MappedDevice = blkown::dma::Device<blkown::dma::UringBuffers>;

class Buffers {
 public:
  [[nodiscard]] static std::expected<Buffers, Problem> create(std::uint32_t count,
                                                              std::uint32_t block_bytes) {
    constexpr std::size_t page_bytes = 4096;
    const std::size_t bytes =
        (std::size_t{count} * block_bytes + page_bytes - 1) & ~(page_bytes - 1);
    Buffers buffers;
    buffers.memory_.reset(static_cast<std::byte*>(std::aligned_alloc(page_bytes, bytes)));
    buffers.count_ = count;
    buffers.block_bytes_ = block_bytes;
    if (buffers.memory_ == nullptr) {
      return std::unexpected(Problem{std::to_string(bytes) +
                                     " bytes of buffers: out of memory; lower --depth or"
                                     " --block-bytes"});
    }
    std::vector<iovec> regions;
    regions.reserve(count);
    for (std::uint32_t i = 0; i != count; ++i) {
      const blkown::Segment block = buffers.block(i);
      regions.push_back({.iov_base = block.data, .iov_len = block.length_bytes});
    }
    buffers.mapped_ = std::make_unique<Mapped>(std::move(regions));
    return buffers;
  }

  /// Leaks the memory, for a device that may still write to it. Freed memory could be in other use
  /// at the time of the write.
  void abandon() noexcept { static_cast<void>(memory_.release()); }

  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] blkown::Segment block(std::uint32_t index) const noexcept {
    return {memory_.get() + std::size_t{index} * block_bytes_, block_bytes_};
  }
  [[nodiscard]] blkown::dma::UringBuffers& regions() const noexcept { return mapped_->backend; }
  [[nodiscard]] MappedDevice& device() const noexcept { return mapped_->device; }

 private:
  struct Mapped {
    explicit Mapped(std::vector<iovec> of) noexcept : regions{std::move(of)} {}
    std::vector<iovec> regions;
    blkown::dma::UringBuffers backend{regions};
    MappedDevice device{backend};
  };
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  Buffers() = default;

  std::unique_ptr<std::byte, Free> memory_;
  std::unique_ptr<Mapped> mapped_;
  std::uint32_t count_ = 0;
  std::uint32_t block_bytes_ = 0;
};

}  // namespace uring_copy

#endif
