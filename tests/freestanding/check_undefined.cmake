# SPDX-License-Identifier: BSL-1.0
# cmake -DNM=<nm> -DOBJECT=<object file> -P check_undefined.cmake
# Fails if the object file has an undefined symbol that a freestanding environment does not have.
execute_process(COMMAND ${NM} -u ${OBJECT}
  OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
if(NOT EXISTS ${OBJECT})
  message(FATAL_ERROR "${OBJECT}: no such file")
endif()

# Allowed are the functions that every compiler may call implicitly, helpers of its run-time library
# that replace machine instructions (division on ARM, the choice of atomics on AArch64), and a
# symbol that the linker defines.
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
