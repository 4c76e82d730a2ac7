// SPDX-License-Identifier: BSL-1.0
//
// The build's choices, and the macros of the other headers. Define a choice for the whole program.
//
//   BLKOWN_WORD_BITS      64 or 32: the width of a request's ownership word and of a tag bitmap's
//                         words. Default: 64 where such atomics are lock-free, else 32.
//   BLKOWN_ATOMIC         the class template of the core's atomics. It has std::atomic's members.
//                         Default: std::atomic. A model checker, a counter of operations or a
//                         single-threaded program defines its own template here, with
//   BLKOWN_ATOMIC_NAME    an identifier for that template.
//   BLKOWN_NO_STDIO       no header of <cstdio> is included and no handlers are installed, so that
//                         violations trap and reports are discarded. A freestanding compiler
//                         implies it.
//   BLKOWN_CACHE_LINE_BYTES   the distance at which two requests share no cache line. Default: 64.
//   BLKOWN_TRACKING       1: each live handle stores where it was taken, and visit_holders lists
//                         them (tracking.hpp). 0, the default: nothing is stored. The CMake target
//                         blkown::tracking defines it as 1. Handles are then wider than a pointer,
//                         take spin locks, and must not be used in interrupts.
//   BLKOWN_POISON         1: the data of a request is poisoned for AddressSanitizer while no handle
//                         gives access to it, so that an access through a kept reference stops.
//                         Such a program is linked with AddressSanitizer. 0: it is not poisoned.
//                         Default: 1 where a hosted compiler has AddressSanitizer switched on.
//                         No macro distinguishes -fsanitize=kernel-address, whose run-time library
//                         has no such poison: a hosted program with that option defines 0.
//
// Each choice that changes a type or a function body changes the name of the inline namespace, so
// that two parts of a program with different choices do not link.

#ifndef BLKOWN_CONFIG_HPP
#define BLKOWN_CONFIG_HPP

// First, because a compiler in an older mode has other errors behind this one. GCC 12 in C++23 mode
// has a __cplusplus between the two standards'.
#if __cplusplus <= 202002L
#error "blkown needs C++23: compile with -std=c++23"
#include "blkown needs -std=c++23"  // No such file: compilers stop here, without the other errors.
#endif

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
#define BLKOWN_DETAIL_STD_ATOMIC
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

#if !defined(BLKOWN_POISON) && __STDC_HOSTED__ == 1
#if defined(__SANITIZE_ADDRESS__)
#define BLKOWN_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BLKOWN_POISON 1
#endif
#endif
#endif
#ifndef BLKOWN_POISON
#define BLKOWN_POISON 0
#endif

#if BLKOWN_POISON == 1
#define BLKOWN_DETAIL_POISON_NAME _poison
#elif BLKOWN_POISON == 0
#define BLKOWN_DETAIL_POISON_NAME
#else
#error "BLKOWN_POISON is 0 or 1"
#endif

#define BLKOWN_DETAIL_ABI_JOIN(word, line, atomic, stdio, tracking, poison) \
  v1_w##word##_l##line##_##atomic##_##stdio##tracking##poison
#define BLKOWN_DETAIL_ABI(word, line, atomic, stdio, tracking, poison) \
  BLKOWN_DETAIL_ABI_JOIN(word, line, atomic, stdio, tracking, poison)

// The inline namespace of all declarations: blkown::v1 for 64-bit words, 64-byte lines,
// std::atomic, stdio, no tracking and no poison; else every choice is in the name, as in
// blkown::v1_w32_l64_std_stdio or blkown::v1_w64_l64_std_stdio_tracking.
#if BLKOWN_WORD_BITS == 64 && BLKOWN_CACHE_LINE_BYTES == 64 &&                                \
    defined(BLKOWN_DETAIL_STD_ATOMIC) && !defined(BLKOWN_NO_STDIO) && BLKOWN_TRACKING == 0 && \
    BLKOWN_POISON == 0
#define BLKOWN_ABI v1
#else
#define BLKOWN_ABI                                                                 \
  BLKOWN_DETAIL_ABI(BLKOWN_WORD_BITS, BLKOWN_CACHE_LINE_BYTES, BLKOWN_ATOMIC_NAME, \
                    BLKOWN_DETAIL_STDIO_NAME, BLKOWN_DETAIL_TRACKING_NAME,         \
                    BLKOWN_DETAIL_POISON_NAME)
#endif

// Clang's typestate attributes (checked with -Wconsumed); GCC would warn about these attributes.
//   BLKOWN_CONSUMABLE on a handle's class: a new one holds a request. BLKOWN_CONSUMES on a member
//   that gives the request away; a second call is diagnosed. BLKOWN_NEEDS_HELD on a member that
//   must not be called after the request was given away. BLKOWN_HELD on a parameter that must still
//   hold its request. BLKOWN_REFERRED_TO on a parameter that the result refers to.
#ifdef __clang__
#define BLKOWN_CONSUMABLE [[clang::consumable(unconsumed)]]
#define BLKOWN_CONSUMES \
  [[clang::callable_when("unconsumed", "unknown"), clang::set_typestate(consumed)]]
#define BLKOWN_NEEDS_HELD [[clang::callable_when("unconsumed", "unknown")]]
#define BLKOWN_HELD [[clang::param_typestate(unconsumed)]]
#define BLKOWN_REFERRED_TO [[clang::lifetimebound]]
#else
#define BLKOWN_CONSUMABLE
#define BLKOWN_CONSUMES
#define BLKOWN_NEEDS_HELD
#define BLKOWN_HELD
#define BLKOWN_REFERRED_TO
#endif

// Deletes the overload for an lvalue of a member that consumes the handle. Without this overload
// the compiler's error is about qualifiers or lists candidates. With it the error is at the call,
// and its first line has the text (Clang) or the name use_std_move (GCC). The parameters are the
// member's, without the Place: with any others GCC would blame a wrong argument on the lvalue.
#if defined(__clang__) && defined(__cpp_deleted_function)
#define BLKOWN_DETAIL_CONSUMES_LVALUE(member, ...)                                             \
  _Pragma("clang diagnostic push")                                                             \
      _Pragma("clang diagnostic ignored \"-Wc++26-extensions\"")::blkown::detail::use_std_move \
      member(__VA_ARGS__ __VA_OPT__(, ) Place = {})& =                                         \
          delete ("use std::move, as in std::move(handle)." #member "(...)");                  \
  _Pragma("clang diagnostic pop") static_assert(true)
#else
#define BLKOWN_DETAIL_CONSUMES_LVALUE(member, ...) \
  ::blkown::detail::use_std_move member(__VA_ARGS__ __VA_OPT__(, ) Place = {})& = delete
#endif

// Deletes data() of a temporary handle, whose reference would outlive the handle. The first line of
// the compiler's error has the text (Clang) or the parameter's name (GCC). The default argument is
// R, because an Owned of an object that is no request has no data.
#if defined(__clang__) && defined(__cpp_deleted_function)
#define BLKOWN_DETAIL_DATA_OF_A_TEMPORARY                                                     \
  _Pragma("clang diagnostic push")                                                            \
      _Pragma("clang diagnostic ignored \"-Wc++26-extensions\"") template <                   \
          class name_the_handle_before_using_its_data = R>                                    \
      typename RequestTraits<name_the_handle_before_using_its_data>::Data& data() const&& =   \
          delete ("the reference would outlive the temporary handle: name the handle first"); \
  _Pragma("clang diagnostic pop") static_assert(true)
#else
#define BLKOWN_DETAIL_DATA_OF_A_TEMPORARY                    \
  template <class name_the_handle_before_using_its_data = R> \
  typename RequestTraits<name_the_handle_before_using_its_data>::Data& data() const&& = delete
#endif

// Encloses each handle's destructor. GCC sees an uninitialized handle in the destructor of an empty
// std::optional and warns in the code that keeps a handle there.
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

namespace detail {
/// The result type of the overloads of BLKOWN_DETAIL_CONSUMES_LVALUE, for its name.
struct use_std_move {};
}  // namespace detail

/// Two objects this many bytes apart, each aligned to it, share no cache line.
inline constexpr std::size_t cache_line_bytes = BLKOWN_CACHE_LINE_BYTES;
static_assert(cache_line_bytes >= 64 && (cache_line_bytes & (cache_line_bytes - 1)) == 0,
              "BLKOWN_CACHE_LINE_BYTES is a power of two, 64 at least");

namespace detail {
/// A processor may fetch a line together with the line beside it. What different contexts write is
/// this many bytes apart.
inline constexpr std::size_t line_pair_bytes = 2 * cache_line_bytes;
}  // namespace detail

/// The atomic template of the core: BLKOWN_ATOMIC.
template <class T>
using Atomic = BLKOWN_ATOMIC<T>;

/// The unsigned integer in an ownership word and in a word of a tag bitmap.
using Word = std::conditional_t<BLKOWN_WORD_BITS == 64, std::uint64_t, std::uint32_t>;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
