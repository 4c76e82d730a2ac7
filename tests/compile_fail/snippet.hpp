// SPDX-License-Identifier: BSL-1.0
//
// The snippets' common types: a driver's request types and short names for its handles. Nothing
// here is linked.

#ifndef BLKOWN_TESTS_COMPILE_FAIL_SNIPPET_HPP
#define BLKOWN_TESTS_COMPILE_FAIL_SNIPPET_HPP

#include <blkown/blkown.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <utility>

/// A driver's data, which only the request's holder may access.
struct Command {
  int sectors = 0;
};
using Request = blkown::Request<Command>;
using Idle = blkown::Idle<Request>;
using Owned = blkown::Owned<Request>;
using Claim = blkown::Claim<Request>;
using ARef = blkown::ARef<Request>;
using Ended = blkown::Ended<Request>;
using TagSet = blkown::TagSet<Request>;

/// Data that is constant while a reference exists, so it may be read through an ARef.
struct Geometry {
  int sectors = 0;
};
template <>
inline constexpr bool blkown::shared_data<Geometry> = true;
using ReadableARef = blkown::ARef<blkown::Request<Geometry>>;

/// A driver's reference-counted and ownable object that is not a request.
struct Device {
  void add_ref() noexcept;
  void drop_ref() noexcept;
  void release_owned() noexcept;
  void into_shared() noexcept;
  bool try_into_owned() noexcept;
  int minor = 0;
};

/// A device that accepts every command, and one that may refuse it.
void ring(blkown::Cookie cookie);
std::expected<void, int> try_ring(blkown::Cookie cookie);

/// Uses a value.
template <class T>
void use(const T& value);

#endif
