// SPDX-License-Identifier: BSL-1.0
//
// Place: where in the caller's source something happened.

#ifndef BLKOWN_PLACE_HPP
#define BLKOWN_PLACE_HPP

#include <blkown/config.hpp>
#include <source_location>

namespace blkown {
inline namespace BLKOWN_ABI {

/// The place in the caller's source that an operation was called from. Public operations take it as
/// a defaulted last parameter; pass one on to name a caller further out.
using Place = std::source_location;

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
