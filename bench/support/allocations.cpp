// SPDX-License-Identifier: BSL-1.0
//
// Replaces the allocation functions of the program. By default the array and sized forms call
// these.

#include <cstddef>
#include <cstdlib>
#include <new>
#include <support/allocations.hpp>

namespace bench {
namespace {

constinit thread_local Allocations allocations;

[[nodiscard]] void* allocate(std::size_t bytes) noexcept {
  ++allocations.count;
  allocations.bytes += bytes;
  return std::malloc(bytes);
}
[[nodiscard]] void* allocate(std::size_t bytes, std::align_val_t alignment) noexcept {
  ++allocations.count;
  allocations.bytes += bytes;
  const auto alignment_bytes = static_cast<std::size_t>(alignment);
  return std::aligned_alloc(alignment_bytes,
                            (bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes);
}
[[nodiscard]] void* or_abort(void* memory) noexcept {
  if (memory == nullptr) std::abort();
  return memory;
}

}  // namespace

Allocations Allocations::so_far() noexcept { return allocations; }

}  // namespace bench

void* operator new(std::size_t bytes) { return bench::or_abort(bench::allocate(bytes)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return bench::or_abort(bench::allocate(bytes, alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return bench::allocate(bytes);
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return bench::allocate(bytes, alignment);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
