#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# Read by the scripts that run in a guest of tools_guest.py: checks, and scenarios of several checks.
failures=0
failures_before=0
scenarios=0

# check TEXT COMMAND...: the command succeeds, or the scenario has failed. The output of a server is in
# server.err.
check() {
  text=$1
  shift
  "$@" >check.out 2>&1 && return 0
  failures=$((failures + 1))
  echo "not so: $text: $*"
  cat check.out server.err 2>/dev/null | sed 's/^/  /' | tail -n 30
}
# is_not COMMAND...: the command fails.
is_not() { ! "$@"; }
# scenario NAME: the end of a scenario.
scenario() {
  scenarios=$((scenarios + 1))
  if [ "$failures" -eq "$failures_before" ]; then echo "ok $1"; else echo "FAILED $1"; fi
  failures_before=$failures
}
# await COMMAND...: waits until the command succeeds. Fails after as many looks as take minutes, which a
# busy machine needs for none of what is awaited.
await() {
  left=1000
  until "$@" >/dev/null 2>&1; do
    [ "$left" -gt 0 ] || return 1
    left=$((left - 1))
    sleep 0.1
  done
}
# finish: the number of the scenarios. Fails if one has failed.
finish() {
  echo "$scenarios scenarios, $failures failed"
  [ "$failures" -eq 0 ]
}

# start_server PROGRAM ARGUMENT...: starts a ublk server, and waits until it has a disk. Its process is
# `pid`.
pid=
start_server() {
  : >server.out
  "$@" >server.out 2>server.err &
  pid=$!
  check "a server starts" await grep -q ublkb server.out
}
