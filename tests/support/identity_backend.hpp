// SPDX-License-Identifier: BSL-1.0
//
// A backend that maps all memory at its own address, for tests that are not about mapping.

#ifndef BLKOWN_TESTS_SUPPORT_IDENTITY_BACKEND_HPP
#define BLKOWN_TESTS_SUPPORT_IDENTITY_BACKEND_HPP

#include <blkown/dma/identity_backend.hpp>

namespace support {

using blkown::dma::IdentityBackend;

}  // namespace support

#endif
