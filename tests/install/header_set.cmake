# SPDX-License-Identifier: BSL-1.0
# The installed headers are exactly the headers of the tree. This test reports a header that is
# missing in the lists of include/blkown/**/CMakeLists.txt.
cmake_minimum_required(VERSION 3.25)

file(GLOB_RECURSE in_tree RELATIVE ${SOURCE_ROOT}/include ${SOURCE_ROOT}/include/*.hpp)
file(GLOB_RECURSE installed RELATIVE ${PREFIX}/include ${PREFIX}/include/*)
if(NOT in_tree)
  message(FATAL_ERROR "no header in ${SOURCE_ROOT}/include")
endif()

set(forgotten ${in_tree})
list(REMOVE_ITEM forgotten ${installed})
set(surplus ${installed})
list(REMOVE_ITEM surplus ${in_tree})
if(forgotten OR surplus)
  message(FATAL_ERROR "in the tree and not installed: [${forgotten}];"
    " installed and not a header of the tree: [${surplus}]")
endif()

foreach(header IN LISTS in_tree)
  file(SHA256 ${SOURCE_ROOT}/include/${header} expected)
  file(SHA256 ${PREFIX}/include/${header} seen)
  if(NOT seen STREQUAL expected)
    message(FATAL_ERROR "${header} differs from the tree's")
  endif()
endforeach()
