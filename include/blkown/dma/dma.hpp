// SPDX-License-Identifier: BSL-1.0
//
// Everything of blkown::dma except for the backends.

#ifndef BLKOWN_DMA_DMA_HPP
#define BLKOWN_DMA_DMA_HPP

// IWYU pragma: begin_exports
#include <blkown/dma/backend.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/coherent.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/iova_list.hpp>
#include <blkown/dma/mapping.hpp>
#include <blkown/dma/proof.hpp>
#include <blkown/dma/quarantine.hpp>
#include <blkown/dma/ring_word.hpp>
// IWYU pragma: end_exports

#endif
