# SPDX-License-Identifier: BSL-1.0
# What is meant for any machine. An initial cache, since a list does not survive a list of commands.
set(BLKOWN_TEST_PARTS core mq stress CACHE STRING "" FORCE)
