// SPDX-License-Identifier: BSL-1.0
//
// Replaces the program's global allocation functions with counting ones. One source file of a
// program includes this header.

#ifndef BLKOWN_TESTS_SUPPORT_COUNTED_ALLOCATION_HPP
#define BLKOWN_TESTS_SUPPORT_COUNTED_ALLOCATION_HPP

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

std::uint64_t allocations = 0;
std::uint64_t deallocations = 0;
bool is_exhausted = false;
std::uint64_t allocations_left = ~std::uint64_t{0};  // until the memory is exhausted
std::uint64_t refused_after = ~std::uint64_t{0};     // allocations until a single one fails

[[gnu::noinline]] void* allocate(std::size_t bytes, std::size_t alignment_bytes) noexcept {
  if (is_exhausted || allocations_left == 0) return nullptr;
  --allocations_left;
  if (refused_after-- == 0) return nullptr;
  ++allocations;
  const std::size_t rounded = (bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
  return std::aligned_alloc(alignment_bytes, rounded);
}
void* allocate_or_abort(std::size_t bytes, std::size_t alignment_bytes) {
  void* const memory = allocate(bytes, alignment_bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void deallocate(void* memory) noexcept {
  if (memory == nullptr) return;
  ++deallocations;
  std::free(memory);
}

constexpr std::size_t plain_alignment = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

}  // namespace

// All forms: a sanitizer has forms of its own for arrays, and a nothrow form of the standard
// library may call one that throws.
void* operator new(std::size_t bytes) { return allocate_or_abort(bytes, plain_alignment); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_abort(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes) { return allocate_or_abort(bytes, plain_alignment); }
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return allocate_or_abort(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, plain_alignment);
}
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes, plain_alignment);
}
void* operator new[](std::size_t bytes, std::align_val_t alignment,
                     const std::nothrow_t&) noexcept {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { deallocate(memory); }
void operator delete(void* memory, std::size_t) noexcept { deallocate(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { deallocate(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { deallocate(memory); }
void operator delete[](void* memory) noexcept { deallocate(memory); }
void operator delete[](void* memory, std::size_t) noexcept { deallocate(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { deallocate(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { deallocate(memory); }

#endif
