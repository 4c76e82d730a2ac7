// SPDX-License-Identifier: BSL-1.0
//
// The driver of the simulation's README: the reference driver under the README's name.

#ifndef BLKOWN_TESTS_README_MY_DRIVER_HPP
#define BLKOWN_TESTS_README_MY_DRIVER_HPP

#include "sim/nvme_driver.hpp"

class MyDriver : public nvme::DriverOf<MyDriver> {
 public:
  using DriverOf::DriverOf;

 private:
  friend class nvme::DriverOf<MyDriver>;
};

#endif
