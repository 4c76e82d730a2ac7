// SPDX-License-Identifier: BSL-1.0
//
// All scenarios as programs, under their names in scenarios.inc.

#ifndef BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_HPP
#define BLKOWN_TESTS_MODEL_OUTSIDE_SCENARIOS_HPP

#include "scenarios/claims.hpp"
#include "scenarios/lives.hpp"
#include "scenarios/lookups.hpp"
#include "scenarios/references.hpp"
#include "scenarios/republished.hpp"

namespace word::programs {

#define WORD_SCENARIO(name, type, ...) using name = checker::Program<type, __VA_ARGS__>;
#include "scenarios.inc"
#undef WORD_SCENARIO

}  // namespace word::programs

#endif
