// SPDX-License-Identifier: BSL-1.0
//
// Includes all public headers of the core.

#ifndef BLKOWN_BLKOWN_HPP
#define BLKOWN_BLKOWN_HPP

// IWYU pragma: begin_exports
#include <blkown/aref.hpp>
#include <blkown/check.hpp>
#include <blkown/claim.hpp>
#include <blkown/config.hpp>
#include <blkown/detail/ref_value.hpp>
#include <blkown/detail/ref_word.hpp>
#include <blkown/ended.hpp>
#include <blkown/idle.hpp>
#include <blkown/owned.hpp>
#include <blkown/place.hpp>
#include <blkown/publish.hpp>
#include <blkown/refcounted.hpp>
#include <blkown/request.hpp>
#include <blkown/segment.hpp>
#include <blkown/status.hpp>
#include <blkown/tag.hpp>
#include <blkown/tag_cache.hpp>
#include <blkown/tag_set.hpp>
#include <blkown/tag_set_config.hpp>
#include <blkown/tracking.hpp>
// IWYU pragma: end_exports

#endif
