# SPDX-License-Identifier: BSL-1.0
# The parts that run on any machine. An initial cache, because a CMake list cannot be an argument in
# the lists of build_and_test.cmake.
set(BLKOWN_TEST_PARTS core mq stress CACHE STRING "" FORCE)
