# SPDX-License-Identifier: BSL-1.0
# Checks that CONSUMER cannot be configured with OPTION and that the output matches REASON.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE ${WORK_DIR})
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR}/${CONSUMER} -B ${WORK_DIR} -G ${GENERATOR}
    -C ${TOOLCHAIN}
    -D CMAKE_PREFIX_PATH=${PREFIX}
    -D ${OPTION}
  RESULT_VARIABLE result
  OUTPUT_VARIABLE output
  ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "${CONSUMER} was configured with ${OPTION}:\n${output}")
endif()
# CMake wraps the lines of a message.
string(REGEX REPLACE "[ \n]+" " " text "${output}")
if(NOT text MATCHES "${REASON}")
  message(FATAL_ERROR "${CONSUMER} with ${OPTION} failed for another reason than \"${REASON}\":"
    "\n${output}")
endif()
