// SPDX-License-Identifier: BSL-1.0
//
// The tracking build (BLKOWN_TRACKING): every live Idle, Owned, Claim and ARef stores where it was
// taken, so that the program can list the holders of a request that does not end. In a plain build
// tracking costs no memory and no instructions.

#ifndef BLKOWN_TRACKING_HPP
#define BLKOWN_TRACKING_HPP

#include <blkown/config.hpp>
#include <blkown/detail/holder_list.hpp>
#include <blkown/place.hpp>

namespace blkown {
inline namespace BLKOWN_ABI {

class RequestHeader;

/// Whether handles store where they were taken.
inline constexpr bool is_tracking = BLKOWN_TRACKING != 0;

#if BLKOWN_TRACKING

/// The place that a reference stores: the defaulted last parameter of each function that makes one.
using TrackedPlace = Place;

#else

/// Is made from a Place and stores nothing, so that not even a register is used to pass it.
struct TrackedPlace {
  /// Forgets the place.
  constexpr TrackedPlace(const Place&) noexcept {}
};

#endif

/// Calls `visit(const Place&)` for each live Idle, Owned, Claim and ARef of the request and for
/// each DMA mapping that pins it, oldest first. The place is where the handle was allocated, looked
/// up, started, claimed, pinned, shared, copied, or taken over by from_raw. A move keeps the place.
/// A handle that into_raw gave away is not visited until from_raw takes it over. In a plain build
/// nothing is visited.
/// Synchronization: each sixteen places are read at one moment. If handles are taken or dropped
/// between two such moments, a handle may be visited twice or not at all.
/// Context: any but an interrupt. `visit` may take and drop handles.
template <class Visit>
void visit_holders(const RequestHeader& request, Visit&& visit) {
  detail::visit_holders_of(&request, visit);
}

}  // namespace BLKOWN_ABI
}  // namespace blkown

#endif
