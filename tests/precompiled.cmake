# SPDX-License-Identifier: BSL-1.0
# Divides the programs of blkown_test into groups with the same options, and gives each group of three
# or more a precompiled header.
get_property(programs GLOBAL PROPERTY blkown_test_programs)
set(groups "")
foreach(program IN LISTS programs)
  get_target_property(options ${program} COMPILE_OPTIONS)
  string(MAKE_C_IDENTIFIER "${options}" group)
  list(APPEND groups ${group})
  list(APPEND programs_of_${group} ${program})
  set(options_of_${group} ${options})
endforeach()
list(REMOVE_DUPLICATES groups)

set(source ${CMAKE_CURRENT_BINARY_DIR}/precompiled.cpp)
file(CONFIGURE OUTPUT ${source} CONTENT "")
set(count 0)
foreach(group IN LISTS groups)
  list(LENGTH programs_of_${group} length)
  if(length LESS 3)
    continue()
  endif()
  math(EXPR count "${count} + 1")
  set(provider tests_precompiled_${count})
  add_library(${provider} OBJECT ${source})
  set_target_properties(${provider} PROPERTIES CXX_EXTENSIONS OFF)
  target_compile_options(${provider} PRIVATE ${options_of_${group}})
  target_link_libraries(${provider} PRIVATE blkown::blkown blkown_warnings GTest::gtest_main)
  target_precompile_headers(${provider} PRIVATE
    <gtest/gtest.h> <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <cstdio>
    <cstring> <expected> <functional> <memory> <mutex> <optional> <span> <string> <string_view>
    <thread> <utility> <vector>)
  foreach(program IN LISTS programs_of_${group})
    target_precompile_headers(${program} REUSE_FROM ${provider})
  endforeach()
endforeach()
