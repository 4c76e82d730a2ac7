# SPDX-License-Identifier: BSL-1.0
# Run by cpack between the installation to its folder and the archive: moves the documents to the
# package's own folder and adds those that Debian's policy demands (12.5 copyright, 12.7 changelog).
set(share ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr/share/doc)
set(documents ${share}/${CPACK_DEBIAN_PACKAGE_NAME})
file(REMOVE_RECURSE ${documents})
file(RENAME ${share}/blkown ${documents})

file(READ ${documents}/LICENSE license)
file(REMOVE ${documents}/LICENSE)
file(READ ${documents}/README.md readme)
string(REPLACE "](LICENSE)" "](copyright)" readme "${readme}")
file(WRITE ${documents}/README.md "${readme}")
# The format asks for one space before each line, and for a dot in an empty one.
string(REGEX REPLACE "\n\n" "\n.\n" license "${license}")
string(REGEX REPLACE "\n$" "" license "${license}")
string(REPLACE "\n" "\n " license " ${license}")
file(WRITE ${documents}/copyright
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: blkown

Files: *
Copyright: 2026 blkown contributors
License: BSL-1.0
${license}
")

string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE ${documents}/changelog
"${CPACK_DEBIAN_PACKAGE_NAME} (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * Version ${CPACK_PACKAGE_VERSION}: see CHANGELOG.md.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
execute_process(
  COMMAND gzip --best --no-name --force ${documents}/changelog
  COMMAND_ERROR_IS_FATAL ANY)
file(CHMOD_RECURSE ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr
  FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ
  DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
