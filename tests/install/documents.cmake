# SPDX-License-Identifier: BSL-1.0
# The documents for users and contributors are installed with the contents of the tree's files: the
# pages of the folders where the first page links to them.
cmake_minimum_required(VERSION 3.25)

file(GLOB_RECURSE pages RELATIVE ${SOURCE_ROOT} ${SOURCE_ROOT}/include/blkown/README.md)
if(NOT "include/blkown/mq/README.md" IN_LIST pages)
  message(FATAL_ERROR "no page of include/blkown/mq among: ${pages}")
endif()

foreach(document LICENSE README.md .github/CHANGELOG.md .github/CONTRIBUTING.md)
  get_filename_component(file_name ${document} NAME)
  list(APPEND copies "${document}=${file_name}")
endforeach()
foreach(page IN LISTS pages)
  list(APPEND copies "${page}=${page}")
endforeach()

foreach(copy IN LISTS copies)
  string(REGEX REPLACE "=.*" "" document "${copy}")
  string(REGEX REPLACE ".*=" "" place "${copy}")
  set(installed ${PREFIX}/share/doc/blkown/${place})
  if(NOT EXISTS ${installed})
    message(FATAL_ERROR "${document} is not installed as ${installed}")
  endif()
  file(SHA256 ${SOURCE_ROOT}/${document} expected)
  file(SHA256 ${installed} seen)
  if(NOT seen STREQUAL expected)
    message(FATAL_ERROR "${installed} differs from ${document}")
  endif()
endforeach()
