// SPDX-License-Identifier: BSL-1.0
//
// What a build may choose, and the macros the other headers share.
//
//   BLKOWN_WORD_BITS      64 or 32: the width of a request's ownership word and of a tag bitmap's
//                         words. Default: 64 where such atomics are lock-free, else 32.
//   BLKOWN_ATOMIC         the atomic class template that the core uses, std::atomic by default. A
//                         checker, a counter or a single-threaded user names its own here, with
//   BLKOWN_ATOMIC_NAME    an identifier for it. The provider has std::atomic's members.
//   BLKOWN_NO_STDIO       violations trap and reports are dropped unless a handler is installed;
//                         nothing of <cstdio> is included. Implied by a freestanding compiler.
//   BLKOWN_CACHE_LINE_BYTES   the distance that keeps two requests from sharing a line, 64.
//   BLKOWN_TRACKING       1: each live ARef remembers where it was taken, and visit_holders lists
//                         them (tracking.hpp). 0, the default: nothing is kept. The CMake target
//                         blkown::tracking sets it. ARefs are then wider than a pointer, share
//                         locks, and are not for interrupts.
//
// Each choice that changes a type or a function body is part of the inline namespace's name, so two
// parts of a program that chose differently do not link to each other's types by accident.

#ifndef BLKOWN_CONFIG_HPP
#define BLKOWN_CONFIG_HPP

#include <cstddef>
#include <cstdint>
#include <type_traits>

#ifndef BLKOWN_WORD_BITS
#if defined(__GCC_ATOMIC_LLONG_LOCK_FREE) && __GCC_ATOMIC_LLONG_LOCK_FREE == 2
#define BLKOWN_WORD_BITS 64
#else
#define BLKOWN_WORD_BITS 32
#endif
#endif

#if BLKOWN_WORD_BITS != 64 && BLKOWN_WORD_BITS != 32
#error "BLKOWN_WORD_BITS is 64 or 32"
#endif

#if defined(BLKOWN_ATOMIC) != defined(BLKOWN_ATOMIC_NAME)
#error "define BLKOWN_ATOMIC (a class template) and BLKOWN_ATOMIC_NAME (an identifier) together"
#endif

#ifndef BLKOWN_ATOMIC
#include <atomic>
#define BLKOWN_ATOMIC std::atomic
#define BLKOWN_ATOMIC_NAME std
#endif

#if !defined(BLKOWN_NO_STDIO) && !__STDC_HOSTED__
#define BLKOWN_NO_STDIO
#endif

#ifdef BLKOWN_NO_STDIO
#define BLKOWN_DETAIL_STDIO_NAME trap
#else
#define BLKOWN_DETAIL_STDIO_NAME stdio
#endif

#ifndef BLKOWN_CACHE_LINE_BYTES
#define BLKOWN_CACHE_LINE_BYTES 64
#endif

#ifndef BLKOWN_TRACKING
#define BLKOWN_TRACKING 0
#endif

#if BLKOWN_TRACKING == 1
#define BLKOWN_DETAIL_TRACKING_NAME _tracking
#elif BLKOWN_TRACKING == 0
#define BLKOWN_DETAIL_TRACKING_NAME
#else
#error "BLKOWN_TRACKING is 0 or 1"
#endif

#define BLKOWN_DETAIL_ABI_JOIN(word, line, atomic, stdio, tracking) \
  v1_w##word##_l##line##_##atomic##_##stdio##tracking
#define BLKOWN_DETAIL_ABI(word, line, atomic, stdio, tracking) \
  BLKOWN_DETAIL_ABI_JOIN(word, line, atomic, stdio, tracking)

// The inline namespace of everything here: blkown::v1_w64_l64_std_stdio by default, and
// blkown::v1_w64_l64_std_stdio_tracking with BLKOWN_TRACKING.
#define BLKOWN_ABI                                                                 \
  BLKOWN_DETAIL_ABI(BLKOWN_WORD_BITS, BLKOWN_CACHE_LINE_BYTES, BLKOWN_ATOMIC_NAME, \
                    BLKOWN_DETAIL_STDIO_NAME, BLKOWN_DETAIL_TRACKING_NAME)

// Clang's typestate attributes (checked with -Wconsumed); GCC would warn about them.
//   BLKOWN_CONSUMABLE   on a handle's class: a new one holds a request.
//   BLKOWN_CONSUMES     on a member that gives the request away; calling it twice is diagnosed.
//   BLKOWN_NEEDS_HELD   on a member that may not be called once the request was given away.
//   BLKOWN_HELD         on a parameter that must still hold its request.
#ifdef __clang__
#define BLKOWN_CONSUMABLE [[clang::consumable(unconsumed)]]
#define BLKOWN_CONSUMES \
  [[clang::callable_when("unconsumed", "unknown"), clang::set_typestate(consumed)]]
#define BLKOWN_NEEDS_HELD [[clang::callable_when("unconsumed", "unknown")]]
#define BLKOWN_HELD [[clang::param_typestate(unconsumed)]]
#else
#define BLKOWN_CONSUMABLE
#define BLKOWN_CONSUMES
#define BLKOWN_NEEDS_HELD
#define BLKOWN_HELD
#endif

// Around each handle's destructor. GCC takes the handle that an empty std::optional does not have
// for one that is destroyed uninitialized, and warns whoever keeps a handle there.
#if defined(__GNUC__) && !defined(__clang__)
#define BLKOWN_DETAIL_DESTRUCTOR_BEGIN \
  _Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"")
#define BLKOWN_DETAIL_DESTRUCTOR_END _Pragma("GCC diagnostic pop")
#else
#define BLKOWN_DETAIL_DESTRUCTOR_BEGIN
#define BLKOWN_DETAIL_DESTRUCTOR_END
#endif

namespace blkown {
inline namespace BLKOWN_ABI {

/// Two objects this many bytes apart, each aligned to it, share no cache line.
inline constexpr std::size_t cache_line_bytes = BLKOWN_CACHE_LINE_BYTES;
static_assert(cache_line_bytes >= 64 && (cache_line_bytes & (cache_line_bytes - 1)) == 0,
              "BLKOWN_CACHE_LINE_BYTES is a power of two, 64 at least");

/// The atomic template of the whole core; see BLKOWN_ATOMIC above.
template <class T>
using Atomic = BLKOWN_ATOMIC<T>;

/// The unsigned integer behind an ownership word and a tag bitmap's word.
using Word = std::conditional_t<BLKOWN_WORD_BITS == 64, std::uint64_t, std::uint32_t>;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
