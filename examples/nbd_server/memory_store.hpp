// SPDX-License-Identifier: BSL-1.0
//
// MemoryStore: an export in memory, which is allocated when it is written. Replies to reads are
// sent from that memory. With a delay, a thread plays a slow device: it gets the ids of published
// requests and sends them back later.

#ifndef NBD_SERVER_MEMORY_STORE_HPP
#define NBD_SERVER_MEMORY_STORE_HPP

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "nbd/messages.hpp"
#include "request.hpp"
#include "storage/slow_device.hpp"
#include "store.hpp"

namespace nbd_server {

/// Bytes of which only those chunks take memory that were written. Reads and writes of a chunk
/// exclude each other. Any thread.
class SparseMemory {
 public:
  static constexpr std::uint64_t chunk_bytes = 64 * 1024;

  /// With `huge`, the kernel gives memory in huge pages, if it has some: 2 MiB at the first write
  /// to any of their bytes.
  explicit SparseMemory(std::uint64_t size_bytes, bool huge = false)
      : size_bytes_{size_bytes}, is_allocated_((size_bytes + chunk_bytes - 1) / chunk_bytes) {
    if (is_allocated_.empty()) return;
    // The kernel gives a page when it is written.
    void* const at = mmap(nullptr, mapped_bytes(), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return;
    memory_ = static_cast<std::byte*>(at);
    if (huge) madvise(memory_, mapped_bytes(), MADV_HUGEPAGE);
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  ~SparseMemory() {
    if (memory_ != nullptr) munmap(memory_, mapped_bytes());
  }

  /// False: there are not enough addresses, and nothing below can be called.
  [[nodiscard]] bool is_mapped() const noexcept {
    return memory_ != nullptr || is_allocated_.empty();
  }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

  void read(std::uint64_t offset, blkown::Segment to) {
    for_each_chunk(offset, to.length_bytes, [&](const Part& part) {
      if (part.is_allocated != 0) {
        std::memcpy(to.data + part.done, part.memory, part.length);
      } else {
        std::memset(to.data + part.done, 0, part.length);
      }
    });
  }
  void write(std::uint64_t offset, blkown::Segment from) {
    for_each_chunk(offset, from.length_bytes, [&](const Part& part) {
      part.is_allocated = 1;
      std::memcpy(part.memory, from.data + part.done, part.length);
    });
  }
  /// Makes the range read as zeroes. With `keeps`, the chunks stay allocated.
  void zero(std::uint64_t offset, std::uint64_t length, bool keeps) {
    for_each_chunk(offset, length, [&](const Part& part) {
      if (part.is_allocated == 0) {
        part.is_allocated = keeps ? 1 : 0;
      } else if (part.length == chunk_bytes && !keeps &&
                 madvise(part.memory, chunk_bytes, MADV_DONTNEED) == 0) {
        part.is_allocated = 0;
      } else {
        std::memset(part.memory, 0, part.length);
      }
    });
  }
  /// The memory of the range, if all of it is allocated; else empty. It stays where it is as long
  /// as this object, and anyone may write it.
  [[nodiscard]] blkown::Segment view(std::uint64_t offset, std::uint64_t length) {
    bool is_whole = true;
    for_each_chunk(offset, length,
                   [&](const Part& part) { is_whole = is_whole && part.is_allocated != 0; });
    return is_whole ? blkown::Segment{memory_ + offset, length} : blkown::Segment{};
  }
  /// As Store::list_extents.
  void list_extents(std::uint64_t offset, std::uint64_t length, std::size_t max,
                    std::vector<nbd::Extent>& extents) {
    bool is_full = false;  // the next extent has no room: what follows would leave it out
    for_each_chunk(offset, length, [&](const Part& part) {
      constexpr std::uint32_t hole = nbd::allocation_flag::hole | nbd::allocation_flag::zero;
      const std::uint32_t flags = part.is_allocated == 0 ? hole : 0;
      const auto part_length = static_cast<std::uint32_t>(part.length);
      if (is_full) return;
      if (!extents.empty() && extents.back().flags == flags) {
        extents.back().length += part_length;
      } else if (extents.size() < max) {
        extents.push_back({.length = part_length, .flags = flags});
      } else {
        is_full = true;
      }
    });
  }

 private:
  struct Part {
    std::uint8_t& is_allocated;  // of the chunk. If not, the kernel may have no memory for it.
    std::byte* memory;           // of which `length` bytes are meant
    std::size_t length;
    std::uint64_t done;  // bytes of the range before this part
  };

  [[nodiscard]] std::size_t mapped_bytes() const noexcept {
    return is_allocated_.size() * chunk_bytes;
  }

  template <class Visit>
  void for_each_chunk(std::uint64_t offset, std::uint64_t length, Visit visit) {
    for (std::uint64_t done = 0; done != length;) {
      const std::uint64_t index = (offset + done) / chunk_bytes;
      const std::uint64_t begin = (offset + done) % chunk_bytes;
      const std::uint64_t part = std::min(chunk_bytes - begin, length - done);
      const std::lock_guard lock{locks_[index % locks_.size()]};
      visit(Part{is_allocated_[index], memory_ + offset + done, part, done});
      done += part;
    }
  }

  std::uint64_t size_bytes_;
  std::vector<std::uint8_t> is_allocated_;  // by chunk, under its lock
  std::byte* memory_ = nullptr;
  std::array<std::mutex, 64> locks_;
};

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(std::uint64_t size_bytes,
                       std::chrono::milliseconds delay = std::chrono::milliseconds{0},
                       bool huge = false)
      : memory_{size_bytes, huge}, delay_{delay} {}

  [[nodiscard]] StoreInfo info() const override {
    return {.size = memory_.size_bytes(), .ends_writes_at_once = delay_.count() == 0};
  }

  [[nodiscard]] std::expected<void, std::string> attach(const StoreContext& context) override {
    if (!memory_.is_mapped()) return std::unexpected(std::string{"not enough memory"});
    tags_ = &context.tags;
    refused_ = &context.refused;
    if (delay_.count() != 0) device_.start(delay_, [this](std::uint64_t id) { complete(id); });
    return {};
  }

  [[nodiscard]] blkown::Segment lend(std::uint64_t offset, std::uint32_t length) override {
    return delay_.count() == 0 ? memory_.view(offset, length) : blkown::Segment{};
  }

  void start(blkown::Owned<Rq> request, std::uint32_t) override {
    if (delay_.count() == 0) {
      execute(request.data());
      std::move(request).end_ok();
      return;
    }
    std::move(request).publish([&](blkown::Cookie id) { device_.send(id.value); });
  }

  /// The slow device may still be in the sink of the last request that it has ended.
  void detach() override { device_.stop(); }

  void list_extents(std::uint64_t offset, std::uint32_t length, std::size_t max,
                    std::vector<nbd::Extent>& extents) override {
    memory_.list_extents(offset, length, max, extents);
  }

 private:
  void execute(const Command& command) {
    const nbd::Request& wire = command.wire;
    const blkown::Segment memory = command.payload.memory();
    switch (wire.command) {
      case nbd::Command::read:
        if (!command.is_lent) memory_.read(wire.offset, memory);
        return;
      case nbd::Command::write: return memory_.write(wire.offset, memory);
      case nbd::Command::trim: return memory_.zero(wire.offset, wire.length, false);
      case nbd::Command::write_zeroes:
        return memory_.zero(wire.offset, wire.length, command.has_flag(nbd::command_flag::no_hole));
      default: return;  // memory is neither flushed nor cached
    }
  }

  /// The device has sent an id back.
  void complete(std::uint64_t id) {
    auto claim = tags_->claim(cookie_layout.queue_of(id), id);
    if (!claim) {
      refused_->count(claim.error().reason);
      return;
    }
    execute(claim->data());
    std::move(*claim).end_ok();
  }

  SparseMemory memory_;
  std::chrono::milliseconds delay_;
  Tags* tags_ = nullptr;
  RefusedLookups* refused_ = nullptr;
  storage::SlowDevice device_;
};

}  // namespace nbd_server

#endif
