// SPDX-License-Identifier: BSL-1.0
//
// Task: a Work that calls a std::function.

#ifndef BLKOWN_TESTS_MQ_TASK_HPP
#define BLKOWN_TESTS_MQ_TASK_HPP

#include <blkown/mq/context.hpp>
#include <functional>
#include <utility>

namespace fake {

struct Task : blkown::mq::Work {
  explicit Task(std::function<void()> its_call)
      : Work{[](void* self, Work&) { static_cast<Task*>(self)->call(); }, this},
        call{std::move(its_call)} {}
  std::function<void()> call;
};

}  // namespace fake

#endif
