// SPDX-License-Identifier: BSL-1.0
// The other half. If it is built with other choices (config.hpp), it must not link.
#include <blkown/blkown.hpp>

void take(blkown::Owned<blkown::Request<int>> owned);

void take(blkown::Owned<blkown::Request<int>> owned) { std::move(owned).end_ok(); }
