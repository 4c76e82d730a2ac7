# SPDX-License-Identifier: BSL-1.0
# Install rules: headers, the CMake package, the pkg-config file. Nothing depends on the
# architecture, so all but the headers goes to the data directory.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(BLKOWN_PACKAGE_DIR ${CMAKE_INSTALL_DATADIR}/cmake/blkown)

install(TARGETS blkown blkown_tracking blkown_dma blkown_dma_uring blkown_mq blkown_sim
  EXPORT blkown-targets
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT blkown-targets
  NAMESPACE blkown::
  DESTINATION ${BLKOWN_PACKAGE_DIR})

configure_package_config_file(
  ${CMAKE_CURRENT_LIST_DIR}/blkown-config.cmake.in
  ${PROJECT_BINARY_DIR}/blkown-config.cmake
  INSTALL_DESTINATION ${BLKOWN_PACKAGE_DIR})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/blkown-config-version.cmake
  COMPATIBILITY SameMajorVersion
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

install(FILES ${PROJECT_SOURCE_DIR}/LICENSE
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
