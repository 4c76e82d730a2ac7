# SPDX-License-Identifier: BSL-1.0
# Goal: no place is forgotten when a LookupReason is added.
# Method: adds a LookupReason behind the last, step by step. The compiler must point at each next
# step.
include(${CMAKE_CURRENT_LIST_DIR}/recipe.cmake)

set(header include/blkown/tag.hpp)
set(order tests/core/tag_test.cpp)
set(values tests/stress/hostile_values.hpp)
set(actor tests/stress/traffic_actor.hpp)
set(attack tests/stress/hostile_lookup_test.cpp)
copy(include tests/stress ${order})
expect_green(${header})

edit(${header} "  shared," "  shared,\n  fresh,")
expect_red(${header} ${header} "switch (reason)")

edit(${header}
  "case LookupReason::shared: return \"shared\";"
  "case LookupReason::shared: return \"shared\";\n    case LookupReason::fresh: return \"fresh\";")
expect_red(${header} ${header} "static_assert(detail::counts_enumerators<LookupReason>")

edit(${header} "(LookupReason::shared) + 1" "(LookupReason::fresh) + 1")
expect_green(${header} include/blkown/mq/counters.hpp)

expect_red(${order} ${order} "static_assert(std::size(order) == ")
edit(${order} "shared};" "shared, fresh};")
expect_green(${order})

expect_red(${values} ${values} "switch (error.reason)")
edit(${values} "case LookupReason::shared:" "case LookupReason::shared:\n    case LookupReason::fresh:")

expect_red(${actor} ${actor} "switch (look_up(arrival))")
edit(${actor}
  "case blkown::LookupReason::shared:"
  "case blkown::LookupReason::shared:\n      case blkown::LookupReason::fresh:")

expect_red(${attack} ${attack} "switch (reason)")
edit(${attack}
  "case LookupReason::shared: return true;"
  "case LookupReason::shared:\n    case LookupReason::fresh: return true;")
expect_green(${attack})

expect_recipe("Add a LookupReason")
