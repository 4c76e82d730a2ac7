# SPDX-License-Identifier: BSL-1.0
#
# cmake -D PROGRAM=<adversary> -D DRIVER=<name> -D SCRIPT=<regex> -D OPTIONS=<list> -P shrinks.cmake
#
# The program shrinks the first failing run of the driver within 30 seconds: the finding stays the same
# but for its numbers, and the script has at most five faults and matches the regex, if there is one.
execute_process(COMMAND ${PROGRAM} --driver ${DRIVER} --seeds 1000 --shrink ${OPTIONS}
  OUTPUT_VARIABLE output ERROR_VARIABLE progress RESULT_VARIABLE code TIMEOUT 30)
if(NOT code EQUAL 1)
  message(FATAL_ERROR "the program returned ${code}:\n${output}${progress}")
endif()
# A finding may have a semicolon, which would end an element of a list.
string(REPLACE ";" "," reports "${output}")
string(REGEX MATCHALL "(^|\n)seed [0-9]+, event [0-9]+, in [^\n]+" findings "${reports}")
list(LENGTH findings count)
if(NOT count EQUAL 2)
  message(FATAL_ERROR "${count} reports instead of those of the first and the shortest run:\n${output}")
endif()
list(TRANSFORM findings REPLACE "[0-9]+" "N")
# The place may be another one, for example the interrupt of another queue.
list(TRANSFORM findings REPLACE "\n?seed N, event N, in [^:]*: " "")
list(GET findings 0 first)
list(GET findings 1 shortest)
if(NOT first STREQUAL shortest)
  message(FATAL_ERROR "another finding: '${first}', then '${shortest}'")
endif()
if(NOT output MATCHES "\nshortest: [^\n]* --script ([^ \n]+)\n")
  message(FATAL_ERROR "no shortest script:\n${output}")
endif()
set(script "${CMAKE_MATCH_1}")
string(REGEX MATCHALL "@" faults "${script}")
list(LENGTH faults count)
if(count GREATER 5 OR (SCRIPT AND NOT script MATCHES "^${SCRIPT}$"))
  message(FATAL_ERROR "the script is not short: ${script}")
endif()
if(NOT progress MATCHES "shrink: seed [0-9]+: [0-9]+ faults, [0-9]+ I/Os after [0-9]+ runs")
  message(FATAL_ERROR "no progress was printed: ${progress}")
endif()
