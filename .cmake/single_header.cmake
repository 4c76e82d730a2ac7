# SPDX-License-Identifier: BSL-1.0
# Writes the library as single headers to the folder OUTPUT:
#   blkown.hpp      the core
#   blkown_mq.hpp   the core, dma and mq, with the runtimes
#   blkown_nvme.hpp the wire format of NVMe
# Usage: cmake -D INCLUDE=<folder of headers> -D VERSION=<version> -D OUTPUT=<folder> -P <this file>
#
# The first include of each header becomes its text, and the later ones go. A header that is included
# only under a condition may be needed elsewhere without it: it is written again there, and its guard
# makes one of the two empty. The guards are those of the headers, so that a program may include both
# a single header and headers of the library.
cmake_minimum_required(VERSION 3.25)

# append_header(<header> <is_conditional>): appends the text of blkown/<header> to the variable text.
function(append_header header is_conditional)
  file(READ ${INCLUDE}/blkown/${header} rest)
  if(NOT is_conditional)
    list(APPEND written ${header})
  endif()
  # The guard is the first condition.
  set(depth -1)
  set(begin "\n#include <blkown/")
  string(LENGTH "${begin}" begin_length)
  while(TRUE)
    string(FIND "${rest}" "${begin}" at)
    if(at EQUAL -1)
      break()
    endif()
    string(SUBSTRING "${rest}" 0 ${at} before)
    string(APPEND text "${before}\n")
    count_of("${before}" "\n#if" opened)
    count_of("${before}" "\n#endif" closed)
    math(EXPR depth "${depth} + ${opened} - ${closed}")
    math(EXPR at "${at} + ${begin_length}")
    string(SUBSTRING "${rest}" ${at} -1 rest)
    string(FIND "${rest}" ">" length)
    string(SUBSTRING "${rest}" 0 ${length} included)
    string(FIND "${rest}" "\n" length)
    string(SUBSTRING "${rest}" ${length} -1 rest)
    if(depth GREATER 0)
      set(nested TRUE)
    else()
      set(nested ${is_conditional})
    endif()
    if(NOT included IN_LIST written)
      append_header(${included} ${nested})
    endif()
  endwhile()
  set(text "${text}${rest}" PARENT_SCOPE)
  set(written ${written} PARENT_SCOPE)
endfunction()

# count_of(<text> <part> <variable>): how often the part is in the text.
function(count_of text part variable)
  string(LENGTH "${text}" whole)
  string(REPLACE "${part}" "" without "${text}")
  string(LENGTH "${without}" length)
  string(LENGTH "${part}" part_length)
  math(EXPR count "(${whole} - ${length}) / ${part_length}")
  set(${variable} ${count} PARENT_SCOPE)
endfunction()

# single_header(<file> <what> <header>...)
function(single_header file what)
  set(text "// SPDX-License-Identifier: BSL-1.0\n// blkown ${VERSION}: ${what}, in one file. Generated: do not edit.\n")
  set(written "")
  foreach(header IN LISTS ARGN)
    if(NOT header IN_LIST written)
      append_header(${header} FALSE)
    endif()
  endforeach()
  file(WRITE ${OUTPUT}/${file} "${text}")
endfunction()

single_header(blkown.hpp "the core" blkown.hpp)

# Not the headers that need liburing or Linux's VFIO.
file(GLOB headers RELATIVE ${INCLUDE}/blkown ${INCLUDE}/blkown/dma/*.hpp ${INCLUDE}/blkown/mq/*.hpp)
list(REMOVE_ITEM headers dma/uring_buffers.hpp dma/vfio.hpp dma/vfio_pci.hpp)
single_header(blkown_mq.hpp "the core, DMA mappings and the block layer" blkown.hpp ${headers})

# With the words of rings in memory, which are published by a phase tag.
single_header(blkown_nvme.hpp "the wire format of NVMe" nvme/nvme.hpp dma/ring_word.hpp)
