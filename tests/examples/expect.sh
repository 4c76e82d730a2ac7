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
  output=$(timeout 50 "$@" 2>&1) || seen=$?
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
# stopped. At least one number is too small.
expect_few_descriptors() {
  local text=$1 program=$2 limit status out checked=0 skipped=0
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
    if grep -qF -- "$text" <<<"$output"; then
      [ "$checked" -eq 0 ] || return 0
      [ "$skipped" -ne 0 ] || die "no number of descriptors is too small: nothing was checked"
      echo "$case: UBSan has no pipe with too few descriptors: nothing was checked"
      return 0
    fi
    # UBSan looks at an object's type through a pipe, and takes one that it cannot make for an error.
    if grep -qF 'note: object has invalid vptr' <<<"$output"; then
      skipped=$((skipped + 1))
      continue
    fi
    [ "$status" -eq 1 ] || die "status $status, not 1, with $limit descriptors: $output"
    grep -Eq 'Too many open files|out of file descriptors' <<<"$output" ||
      die "another reason, with $limit descriptors: $output"
    [ "$(wc -l <<<"$output")" -eq 1 ] || die "more than a line, with $limit descriptors: $output"
    checked=$((checked + 1))
  done
  die "64 descriptors are not enough: $output"
}

# await FILE TEXT: waits until the file has a line with the text.
await() {
  for _ in $(seq 600); do
    ! grep -qF -- "$2" "$1" || return 0
    sleep 0.05
  done
  die "no '$2' in: $(cat "$1")"
}
