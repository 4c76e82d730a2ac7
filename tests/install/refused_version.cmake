# SPDX-License-Identifier: BSL-1.0
# A request for a version that does not exist is refused for that reason and no other.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${WORK_DIR})
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/find_package -B ${WORK_DIR} -G ${GENERATOR}
    -C ${TOOLCHAIN}
    -D CMAKE_PREFIX_PATH=${PREFIX}
    -D BLKOWN_REQUESTED_VERSION=99
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "find_package(blkown 99) found something:\n${output}")
endif()
if(NOT output MATCHES "requested version \"99\"" OR
   NOT output MATCHES "blkown-config.cmake, version: ${PROJECT_VERSION}")
  message(FATAL_ERROR "find_package(blkown 99) failed for another reason:\n${output}")
endif()
