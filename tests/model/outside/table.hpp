// SPDX-License-Identifier: BSL-1.0
//
// A table of all scenarios, for runners that are compiled once for all of them.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_TABLE_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_TABLE_HPP

#include <cstddef>
#include <new>

#include "scenarios.hpp"

namespace word {

struct Entry {
  const char* name;
  unsigned thread_count;
  void (*make)(void* at);
  void (*thread)(void* object, unsigned index);
  void (*finish)(void* object);  ///< Destroys the object as well.
};

template <class P>
constexpr Entry entry(const char* name) {
  using Object = typename P::Object;
  return {name, P::thread_count, [](void* at) { ::new (at) Object; },
          [](void* object, unsigned index) { P::run_thread(*static_cast<Object*>(object), index); },
          [](void* object) {
            static_cast<Object*>(object)->finish();
            static_cast<Object*>(object)->~Object();
          }};
}

inline constexpr Entry table[] = {
#define WORD_SCENARIO(name, ...) entry<programs::name>(#name),
#include "scenarios.inc"
#undef WORD_SCENARIO
};

/// Storage for the largest scenario.
union Storage {
  constexpr Storage() {}
  ~Storage() {}
#define WORD_SCENARIO(name, ...) programs::name::Object name;
#include "scenarios.inc"
#undef WORD_SCENARIO
};

}  // namespace word

#endif
