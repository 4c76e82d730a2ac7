// SPDX-License-Identifier: BSL-1.0
//
// Everything of blkown::nvme.

#ifndef BLKOWN_NVME_NVME_HPP
#define BLKOWN_NVME_NVME_HPP

// IWYU pragma: begin_exports
#include <blkown/nvme/completion_entry.hpp>
#include <blkown/nvme/dsm.hpp>
#include <blkown/nvme/features.hpp>
#include <blkown/nvme/firmware.hpp>
#include <blkown/nvme/identify.hpp>
#include <blkown/nvme/little_endian.hpp>
#include <blkown/nvme/log_page.hpp>
#include <blkown/nvme/opcode.hpp>
#include <blkown/nvme/prp.hpp>
#include <blkown/nvme/registers.hpp>
#include <blkown/nvme/status.hpp>
#include <blkown/nvme/submission_entry.hpp>
// IWYU pragma: end_exports

#endif
