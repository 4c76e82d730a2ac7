# SPDX-License-Identifier: BSL-1.0
# Builds the project with a cross compiler and runs the tests that run on any machine.
#   cmake -D SOURCE_DIR= -D BUILD_DIR= -D TOOLCHAIN= -D GENERATOR= -P build_and_test.cmake
# The emulator is slow, so the stress tests keep their default counts.
foreach(step IN ITEMS
    "${CMAKE_COMMAND};-C;${CMAKE_CURRENT_LIST_DIR}/parts.cmake;-S;${SOURCE_DIR};-B;${BUILD_DIR};-G;${GENERATOR};-DCMAKE_TOOLCHAIN_FILE=${TOOLCHAIN};-DCMAKE_BUILD_TYPE=RelWithDebInfo;-DBLKOWN_BUILD_EXAMPLES=OFF;-DBLKOWN_BUILD_BENCH=OFF;-DBLKOWN_BUILD_TESTS=ON"
    "${CMAKE_COMMAND};--build;${BUILD_DIR}"
    "${CMAKE_CTEST_COMMAND};--test-dir;${BUILD_DIR};-j;2;-L;^(core|mq|stress)$;--output-on-failure;--no-tests=error")
  execute_process(COMMAND ${step} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    list(JOIN step " " line)
    message(FATAL_ERROR "failed: ${line}")
  endif()
endforeach()
