# SPDX-License-Identifier: BSL-1.0
# blkown_library(<name>
#   EXPORT_NAME <name>
#   [DEPENDS <target>...]
#   [DEFINITIONS <definition>...]
#   [HEADERS <file>...]       relative to the calling directory, which is below include/
#   [NOT_BY_THEMSELVES <file>...]  further headers, which not every compiler can compile
#   [VERIFY_IF <variable>])   whether the target all_verify_interface_header_sets compiles each header
#                             outside detail/ by itself; PROJECT_IS_TOP_LEVEL unless given
#
# Makes the header-only library <name> and its alias blkown::<EXPORT_NAME>. The global property
# blkown_libraries lists all libraries for the install rules. A header that no list names is neither
# installed nor compiled by itself: the test install.header_set reports it.
function(blkown_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg
    "" "EXPORT_NAME;VERIFY_IF" "DEPENDS;DEFINITIONS;HEADERS;NOT_BY_THEMSELVES")
  if(arg_UNPARSED_ARGUMENTS OR arg_KEYWORDS_MISSING_VALUES OR NOT arg_EXPORT_NAME)
    message(FATAL_ERROR "blkown_library(${name}): EXPORT_NAME is needed, and these arguments are"
      " unknown or have no value: ${arg_UNPARSED_ARGUMENTS} ${arg_KEYWORDS_MISSING_VALUES}")
  endif()

  add_library(${name} INTERFACE)
  add_library(blkown::${arg_EXPORT_NAME} ALIAS ${name})
  set_target_properties(${name} PROPERTIES EXPORT_NAME ${arg_EXPORT_NAME})
  target_compile_features(${name} INTERFACE cxx_std_23)
  target_link_libraries(${name} INTERFACE ${arg_DEPENDS})
  target_compile_definitions(${name} INTERFACE ${arg_DEFINITIONS})

  if(arg_HEADERS)
    list(TRANSFORM arg_HEADERS PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    set(public_headers ${arg_HEADERS})
    list(FILTER public_headers EXCLUDE REGEX "/detail/")
    set(inner_headers ${arg_HEADERS})
    list(FILTER inner_headers INCLUDE REGEX "/detail/")
    list(TRANSFORM arg_NOT_BY_THEMSELVES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    list(APPEND inner_headers ${arg_NOT_BY_THEMSELVES})
    target_sources(${name}
      INTERFACE
        FILE_SET HEADERS
        BASE_DIRS ${PROJECT_SOURCE_DIR}/include
        FILES ${public_headers})
    if(inner_headers)
      target_sources(${name}
        INTERFACE
          FILE_SET inner TYPE HEADERS
          BASE_DIRS ${PROJECT_SOURCE_DIR}/include
          FILES ${inner_headers})
    endif()
  endif()
  if(NOT arg_VERIFY_IF)
    set(arg_VERIFY_IF PROJECT_IS_TOP_LEVEL)
  endif()
  if(${arg_VERIFY_IF} AND arg_HEADERS)
    set_target_properties(${name} PROPERTIES
      VERIFY_INTERFACE_HEADER_SETS ON
      INTERFACE_HEADER_SETS_TO_VERIFY HEADERS)
  endif()

  set_property(GLOBAL APPEND PROPERTY blkown_libraries ${name})
endfunction()
