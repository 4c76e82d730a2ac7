// SPDX-License-Identifier: BSL-1.0
//
// Place: a position in the caller's source.

#ifndef BLKOWN_PLACE_HPP
#define BLKOWN_PLACE_HPP

#include <blkown/config.hpp>
#include <source_location>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The position in the source from which an operation was called. Public operations take it as a
/// defaulted last parameter. A wrapper that takes and passes one on is reported by its caller's
/// place.
using Place = std::source_location;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
