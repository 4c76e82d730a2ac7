# SPDX-License-Identifier: BSL-1.0
# The documents for users and contributors are installed with the contents of the tree's files.
cmake_minimum_required(VERSION 3.25)

foreach(document LICENSE README.md .github/CHANGELOG.md .github/CONTRIBUTING.md)
  get_filename_component(file_name ${document} NAME)
  set(installed ${PREFIX}/share/doc/blkown/${file_name})
  if(NOT EXISTS ${installed})
    message(FATAL_ERROR "${document} is not installed as ${installed}")
  endif()
  file(SHA256 ${SOURCE_ROOT}/${document} expected)
  file(SHA256 ${installed} seen)
  if(NOT seen STREQUAL expected)
    message(FATAL_ERROR "${installed} differs from ${document}")
  endif()
endforeach()
