// SPDX-License-Identifier: BSL-1.0
//
// The block layer's headers for drivers and submitters. A program includes its runtime separately.

#ifndef BLKOWN_MQ_MQ_HPP
#define BLKOWN_MQ_MQ_HPP

// IWYU pragma: begin_exports
#include <blkown/blkown.hpp>
#include <blkown/mq/bio.hpp>
#include <blkown/mq/context.hpp>
#include <blkown/mq/control.hpp>
#include <blkown/mq/counters.hpp>
#include <blkown/mq/disk.hpp>
#include <blkown/mq/disk_config.hpp>
#include <blkown/mq/disk_ref.hpp>
#include <blkown/mq/driver.hpp>
#include <blkown/mq/hw_queue.hpp>
#include <blkown/mq/limits.hpp>
#include <blkown/mq/op.hpp>
#include <blkown/mq/payload.hpp>
#include <blkown/mq/runtime.hpp>
#include <blkown/mq/sync.hpp>
#include <blkown/mq/timer.hpp>
#include <blkown/mq/trace.hpp>
// IWYU pragma: end_exports

#endif
