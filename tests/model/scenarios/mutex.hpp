// SPDX-License-Identifier: BSL-1.0
//
// A mutex for the model: the orders of std::mutex, and a wait that the explorer understands.

#ifndef BLKOWN_TESTS_MODEL_SCENARIOS_MUTEX_HPP
#define BLKOWN_TESTS_MODEL_SCENARIOS_MUTEX_HPP

#include "../explorer/explorer.hpp"

namespace model {

class Mutex {
 public:
  Mutex() { taken_.describe("mutex"); }

  void lock() {
    while (taken_.exchange(true, std::memory_order_acquire)) {
      static_cast<void>(taken_.await_equal(false, std::memory_order_relaxed));
    }
  }
  // A read-modify-write, because a waiter's exchange may have written since lock().
  void unlock() { taken_.exchange(false, std::memory_order_release); }

 private:
  atomic<bool> taken_{false};
};

}  // namespace model

#endif
