// SPDX-License-Identifier: BSL-1.0
//
// The driver of the simulation's README: the reference driver under the README's name.

#ifndef BLKOWN_TESTS_README_MY_DRIVER_HPP
#define BLKOWN_TESTS_README_MY_DRIVER_HPP

#include "sim/nvme_ring_driver.hpp"

using MyDriver = nvme_ring::Driver;

#endif
