#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
# Runs one case of tests of the program uring_copy:
#   uring_copy.sh CASE URING_COPY WITHOUT_IO_URING
# On a machine without io_uring, cases that need io_uring check the program's error instead.
set -euo pipefail

case_name=$1
program=$2
without_io_uring=$3

work=$(mktemp -d -t uring_copy-test.XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir out
umask 022

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  printf 'status: %s\nstdout: %s\nstderr: %s\n' "${status-}" "$(cat stdout)" "$(cat stderr)" >&2
  exit 1
}

# run COMMAND...: runs the command, sets status, and writes its output to the files stdout and
# stderr. A note about the limit on locked memory, which some machines cause, goes to the file note.
run() {
  status=0
  "$@" >stdout 2>all || status=$?
  grep '^uring_copy: buffers not registered' all >note || true
  grep -v '^uring_copy: buffers not registered' all >stderr || true
}

# expect STATUS [TEXT]: the last run exited with STATUS and printed TEXT.
expect() {
  [ "$status" -eq "$1" ] || fail "status $status, expected $1"
  [ $# -lt 2 ] || cat stdout stderr | grep -qF -- "$2" || fail "did not say: $2"
  [ "$1" -eq 0 ] || [ "$(wc -l <stderr)" -eq 1 ] || fail "an error is more than one line"
  [ "$1" -eq 0 ] || [ ! -s stdout ] || fail "an error was printed to stdout"
  local left
  left=$(find . -name '.uring_copy-*')
  [ -z "$left" ] || fail "left behind: $left"
}

have_uring() {
  : >probe
  run "$program" --quiet probe out/probe
  [ "$status" -ne 3 ]
}

# Prints the backends that work on this machine. Checks the error of a backend that does not, and fails if
# it is wrong, which `for` would not notice: assign the list first.
backends() {
  if have_uring; then
    echo uring threads
    return
  fi
  expect 3 "io_uring is not available"
  echo threads
  echo "no io_uring here: $case_name tests less" >&2
}

random_file() { head -c "$2" /dev/urandom >"$1"; }

sizes() {
  local backend size shape
  for size in 0 1 511 512 513 4096 131071 131072 131073 1048589; do
    random_file source $size
    list=$(backends)
    for backend in $list; do
      for shape in "" "--depth 1 --block-bytes 512" "--depth=4096 --block-bytes=513" \
          "--depth 3 --block-bytes 1m" "--depth 64 --block-bytes 4k"; do
        rm -f out/copy
        # shellcheck disable=SC2086
        run "$program" --backend "$backend" --check $shape source out/copy
        expect 0 "copied $size bytes in "
        expect 0 "checked $size bytes: equal"
        cmp source out/copy || fail "$backend $shape: not equal"
      done
    done
  done
  # 1048589 bytes in blocks of 4 KiB.
  grep -q "in 257 requests, " stdout || fail "wrong number of requests"
  grep -q "; rejected lookups: none" stdout || fail "lookups were rejected without a time limit"
  [ ! -s stderr ] || fail "progress was printed without a terminal"
  run "$program" --backend threads --threads 9 --quiet source out/copy
  expect 0
  [ ! -s stdout ] || fail "--quiet is not quiet"
}

# Each read and write has a time limit with its own completion, which is looked up. A time limit
# that completes before its I/O finds the I/O, and a later one is rejected.
timeouts() {
  local requests before rejected
  list=$(backends)
  [ "$list" != threads ] || return 0
  random_file source 3000017
  run "$program" --timeout-ms 3600000 --block-bytes 4k --depth 64 --check source out/copy
  expect 0 "checked 3000017 bytes: equal"
  requests=$(sed -nE 's/.* in ([0-9]+) requests.*/\1/p' stdout)
  before=$(sed -nE 's/.*before their I\/O: ([0-9]+).*/\1/p' stdout)
  rejected=$(sed -nE 's/.*rejected lookups: (.*)$/\1/p' stdout | tr ',' '\n' |
    awk '{ sum += $2 } END { print sum + 0 }')
  [ "$requests" -eq 733 ] || fail "wrong number of requests: $requests"
  [ $((${before:-0} + rejected)) -eq $((2 * requests)) ] ||
    fail "time limits are missing: ${before:-0} before their I/O, $rejected after"

  # Time limits that expire during reads and writes. On a slow machine all attempts may expire. The
  # program then ends with an error and without a copy.
  random_file source 67108865
  local shape
  for shape in "--depth 256" "--depth 64 --block-bytes 16m" "--depth 8 --block-bytes 1m" \
      "--depth 4096 --block-bytes 4k"; do
    rm -f out/copy
    # shellcheck disable=SC2086
    run "$program" --timeout-ms 1 --check $shape source out/copy
    echo "$shape: $(head -n 1 stdout)$(cat stderr)"
    if [ "$status" -eq 0 ]; then
      expect 0 "checked 67108865 bytes: equal"
      cmp source out/copy || fail "$shape: not equal"
    else
      expect 1 "cancelled at every try; raise --timeout-ms or lower --depth"
      [ ! -e out/copy ] || fail "a copy that failed has a name"
    fi
  done
  run "$program" --timeout-ms 60 --check source out/copy
  expect 0 "checked 67108865 bytes: equal"
}

# Progress is shown on a terminal, and erased at the end.
terminal() {
  local backend
  random_file source 5000000
  list=$(backends)
  for backend in $list; do
    run script -qec "'$program' --backend $backend --check source out/copy" /dev/null
    expect 0 "copied 5000000 bytes in "
    grep -qP '\r\e\[Kcopied +\d+%, [\d.]+ [KM]?i?B of 4.8 MiB' stdout || fail "no progress"
    grep -qP '\e\[Kcopied 5000000 bytes' stdout || fail "progress was left on the line"
    run script -qec "'$program' --backend $backend --quiet source out/copy" /dev/null
    expect 0
    [ ! -s stdout ] || fail "--quiet is not quiet"
  done
}

options() {
  local bad
  random_file source 1000
  run "$program" --help
  expect 0 "Usage: uring_copy [OPTION]... SRC DST"
  while read -r bad; do
    # shellcheck disable=SC2086
    run "$program" $bad source out/copy
    expect 2 "${bad%% *}"
    [ ! -e out/copy ] || fail "copied with $bad"
  done <<'TEXT'
--depth 0
--depth 4097
--depth -1
--depth 1k
--depth 99999999999999999999
--block-bytes 511
--block-bytes 17m
--block-bytes 4kb
--block-bytes 18014398509481985k
--timeout-ms 0
--timeout-ms 3600001
--threads 4
--threads 257 --backend threads
--backend uing
--timeout-ms 5 --backend threads
--depth 4096 --block-bytes 1m
--nonsense
--quiet=yes
TEXT
  run "$program" source
  expect 2 "SRC and DST"
  run "$program" source out/copy more
  expect 2 "SRC and DST"
  run "$program" source ""
  expect 2 "empty"
  run "$program" source out/copy --depth
  expect 2 "--depth needs a value"
  run "$program" --backend threads -- source ./-x
  expect 0
  cmp source ./-x || fail "a file name after -- was taken for an option"
}

sources() {
  local backend
  echo old >out/copy
  list=$(backends)
  for backend in $list; do
    run "$program" --backend "$backend" missing out/copy
    expect 1 "missing: cannot open it: No such file or directory"
    run "$program" --backend "$backend" out out/copy
    expect 1 "out: cannot copy it: Is a directory"
    [ -p pipe ] || mkfifo pipe
    run timeout 10 "$program" --backend "$backend" pipe out/copy
    expect 1 "pipe: neither a regular file nor a block device"

    random_file secret 100
    chmod 000 secret
    # root can read every file unless it drops the capability.
    if [ "$(id -u)" -eq 0 ]; then
      run setpriv --bounding-set=-dac_override,-dac_read_search \
        "$program" --backend "$backend" secret out/copy
    else
      run "$program" --backend "$backend" secret out/copy
    fi
    expect 1 "secret: cannot open it: Permission denied"
    rm -f secret

    # A file of /sys reports 4096 bytes and ends early. A file of /proc reports 0 bytes and has
    # more. Files that shrink or grow during the copy behave in the same way.
    run "$program" --backend "$backend" /sys/devices/system/cpu/possible out/copy
    expect 1 "/sys/devices/system/cpu/possible: ends at byte "
    run "$program" --backend "$backend" /proc/version out/copy
    expect 1 "/proc/version: has more than the 0 bytes it had"
    [ "$(cat out/copy)" = old ] || fail "the destination was touched"
  done
}

destinations() {
  local backend
  random_file source 100000
  list=$(backends)
  for backend in $list; do
    local copy=("$program" --backend "$backend")
    echo old >out/copy
    run "${copy[@]}" source out/copy
    expect 0
    cmp source out/copy || fail "an existing file was not replaced"

    ln -sf copy out/link
    echo old >out/copy
    run "${copy[@]}" source out/link
    expect 0
    [ -L out/link ] || fail "the link was replaced"
    cmp source out/copy || fail "the link was not followed"
    ln -sf nowhere out/dangling
    run "${copy[@]}" source out/dangling
    expect 1 "out/dangling: a symbolic link that leads nowhere"

    run "${copy[@]}" source out
    expect 1 "out: is a directory"
    run "${copy[@]}" source none/copy
    expect 1 "none/copy: cannot create a temporary file beside it: No such file"
    run "${copy[@]}" source source/copy
    expect 1 "source/copy: cannot examine it: Not a directory"
    run "${copy[@]}" source out/none/
    expect 1 "out/none/: names a directory"
    # Root makes a device for the test, because a wrong program would replace the machine's.
    local device=/dev/full
    rm -f full
    if mknod full c 1 7 2>/dev/null; then device=full; fi
    run "${copy[@]}" source "$device"
    expect 1 "$device: not a regular file"
    [ -c "$device" ] || fail "a device was replaced"

    cp source same
    ln -f same other_name
    run "${copy[@]}" same ./same
    expect 1 "is the same file as same"
    run "${copy[@]}" same other_name
    expect 1 "is the same file as same"
    cmp source same || fail "the source was touched"

    (cd out && "${copy[@]}" --quiet ../source bare_name) || fail "a name without a directory"
    cmp source out/bare_name || fail "not equal"

    rm -f out/copy
    chmod 4750 source
    run "${copy[@]}" source out/copy
    expect 0
    [ "$(stat -c %a out/copy)" = 750 ] || fail "permissions $(stat -c %a out/copy)"
    chmod 666 source
    run "${copy[@]}" source out/copy
    expect 0
    [ "$(stat -c %a out/copy)" = 644 ] || fail "permissions $(stat -c %a out/copy)"
  done
}

# A limit on file sizes, and a small file system where one can be mounted. The write that reaches
# the limit is short before the next write fails.
full() {
  local backend
  random_file source 300000
  list=$(backends)
  for backend in $list; do
    echo old >out/copy
    # shellcheck disable=SC2016
    run bash -c 'ulimit -f 100; exec "$@"' limited \
      "$program" --backend "$backend" --depth 1 --block-bytes 7000 source out/copy
    expect 1 "out/copy: write at byte 102400: File too large; raise the limit on file sizes"
    [ "$(cat out/copy)" = old ] || fail "the destination was touched"
  done

  mkdir small
  local own_mounts=(unshare --mount)
  [ "$(id -u)" -eq 0 ] || own_mounts=(unshare --mount --map-root-user)
  if ! "${own_mounts[@]}" mount -t tmpfs -o size=64k none small 2>/dev/null; then
    echo "no right to mount: tested with the limit on file sizes only"
    return
  fi
  list=$(backends)
  for backend in $list; do
    # shellcheck disable=SC2016
    run "${own_mounts[@]}" bash -c '
      mount -t tmpfs -o size=64k none small
      echo old >small/copy
      status=0
      "$@" || status=$?
      [ "$(ls -A small)" = copy ] && [ "$(cat small/copy)" = old ] || exit 50
      exit $status' mounted "$program" --backend "$backend" --depth 1 --block-bytes 7000 \
      source small/copy
    expect 1 "small/copy: write at byte "
    expect 1 "No space left on device; free space there, or name another destination"
  done
}

# A signal during a copy that would take minutes.
interrupted() {
  local backend signal pid tries
  truncate -s 64G source
  list=$(backends)
  for backend in $list; do
    for signal in INT TERM HUP; do
      echo old >out/copy
      # A background child of a script ignores SIGINT by default.
      env --default-signal=$signal "$program" --backend "$backend" --depth 4 --block-bytes 512 \
        source out/copy >stdout 2>stderr &
      pid=$!
      tries=0
      until [ -n "$(find out -name '.uring_copy-*' -size +0)" ]; do
        tries=$((tries + 1))
        [ $tries -lt 3000 ] || fail "the copy has not begun"
        sleep 0.01
      done
      kill -s $signal $pid
      status=0
      wait $pid 2>/dev/null || status=$?
      expect $((128 + $(kill -l $signal))) "interrupted; out/copy is as it was"
      [ "$(cat out/copy)" = old ] || fail "the destination was touched"
    done
  done
}

disabled() {
  local error
  random_file source 300001
  for error in EPERM ENOSYS; do
    echo old >out/copy
    run "$without_io_uring" $error "$program" source out/copy
    expect 3 "io_uring is not available: "
    expect 3 "--backend threads"
    grep -q 'sysctl\|seccomp' stderr || fail "does not say how to get it"
    [ "$(cat out/copy)" = old ] || fail "the destination was touched"
    run "$without_io_uring" $error "$program" --backend threads --check source out/copy
    expect 0 "checked 300001 bytes: equal"
    cmp source out/copy || fail "not equal"
  done
}

# Without the right to lock memory the program cannot register its buffers. It prints a note and
# copies.
locked_memory() {
  local unprivileged=()
  list=$(backends)
  [ "$list" != threads ] || return 0
  random_file source 300001
  [ "$(id -u)" -ne 0 ] || unprivileged=(setpriv --bounding-set=-ipc_lock)
  # shellcheck disable=SC2016
  run bash -c 'ulimit -l 64; exec "$@"' limited "${unprivileged[@]}" \
    "$program" --check source out/copy
  grep -q 'copying without: .*raise it (ulimit -l)' note || fail "does not say what it lacks"
  expect 0 "checked 300001 bytes: equal"
  cmp source out/copy || fail "not equal"
}

case $case_name in
  sizes|timeouts|terminal|options|sources|destinations|full|interrupted|disabled|locked_memory) ;;
  *) fail "no such case: $case_name" ;;
esac
"$case_name"
