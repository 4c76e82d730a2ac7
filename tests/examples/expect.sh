# shellcheck shell=bash
# SPDX-License-Identifier: BSL-1.0
#
# Sourced by the tests that run a program as a user does. They set `case`.
# shellcheck disable=SC2154

die() { echo "$case: $*" >&2; exit 1; }

# expect STATUS TEXT COMMAND...: the command exits with STATUS and prints a line with TEXT. What it
# prints is left in `output`.
expect() {
  local status=$1 text=$2 seen=0
  shift 2
  output=$(timeout 20 "$@" 2>&1) || seen=$?
  [ "$seen" -eq "$status" ] || die "status $seen, not $status: $*: $output"
  grep -qF -- "$text" <<<"$output" || die "no '$text': $*: $output"
}

# expect_line STATUS TEXT COMMAND...: the command prints only the line with TEXT.
expect_line() {
  expect "$@"
  [ "$(wc -l <<<"$output")" -eq 1 ] || die "more than a line: ${*:3}: $output"
}

# await FILE TEXT: waits until the file has a line with the text.
await() {
  for _ in $(seq 200); do
    ! grep -qF -- "$2" "$1" || return 0
    sleep 0.05
  done
  die "no '$2' in: $(cat "$1")"
}
