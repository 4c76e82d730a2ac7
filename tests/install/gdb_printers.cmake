# SPDX-License-Identifier: BSL-1.0
# The pretty-printers are installed as a module of gdb: in the folder, below the prefix, in which a gdb
# with that prefix looks for its own modules. gdb imports them from there.
cmake_minimum_required(VERSION 3.25)

function(ask_gdb result)
  set(commands "")
  foreach(line IN LISTS ARGN)
    list(APPEND commands -ex "python ${line}")
  endforeach()
  execute_process(COMMAND ${GDB} -nx -batch ${commands}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE status TIMEOUT 50)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "gdb ended with ${status}: ${output}")
  endif()
  string(STRIP "${output}" output)
  set(${result} "${output}" PARENT_SCOPE)
endfunction()

ask_gdb(folder "print(gdb.PYTHONDIR)")
if(NOT folder MATCHES "/share/gdb/python$")
  message(FATAL_ERROR "this gdb looks for modules in ${folder}")
endif()
set(folder ${PREFIX}/share/gdb/python)
if(NOT EXISTS ${folder}/blkown_printers.py)
  message(FATAL_ERROR "the printers are not installed as ${folder}/blkown_printers.py")
endif()
ask_gdb(found "import sys" "sys.path.insert(0, '${folder}')" "import blkown_printers"
  "print(blkown_printers.__file__, gdb.pretty_printers[0].name)")
if(NOT found STREQUAL "${folder}/blkown_printers.py blkown")
  message(FATAL_ERROR "gdb does not import the installed printers: ${found}")
endif()
