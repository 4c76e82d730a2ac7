# SPDX-License-Identifier: BSL-1.0
# Checks that the driver in include/blkown/mq/README.md is a copy of the driver in
# examples/ram_disk.cpp.
cmake_minimum_required(VERSION 3.25)

function(driver_of path result)
  file(READ ${ROOT}/${path} text)
  string(FIND "${text}" "struct RamDisk {\n" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "${path}: no struct RamDisk")
  endif()
  string(SUBSTRING "${text}" ${begin} -1 text)
  string(FIND "${text}" "\n};\n" end)
  string(SUBSTRING "${text}" 0 ${end} text)
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

driver_of(include/blkown/mq/README.md in_readme)
driver_of(examples/ram_disk.cpp in_example)
if(NOT in_readme STREQUAL in_example)
  message(FATAL_ERROR "RamDisk differs: copy it from examples/ram_disk.cpp"
    " to include/blkown/mq/README.md")
endif()
