# SPDX-License-Identifier: BSL-1.0
# 32-bit Arm under QEMU user mode: Debian's g++-12-arm-linux-gnueabihf and qemu-user-static. Its
# 64-bit atomics are lock-free, so that both word widths run here.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(CMAKE_CXX_COMPILER arm-linux-gnueabihf-g++-12)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-arm-static;-L;/usr/arm-linux-gnueabihf)
# GCC notes, for the sake of libraries built with GCC 6, that it passes some arguments otherwise.
set(CMAKE_CXX_FLAGS_INIT -Wno-psabi)
