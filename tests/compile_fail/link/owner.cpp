// SPDX-License-Identifier: BSL-1.0
// The half that receives the request. Halves that are built with different choices (config.hpp)
// must not link.
#include <blkown/blkown.hpp>

void take(blkown::Owned<blkown::Request<int>> owned);

void take(blkown::Owned<blkown::Request<int>> owned) { std::move(owned).end_ok(); }
