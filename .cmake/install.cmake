# SPDX-License-Identifier: BSL-1.0
# Install rules: headers, the CMake package, the pkg-config file, the documents. Nothing depends on
# the architecture, so the CMake package and the pkg-config file go to the data directory.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# What is installed needs no build: neither `make install` nor cpack compiles the tests and examples.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY TRUE)

set(BLKOWN_PACKAGE_DIR ${CMAKE_INSTALL_DATADIR}/cmake/blkown)

get_property(blkown_libraries GLOBAL PROPERTY blkown_libraries)
install(TARGETS ${blkown_libraries}
  EXPORT blkown-targets
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILE_SET inner DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT blkown-targets
  NAMESPACE blkown::
  DESTINATION ${BLKOWN_PACKAGE_DIR})

# find_package(COMPONENTS) uses the names of the exported targets, and "core" for blkown::blkown.
set(BLKOWN_COMPONENTS core)
foreach(library IN LISTS blkown_libraries)
  get_target_property(component ${library} EXPORT_NAME)
  if(NOT component STREQUAL "blkown")
    list(APPEND BLKOWN_COMPONENTS ${component})
  endif()
endforeach()
configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/blkown-config.cmake.in
  ${PROJECT_BINARY_DIR}/blkown-config.cmake
  INSTALL_DESTINATION ${BLKOWN_PACKAGE_DIR})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/blkown-config-version.cmake
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES
  ${PROJECT_BINARY_DIR}/blkown-config.cmake
  ${PROJECT_BINARY_DIR}/blkown-config-version.cmake
  DESTINATION ${BLKOWN_PACKAGE_DIR})

file(RELATIVE_PATH BLKOWN_PC_PREFIX
  ${CMAKE_INSTALL_FULL_DATADIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" BLKOWN_PC_PREFIX "${BLKOWN_PC_PREFIX}")
if(IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(BLKOWN_PC_INCLUDEDIR ${CMAKE_INSTALL_INCLUDEDIR})
else()
  set(BLKOWN_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
configure_file(
  ${CMAKE_CURRENT_LIST_DIR}/blkown.pc.in
  ${PROJECT_BINARY_DIR}/blkown.pc
  @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/blkown.pc
  DESTINATION ${CMAKE_INSTALL_DATADIR}/pkgconfig)

# gdb finds a module in the python folder of its data directory.
install(FILES ${PROJECT_SOURCE_DIR}/include/blkown/gdb_printers.py
  DESTINATION ${CMAKE_INSTALL_DATADIR}/gdb/python
  RENAME blkown_printers.py)

include(${CMAKE_CURRENT_LIST_DIR}/documents.cmake)
