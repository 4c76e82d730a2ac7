# SPDX-License-Identifier: BSL-1.0
# Prints the objects of PROGRAM in gdb and compares each text.
cmake_minimum_required(VERSION 3.25)

# An expression of the program, and gdb's text of it as a regular expression. The pointers of a
# mapping and generations that a run chooses are left open.
set(expressions "")
set(texts "")
macro(prints expression text)
  list(APPEND expressions -ex "print ${expression}")
  list(APPEND texts "${text}")
endmacro()

set(claimed "queue 0 tag 5, count 4 claimed, generation [0-9]+")
prints("claim" "Claim of ${claimed} = {sectors = 8}")
prints("pin" "ARef of ${claimed} = {sectors = 8}")
prints("cookie" "cookie 0x[0-9a-f]+ .queue 0 tag 5 generation [0-9]+.")
prints("error" "(stale_generation|early|no_such_tag): queue 0 tag 4095, id has generation 0, request has generation [0-9]+")
prints("layout" "16 bits: queue none, tag 12 bits at 0, generation 4 bits at 12, user none")
prints("piece" "512 bytes at 0x1000")
prints("tags" "TagSet of 2 queues of 8, 2 not idle = {.queue 0 tag 0. = in flight, generation 101, .queue 0 tag 5. = count 4 claimed, generation [0-9]+}")
prints("mapping" "PreparedMapping of 1 elements, from_device, for cookie 0x[0-9a-f]+ .queue 0 tag 5 generation [0-9]+. = {.0. = 512 bytes at 0x10000}")
prints("own.header" "queue 0 tag 0, idle, generation 0")
set(first ${expressions})
set(expressions "")
prints("bio" "Bio write, sector 8, 4096 bytes, in flight, 1 parts")
prints("disk" "Disk 'gdb0', up, 1 requests not idle = {.queue 0 tag [0-9]+. = in flight, generation [0-9]+}")

set(source "")
if(WAY STREQUAL "script")
  set(source -ex "source ${SCRIPT}")
endif()
execute_process(
  COMMAND ${GDB} -nx -batch -iex "set auto-load safe-path /" -iex "set debuginfod enabled off"
    ${source} -ex "set width 0" -ex "break gdb_stops_here" -ex run -ex up ${first} -ex continue -ex up
    ${expressions} -ex continue ${PROGRAM}
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result TIMEOUT 50)
set(number 0)
set(missing "")
foreach(text IN LISTS texts)
  math(EXPR number "${number} + 1")
  if(NOT output MATCHES "\\\$${number} = ${text}\n")
    string(APPEND missing "\n  $${number} = ${text}")
  endif()
endforeach()
if(missing OR NOT result EQUAL 0 OR NOT output MATCHES "exited normally")
  message(FATAL_ERROR "gdb ended with ${result}; it did not print${missing}\nIt printed:\n${output}")
endif()
message(STATUS "${number} texts")
