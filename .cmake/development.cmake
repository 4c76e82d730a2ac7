# SPDX-License-Identifier: BSL-1.0
# Settings of the project's own tests, benchmarks and examples: their warnings, and the standard library
# and sanitizers that the compiler's flags choose. No consumer sees them.
include(CheckCXXSourceCompiles)

add_library(blkown_warnings INTERFACE)
target_compile_options(blkown_warnings
  INTERFACE
    -Wall
    -Wextra
    -Wpedantic
    -Wconversion
    -Wshadow
    -Werror
    $<$<CXX_COMPILER_ID:Clang>:-Wconsumed>
    $<$<CXX_COMPILER_ID:Clang>:-Werror=consumed>)

# Debian's GoogleTest and Google Benchmark are built against libstdc++, without sanitizers. Each choice
# is read off the compiler, not off the text of the flags.
check_cxx_source_compiles([[
#include <version>
#ifndef _LIBCPP_VERSION
#error "not libc++"
#endif
int main() {}
]] BLKOWN_USES_LIBCXX)

check_cxx_source_compiles([[
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#ifndef SANITIZED
#error "neither ASan nor TSan"
#endif
int main() {}
]] BLKOWN_USES_SANITIZER)

check_cxx_source_compiles([[
#if defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#ifndef SANITIZED
#error "not TSan"
#endif
int main() {}
]] BLKOWN_USES_TSAN)
