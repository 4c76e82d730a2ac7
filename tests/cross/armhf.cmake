# SPDX-License-Identifier: BSL-1.0
# 32-bit Arm under QEMU user mode: Debian's g++-12-arm-linux-gnueabihf and qemu-user-static. The
# 64-bit atomics of this machine are lock-free, so both word widths run.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(CMAKE_CXX_COMPILER arm-linux-gnueabihf-g++-12)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-arm-static;-L;/usr/arm-linux-gnueabihf)
# Silences notes that GCC 6 passed some arguments in another way.
set(CMAKE_CXX_FLAGS_INIT -Wno-psabi)
