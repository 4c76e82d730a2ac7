# SPDX-License-Identifier: BSL-1.0
# Commands for a script that performs a recipe of .github/CONTRIBUTING.md step by step, and checks that
# the compiler points at the place of the next step. The script gets:
#   ROOT      the tree, which is only read
#   WORK      a folder for the copy
#   COMPILE   the compiler with its options
cmake_minimum_required(VERSION 3.25)

set(ENV{LC_ALL} C)
set(pointed_at "")

# copy(<file or folder>...): fills the copy of the tree.
function(copy)
  file(REMOVE_RECURSE ${WORK})
  foreach(path IN LISTS ARGN)
    cmake_path(GET path PARENT_PATH folder)
    file(COPY ${ROOT}/${path} DESTINATION ${WORK}/${folder})
  endforeach()
endfunction()

# edit(<file> <old> <new>): replaces text that occurs exactly once.
function(edit file old new)
  file(READ ${WORK}/${file} text)
  string(FIND "${text}" "${old}" first)
  string(FIND "${text}" "${old}" last REVERSE)
  if(first EQUAL -1 OR NOT first EQUAL last)
    message(FATAL_ERROR "${file} does not contain this text exactly once:\n${old}")
  endif()
  string(REPLACE "${old}" "${new}" text "${text}")
  file(WRITE ${WORK}/${file} "${text}")
endfunction()

# compile(<file>): `errors` is the list of the error messages.
function(compile file)
  execute_process(
    COMMAND ${COMPILE} -I${WORK}/include -I${WORK}/tests -fsyntax-only -x c++ ${WORK}/${file}
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REPLACE "${WORK}/" "" output "${output}")
  # Semicolons and brackets would change how CMake splits the list.
  string(REGEX REPLACE "[][;]" " " output "${output}")
  string(REGEX MATCHALL "[^\n]+:[0-9]+:[0-9]+: error: [^\n]*" errors "${output}")
  if(NOT result EQUAL 0 AND NOT errors)
    message(FATAL_ERROR "${file}: the compiler failed without an error message:\n${output}")
  endif()
  set(errors "${errors}" PARENT_SCOPE)
endfunction()

# expect_green(<file>...): each compiles.
function(expect_green)
  foreach(file IN LISTS ARGN)
    compile(${file})
    if(errors)
      list(JOIN errors "\n" lines)
      message(FATAL_ERROR "${file} does not compile:\n${lines}")
    endif()
    message(STATUS "${file} compiles")
  endforeach()
endfunction()

# expect_red(<file> <place> <text>): compiling the file gives errors, all of them in the line of the
# file <place> that contains the text.
macro(expect_red file place text)
  _expect_red("${file}" "${place}" "${text}")
  list(APPEND pointed_at ${place})
endmacro()
function(_expect_red file place text)
  file(READ ${WORK}/${place} source)
  string(FIND "${source}" "${text}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "${place} does not contain: ${text}")
  endif()
  string(SUBSTRING "${source}" 0 ${at} before)
  string(REGEX MATCHALL "\n" newlines "${before}")
  list(LENGTH newlines line)
  math(EXPR line "${line} + 1")
  compile(${file})
  list(JOIN errors "\n" lines)
  if(NOT errors)
    message(FATAL_ERROR "${file} compiles; no error points at ${place}:${line}")
  endif()
  foreach(error IN LISTS errors)
    string(FIND "${error}" "${place}:${line}:" found)
    if(found EQUAL -1)
      message(FATAL_ERROR "expected only errors at ${place}:${line}, got:\n${lines}")
    endif()
  endforeach()
  message(STATUS "${lines}")
endfunction()

# expect_recipe(<heading>): the paths in the recipe are the files that the compiler pointed at.
function(expect_recipe heading)
  file(READ ${ROOT}/.github/CONTRIBUTING.md text)
  string(FIND "${text}" "### ${heading}\n" begin)
  if(begin EQUAL -1)
    message(FATAL_ERROR "CONTRIBUTING.md has no recipe '${heading}'")
  endif()
  string(SUBSTRING "${text}" ${begin} -1 text)
  string(FIND "${text}" "\n### " end)
  string(SUBSTRING "${text}" 0 ${end} text)
  string(REGEX REPLACE "[][;]" " " text "${text}")
  string(REGEX MATCHALL "`(include|tests)/[a-z0-9_./]+`" paths "${text}")
  list(TRANSFORM paths REPLACE "`" "")
  list(REMOVE_DUPLICATES paths)
  list(REMOVE_DUPLICATES pointed_at)
  list(SORT paths)
  list(SORT pointed_at)
  if(NOT paths STREQUAL pointed_at)
    message(FATAL_ERROR "The recipe '${heading}' lists: ${paths}\nThe compiler pointed at: ${pointed_at}")
  endif()
endfunction()
