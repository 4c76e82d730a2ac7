// SPDX-License-Identifier: BSL-1.0
//
// Place: a position in the caller's source.

#ifndef BLKOWN_PLACE_HPP
#define BLKOWN_PLACE_HPP

#include <blkown/config.hpp>
#include <source_location>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The position in the source from which an operation was called. Public operations have a Place as
/// their defaulted last parameter. A wrapper that passes on a Place of its own caller is reported
/// at that place.
using Place = std::source_location;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
