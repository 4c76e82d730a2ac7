#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# ci_program.sh PROGRAM BROKEN
#
# Goal: a CI finds a planted bug. Runs the reference driver of an adversary's program and its driver
# BROKEN with the options for a CI: exit status, JUnit report, and the file of seeds, whose seeds a
# later run tries first.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$1 broken=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1

# run STATUS [OPTION]...
run() {
  local expected=$1 status=0
  shift
  "$program" "$@" >out 2>err || status=$?
  [ "$status" = "$expected" ] && return
  echo "'$*' exited with $status, and not with $expected:"
  cat out err
  exit 1
}
# expect WHAT COMMAND...
expect() {
  local what=$1
  shift
  "$@" && return
  echo "$what:"
  cat out err
  exit 1
}

run 0 --seeds 3 --ios 200 --jobs 2 --junit report.xml --failed-seeds seeds
expect "the totals" grep -q '^3 runs, 600 I/Os ended' out
expect "the report" "$here/check_junit.py" report.xml 3 0 0
expect "no seed failed" test ! -e seeds

# A bug: the first failing seed ends the runs.
run 1 --driver "$broken" --seeds 300 --failed-seeds seeds --junit report.xml
seed=$(sed -n '2p' seeds)
ran=$(grep -c '<testcase' report.xml)
expect "one seed in the file" test "$(wc -l <seeds)" = 2
expect "the report" "$here/check_junit.py" report.xml "$ran" 1 0
expect "the seeds that failed" grep -qx "1 of $ran runs failed: seed $seed" out

# The seed is tried first, whatever the other seeds are, and fails for the same reason.
finding=$(grep -o 'event [0-9]*, in [^(]*' out | head -1)
run 1 --driver "$broken" --seeds 300 --first-seed 5000 --failed-seeds seeds
expect "the same finding first" grep -q "^seed $seed, $finding" out
expect "one run" grep -qx "1 of 1 runs failed: seed $seed" out
expect "one seed in the file" test "$(wc -l <seeds)" = 2

# Several at a time, to the end.
run 1 --driver "$broken" --seeds 6 --first-seed "$seed" --jobs 3 --keep-going --junit report.xml
failed=$(sed -n 's/^\([0-9]*\) of 6 runs failed.*/\1/p' out)
expect "the report" "$here/check_junit.py" report.xml 6 "${failed:-0}" 0

# The command that a report names gives the same finding, with the options of the run.
run 1 --driver "$broken" --seeds 300 --queues 3 --depth 6 --sizes 4096:1 --cache on
replay=$(sed -n 's/^replay: [^ ]* //p' out)
finding=$(grep -o 'event [0-9]*, in [^(]*' out | head -1)
expect "the options" grep -q -- '--queues 3 --depth 6 --cache on --sizes 4096:1' <<<"$replay"
# shellcheck disable=SC2086
run 1 $replay
expect "the same finding" grep -q "$finding" out

# No file is spoilt, and nothing is run, if a file or an option cannot be used.
echo "no seed" >seeds
run 2 --seeds 1 --failed-seeds seeds
expect "one line" test "$(wc -l <err)" = 1
expect "the line" grep -q "line 1 is no seed: 'no seed'" err
expect "nothing was run" test ! -s out
run 2 --queues 0
expect "the line" grep -q -- ': --queues 0: use a number from 1 to 63$' err
run 2 --seeds 1 --depth 4096
expect "the line" grep -q -- ': --depth 4096: .*; use at most' err
run 0 --seeds 1000000 --ios 50 --time-limit 1
expect "the time limit" grep -Eq '^--time-limit 1: [0-9]+ of 1000000 seeds ran$' out
