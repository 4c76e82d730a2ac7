// SPDX-License-Identifier: BSL-1.0
//
// The functions that a compiler calls by itself. A kernel has them already.

#include <cstddef>
#include <cstdint>

// "rep movsb" and "rep stosb", because a loop could be compiled into a call of the same function.

extern "C" void* memcpy(void* to, const void* from, std::size_t bytes) {
  void* const result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes)::"memory");
  return result;
}

extern "C" void* memmove(void* to, const void* from, std::size_t bytes) {
  if (reinterpret_cast<std::uintptr_t>(to) - reinterpret_cast<std::uintptr_t>(from) >= bytes)
    return memcpy(to, from, bytes);
  // The target begins within the source: from the end. Without "std", which an interrupt would
  // meet.
  auto* const written = static_cast<volatile unsigned char*>(to);
  const auto* const read = static_cast<const volatile unsigned char*>(from);
  while (bytes-- != 0) written[bytes] = read[bytes];
  return to;
}

extern "C" void* memset(void* to, int value, std::size_t bytes) {
  void* const result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(bytes) : "a"(value) : "memory");
  return result;
}
