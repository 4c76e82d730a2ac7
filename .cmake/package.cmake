# SPDX-License-Identifier: BSL-1.0
# The forms in which the library is given away: single headers, a Debian package, reference pages.

# Single headers in <build>/single_header.
add_custom_target(blkown_single_headers
  COMMAND ${CMAKE_COMMAND}
    -D INCLUDE=${PROJECT_SOURCE_DIR}/include
    -D VERSION=${PROJECT_VERSION}
    -D OUTPUT=${PROJECT_BINARY_DIR}/single_header
    -P ${CMAKE_CURRENT_LIST_DIR}/single_header.cmake
  COMMENT "Writing single headers to ${PROJECT_BINARY_DIR}/single_header"
  VERBATIM)

# Reference pages in <build>/reference/html.
set(BLKOWN_REFERENCE_DIR ${PROJECT_BINARY_DIR}/reference)
configure_file(${CMAKE_CURRENT_LIST_DIR}/Doxyfile.in ${BLKOWN_REFERENCE_DIR}/Doxyfile @ONLY)
add_custom_target(blkown_reference
  COMMAND doxygen ${BLKOWN_REFERENCE_DIR}/Doxyfile
  WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
  COMMENT "Writing reference pages to ${BLKOWN_REFERENCE_DIR}/html"
  VERBATIM)

# The Debian package: cpack -G DEB in the build folder.
if(NOT BLKOWN_INSTALL)
  return()
endif()
set(BLKOWN_PACKAGE_CONTACT "" CACHE STRING
  "Who maintains the Debian package: a name and an address, as in 'Ann Author <ann@example.org>'")
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT ${BLKOWN_PACKAGE_CONTACT})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_LIST_DIR}/package_contact.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian_documents.cmake)
set(CPACK_BLKOWN_SOURCE_DIR ${PROJECT_SOURCE_DIR})
set(CPACK_DEBIAN_PACKAGE_NAME libblkown-dev)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "liburing-dev")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "ownership types for block requests, for driver authors")
set(CPACK_PACKAGE_DESCRIPTION
  "blkown is a header-only C++23 library for authors of block drivers: NBD\n\
servers, ublk and vhost-user targets, user-space NVMe drivers, hobby kernels.\n\
The compiler and one atomic word in each request keep a driver from touching\n\
a request that is not its own, from completing a request twice, and from\n\
giving back memory that a device still writes to.")
include(CPack)
