// SPDX-License-Identifier: BSL-1.0
//
// All of the DMA types but for the backends.

#ifndef BLKOWN_DMA_DMA_HPP
#define BLKOWN_DMA_DMA_HPP

#include <blkown/dma/backend.hpp>
#include <blkown/dma/bounce_pool.hpp>
#include <blkown/dma/coherent.hpp>
#include <blkown/dma/device.hpp>
#include <blkown/dma/iova.hpp>
#include <blkown/dma/iova_list.hpp>
#include <blkown/dma/mapping.hpp>
#include <blkown/dma/proof.hpp>

#endif
