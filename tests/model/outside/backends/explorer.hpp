// SPDX-License-Identifier: BSL-1.0
//
// The backend for the project's own explorer.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_EXPLORER_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_BACKENDS_EXPLORER_HPP

#include <source_location>

#include "../../explorer/explorer.hpp"

#define BLKOWN_ATOMIC model::atomic
#define BLKOWN_ATOMIC_NAME model

namespace checker {

inline void require(bool condition, std::source_location place = std::source_location::current()) {
  model::check(condition, "required", place);
}

template <class T>
using Data = model::Data<T>;

}  // namespace checker

#endif
