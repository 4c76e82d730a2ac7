# SPDX-License-Identifier: BSL-1.0
# Provides GTest::gtest, GTest::gtest_main and GTest::gmock. These are Debian's libraries, or a build
# of the sources in the same package for another standard library, another machine, or a sanitizer
# that must see every access.
set(BLKOWN_GOOGLETEST_SOURCE_DIR /usr/src/googletest CACHE PATH
  "GoogleTest's sources, for builds with libc++, a sanitizer or a cross compiler")
find_package(Threads REQUIRED)

if(BLKOWN_USES_LIBCXX OR BLKOWN_USES_SANITIZER OR CMAKE_CROSSCOMPILING)
  if(NOT EXISTS ${BLKOWN_GOOGLETEST_SOURCE_DIR}/CMakeLists.txt)
    message(FATAL_ERROR "The tests need GoogleTest's sources in ${BLKOWN_GOOGLETEST_SOURCE_DIR}:"
      " install libgtest-dev, or set BLKOWN_BUILD_TESTS=OFF")
  endif()
  set(INSTALL_GTEST OFF)
  set(BUILD_SHARED_LIBS OFF)
  add_subdirectory(${BLKOWN_GOOGLETEST_SOURCE_DIR} ${CMAKE_CURRENT_BINARY_DIR}/googletest
    EXCLUDE_FROM_ALL SYSTEM)
  # It takes longer to optimise GoogleTest than the tests would gain.
  target_compile_options(gtest PRIVATE -O0)
  target_compile_options(gtest_main PRIVATE -O0)
  foreach(library gtest gtest_main gmock)
    if(NOT TARGET GTest::${library})
      add_library(GTest::${library} ALIAS ${library})
    endif()
  endforeach()
else()
  find_package(GTest QUIET)
  if(NOT TARGET GTest::gtest_main OR NOT TARGET GTest::gmock)
    message(FATAL_ERROR "The tests need GoogleTest: install libgtest-dev and libgmock-dev,"
      " or set BLKOWN_BUILD_TESTS=OFF")
  endif()
endif()
