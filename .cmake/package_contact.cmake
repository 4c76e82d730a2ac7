# SPDX-License-Identifier: BSL-1.0
# Read by cpack before it makes a package: a package without a contact is refused.
if(NOT CPACK_PACKAGE_CONTACT)
  message(FATAL_ERROR "The package has no contact: configure with"
    " -D BLKOWN_PACKAGE_CONTACT='Name <address>', or call cpack with"
    " -D CPACK_PACKAGE_CONTACT='Name <address>'")
endif()
