# SPDX-License-Identifier: BSL-1.0
# cmake -DNM=<nm> -DOBJECT=<object file> -P check_undefined.cmake
# Fails unless all that the object file needs from elsewhere is what a freestanding environment has.
execute_process(COMMAND ${NM} -u ${OBJECT}
  OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
if(NOT EXISTS ${OBJECT})
  message(FATAL_ERROR "${OBJECT}: no such file")
endif()

# What every compiler may call without being told; helpers of its own run-time library that stand
# for machine instructions (ARM's division, AArch64's choice of atomics); and a name that only the
# linker knows.
set(allowed "^(mem(cpy|move|set|cmp)|__aeabi_.*|__aarch64_(cas|swp|ld(add|clr|eor|set)).*|_GLOBAL_OFFSET_TABLE_)$")

string(REGEX MATCHALL "[^ \n]+\n" names "${output}")
set(unwanted "")
foreach(name IN LISTS names)
  string(STRIP "${name}" name)
  if(NOT name MATCHES "${allowed}")
    list(APPEND unwanted "${name}")
  endif()
endforeach()
if(unwanted)
  list(SORT unwanted)
  message(NOTICE "needs: ${unwanted}")
  message(FATAL_ERROR "${OBJECT} is not freestanding")
endif()
