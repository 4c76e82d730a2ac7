# SPDX-License-Identifier: BSL-1.0
# Configures, builds and runs the project in the folder CONSUMER. Then checks that installing the
# consumer installs no file of the library.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${WORK_DIR})
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/${CONSUMER} -B ${WORK_DIR} -G ${GENERATOR}
    -C ${TOOLCHAIN}
    -D CMAKE_BUILD_TYPE=${BUILD_TYPE}
    -D CMAKE_PREFIX_PATH=${PREFIX}
    -D BLKOWN_SOURCE_ROOT=${SOURCE_ROOT}
  COMMAND_ERROR_IS_FATAL ANY)
set(config "")
if(BUILD_TYPE)
  set(config --config ${BUILD_TYPE})
endif()
execute_process(
  COMMAND ${CMAKE_COMMAND} --build ${WORK_DIR} ${config}
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND ${WORK_DIR}/consumer
  COMMAND_ERROR_IS_FATAL ANY)

execute_process(
  COMMAND ${CMAKE_COMMAND} --install ${WORK_DIR} --prefix ${WORK_DIR}/stage
  COMMAND_ERROR_IS_FATAL ANY)
file(GLOB_RECURSE installed ${WORK_DIR}/stage/*)
if(installed)
  message(FATAL_ERROR "the consumer's installation holds files of the library: ${installed}")
endif()
