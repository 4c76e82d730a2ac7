// SPDX-License-Identifier: BSL-1.0
//
// PagePool: the pages of a store, up to a limit, on a node of the machine if one is wanted.

#ifndef NULL_BLOCK_PAGES_HPP
#define NULL_BLOCK_PAGES_HPP

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <expected>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "config.hpp"

namespace null_block {

/// Asks the kernel to take the memory's pages from a node. Without libnuma.
/// Returns an errno value, or 0. ENOSYS: the kernel has no nodes.
[[nodiscard]] inline int bind_to_node(void* memory, std::size_t length_bytes, std::uint64_t node) {
  constexpr std::size_t word_bits = sizeof(unsigned long) * CHAR_BIT;
  constexpr unsigned long bind = 2;  // MPOL_BIND
  std::array<unsigned long, 1024 / word_bits> mask{};
  if (node >= mask.size() * word_bits) return EINVAL;
  mask[node / word_bits] = 1UL << (node % word_bits);
  // The kernel reads one bit less than it is told.
  const long result =
      syscall(SYS_mbind, memory, static_cast<unsigned long>(length_bytes), bind, mask.data(),
              static_cast<unsigned long>(mask.size() * word_bits) + 1, 0UL);
  return result == 0 ? 0 : errno;
}

/// Checks that memory can come from the node.
/// Errors: the machine has no such node. One that has no nodes at all, or does not let the caller
/// choose, has node 0.
[[nodiscard]] inline std::expected<void, ConfigError> check_home_node(std::uint64_t node) {
  constexpr std::size_t probe_bytes = 4096;
  if (node == no_node) return {};
  void* const probe = mmap(nullptr, probe_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  const int error = probe == MAP_FAILED ? errno : bind_to_node(probe, probe_bytes, node);
  if (probe != MAP_FAILED) munmap(probe, probe_bytes);
  const bool is_only_node = node == 0 && (error == ENOSYS || error == EPERM);
  if (error == 0 || is_only_node) return {};
  return refuse("home_node", std::to_string(node),
                std::string{"the machine has no such node: "} + std::strerror(error));
}

/// Pages of one size. A page that is given back is the next one to be taken.
/// Synchronization: all functions lock a mutex.
class PagePool {
 public:
  /// `limit_bytes` of all pages together; 0: no limit.
  PagePool(std::size_t page_bytes, std::uint64_t limit_bytes, std::uint64_t node) noexcept
      : page_bytes_{page_bytes}, node_{node}, limit_bytes_{limit_bytes} {}
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;
  ~PagePool() {
    for (void* const slab : slabs_) munmap(slab, slab_bytes());
  }

  [[nodiscard]] std::size_t page_bytes() const noexcept { return page_bytes_; }

  /// A page of any content, or null: the limit is reached, or the machine has no memory.
  [[nodiscard]] std::byte* take() {
    const std::lock_guard lock{mutex_};
    if (limit_bytes_ != 0 && (used_ + 1) * page_bytes_ > limit_bytes_) return nullptr;
    if (free_.empty() && !add_slab()) return nullptr;
    std::byte* const page = free_.back();
    free_.pop_back();
    ++used_;
    return page;
  }
  /// Takes a page back.
  void give(std::byte* page) {
    const std::lock_guard lock{mutex_};
    free_.push_back(page);
    --used_;
  }
  /// Changes the limit. Pages above it stay in use.
  void set_limit(std::uint64_t limit_bytes) {
    const std::lock_guard lock{mutex_};
    limit_bytes_ = limit_bytes;
  }
  /// The bytes of the pages that are in use.
  [[nodiscard]] std::uint64_t used_bytes() {
    const std::lock_guard lock{mutex_};
    return used_ * page_bytes_;
  }

 private:
  static constexpr std::size_t slab_pages = 64;
  [[nodiscard]] std::size_t slab_bytes() const noexcept { return slab_pages * page_bytes_; }

  [[nodiscard]] bool add_slab() {
    void* const slab = mmap(nullptr, slab_bytes(), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (slab == MAP_FAILED) return false;
    slabs_.push_back(slab);
    // The node was tried when the disk was made. Memory elsewhere is better than none.
    if (node_ != no_node) static_cast<void>(bind_to_node(slab, slab_bytes(), node_));
    for (std::size_t i = slab_pages; i != 0; --i) {
      free_.push_back(static_cast<std::byte*>(slab) + (i - 1) * page_bytes_);
    }
    return true;
  }

  std::size_t page_bytes_;
  std::uint64_t node_;
  std::mutex mutex_;
  std::uint64_t limit_bytes_;
  std::uint64_t used_ = 0;  // in pages
  std::vector<std::byte*> free_;
  std::vector<void*> slabs_;
};

}  // namespace null_block

#endif
