# SPDX-License-Identifier: BSL-1.0
# Installs the project as a packager does and moves the installed tree to PREFIX. An installed file
# that contains a path of the build or of the first prefix then breaks the consumers.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${WORK_DIR} ${PREFIX})
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${SOURCE_ROOT} -B ${WORK_DIR}/build -G ${GENERATOR} -C ${TOOLCHAIN}
    -D CMAKE_INSTALL_PREFIX=${WORK_DIR}/first_place
    -D BLKOWN_BUILD_TESTS=OFF -D BLKOWN_BUILD_BENCH=OFF -D BLKOWN_BUILD_EXAMPLES=OFF
  COMMAND_ERROR_IS_FATAL ANY)
execute_process(
  COMMAND ${CMAKE_COMMAND} --install ${WORK_DIR}/build
  COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${WORK_DIR}/first_place ${PREFIX})
