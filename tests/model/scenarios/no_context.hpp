// SPDX-License-Identifier: BSL-1.0
//
// Leaves the contexts that an abandoned execution was running.

#ifndef BLKOWN_TESTS_MODEL_SCENARIOS_NO_CONTEXT_HPP
#define BLKOWN_TESTS_MODEL_SCENARIOS_NO_CONTEXT_HPP

#include "fixture.hpp"

// The fixture comes first: it chooses the explorer's atomic.
#include <blkown/mq/context.hpp>
#include <cstddef>
#include <new>

/// Makes the thread run no context of a scenario. All executions have one thread. An execution that
/// is cut abandons its fibres within their Context::Scopes, and the context of the next execution
/// may have the same address.
inline void leave_contexts() {
  using blkown::mq::Context;
  alignas(Context) static std::byte elsewhere[sizeof(Context)];
  alignas(Context::Scope) static std::byte scope[sizeof(Context::Scope)];
  new (scope) Context::Scope{reinterpret_cast<Context&>(elsewhere)};  // never destroyed
}

#endif
