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

# expect_few_descriptors TEXT COMMAND...: with any number of file descriptors that is too small, the
# command exits with 1 and prints one line, which says so. With enough of them it prints TEXT, and is
# stopped.
expect_few_descriptors() {
  local text=$1 program=$2 limit status out
  shift 2
  for limit in $(seq 4 64); do
    # Without the descriptors for its libraries, no program runs.
    (ulimit -n "$limit" && exec "$program" --help) >/dev/null 2>&1 || continue
    out=$(mktemp)
    (ulimit -n "$limit" && exec "$program" "$@") >"$out" 2>&1 &
    status=0
    for _ in $(seq 400); do
      ! grep -qF -- "$text" "$out" || break
      kill -0 $! 2>/dev/null || break
      sleep 0.05
    done
    kill $! 2>/dev/null || true
    wait $! || status=$?
    output=$(<"$out")
    rm "$out"
    ! grep -qF -- "$text" <<<"$output" || return 0
    # UBSan looks at an object's type through a pipe, and takes one that it cannot make for an error.
    ! grep -qF 'note: object has invalid vptr' <<<"$output" || continue
    [ "$status" -eq 1 ] || die "status $status, not 1, with $limit descriptors: $output"
    grep -Eq 'Too many open files|out of file descriptors' <<<"$output" ||
      die "another reason, with $limit descriptors: $output"
    [ "$(wc -l <<<"$output")" -eq 1 ] || die "more than a line, with $limit descriptors: $output"
  done
  die "64 descriptors are not enough: $output"
}

# await FILE TEXT: waits until the file has a line with the text.
await() {
  for _ in $(seq 200); do
    ! grep -qF -- "$2" "$1" || return 0
    sleep 0.05
  done
  die "no '$2' in: $(cat "$1")"
}
