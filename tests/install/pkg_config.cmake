# SPDX-License-Identifier: BSL-1.0
# A consumer without CMake: one compiler call with the flags that pkg-config prints.
cmake_minimum_required(VERSION 3.25)
include(${TOOLCHAIN})

file(REMOVE_RECURSE ${WORK_DIR})
file(MAKE_DIRECTORY ${WORK_DIR})
set(ENV{PKG_CONFIG_PATH} ${PREFIX}/share/pkgconfig)

execute_process(
  COMMAND ${PKG_CONFIG} --modversion blkown
  OUTPUT_VARIABLE version
  OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)
if(NOT version STREQUAL PROJECT_VERSION)
  message(FATAL_ERROR "pkg-config says version ${version}, the project is ${PROJECT_VERSION}")
endif()

execute_process(
  COMMAND ${PKG_CONFIG} --cflags --libs blkown
  OUTPUT_VARIABLE package_flags
  OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${CMAKE_CXX_FLAGS} ${package_flags}")
execute_process(
  COMMAND ${CMAKE_CXX_COMPILER} -std=c++23 ${flags} ${CMAKE_CURRENT_LIST_DIR}/consumer.cpp
    -o ${WORK_DIR}/consumer
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND ${WORK_DIR}/consumer
  COMMAND_ERROR_IS_FATAL ANY)
