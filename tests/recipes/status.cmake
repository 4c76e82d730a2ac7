# SPDX-License-Identifier: BSL-1.0
# Goal: no place is forgotten when a Status is added.
# Method: adds a Status behind the last, step by step. The compiler must point at each next step.
# A Status in the middle needs no new count.
include(${CMAKE_CURRENT_LIST_DIR}/recipe.cmake)

set(header include/blkown/status.hpp)
copy(include)
expect_green(${header})

edit(${header} "  aborted," "  aborted,\n  fresh,")
expect_red(${header} ${header} "switch (status)")

edit(${header}
  "case Status::aborted: return \"aborted\";"
  "case Status::aborted: return \"aborted\";\n    case Status::fresh: return \"fresh\";")
expect_red(${header} ${header} "static_assert(detail::counts_enumerators<Status>")

edit(${header} "(Status::aborted) + 1" "(Status::fresh) + 1")
expect_green(${header} include/blkown/mq/counters.hpp)

copy(include)
edit(${header} "  offline," "  fresh,\n  offline,")
edit(${header}
  "case Status::offline: return \"offline\";"
  "case Status::offline: return \"offline\";\n    case Status::fresh: return \"fresh\";")
expect_green(${header} include/blkown/mq/counters.hpp)

expect_recipe("Add a Status")
