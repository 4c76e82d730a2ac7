#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# Runs in the guest of tools_guest.py: the ublk server of examples/ublk on Linux's driver. Prints a line
# for each scenario, and a last one with their number. Each ends with no request in flight.
cd /tmp || exit 1
# shellcheck source=tests/real/guest_checks.sh
. ./guest_checks.sh
mib=1048576

# serve ARGUMENT...
serve() { start_server ./ublk_server "$@"; }
# ended: the server has ended well, and has nothing in flight.
ended() {
  check "the server ends with 0" wait "$pid"
  check "nothing is in flight" grep -qx 'in flight: 0' server.err
  check "the kernel keeps to the protocol" grep -qx 'kernel: 0 bad tags, 0 broken commands' server.err
}

# in_flight: the disk has I/Os in flight.
in_flight() { grep -q '[1-9]' /sys/block/ublkb0/inflight; }

truncate -s $((65 * mib)) file.img
# A machine that stands still for 5 seconds makes no other I/O late. The slow one is late all the same, and is
# sent back when the server ends: that takes no time.
slow="--timeout-ms 6000 --delay-ms 40000 --slow-from $((64 * mib))"
mkdir mount

# The file system ends before the slow part of the disk.
# shellcheck disable=SC2086
serve add --queues 2 --depth 32 $slow file.img
check "mke2fs" /bin/mke2fs -q -t ext4 /dev/ublkb0 64M
check "mount" mount -t ext4 -o discard /dev/ublkb0 mount
# start_fio: the rate keeps fio busy for some seconds on a fast machine, too.
start_fio() {
  rm -f mount/verify.0.0 fio.status
  (
    /bin/fio --name=verify --directory=mount --size=4m --rw=randrw --bs=4k-16k --ioengine=libaio \
      --iodepth=16 --rate_iops=60 --direct=1 --verify=crc32c --verify_fatal=1 >fio.out 2>&1
    echo $? >fio.status
  ) &
  fio=$!
  check "fio begins" await test -s mount/verify.0.0
  sleep 0.5
}
# stopped_under_fio: the server is stopped with I/Os in flight. Fails if fio has ended before.
stopped_under_fio() {
  kill -STOP "$pid"
  check "I/Os are in flight, or fio has ended" await eval 'in_flight || test -s fio.status'
  in_flight
}
start_fio
# A slow shell: fio is started again.
for _ in 1 2 3 4 5 6 7 8; do
  ! stopped_under_fio || break
  kill -CONT "$pid"
  wait "$fio"
  check "fio with verify" grep -qx 0 fio.status
  start_fio
done
# I/Os that the server does not see any more.
check "I/Os are in flight" in_flight
kill -KILL "$pid"
wait "$pid"
# shellcheck disable=SC2086
serve recover $slow 0 file.img
scenario "a server is killed under fio, and another one takes over"

# Direct: the page cache would read twice.
check "a slow read fails" is_not dd if=/dev/ublkb0 of=/dev/null bs=4k skip=16384 count=1 iflag=direct
wait "$fio"
check "fio with verify" grep -qx 0 fio.status
kill -USR1 "$pid"
check "a read has timed out" await grep -Eq 'ended: [1-9][0-9]* failed, of which [1-9]' server.err
scenario "a slow read times out beside fio"

cp -r /bin/busybox mount
sync
check "a file is as it was" cmp /bin/busybox mount/busybox
check "umount" umount mount
check "e2fsck on the disk" /bin/e2fsck -fn /dev/ublkb0
kill "$pid"
# The slow device first sends back what it has.
ended
check "the disk is gone" is_not test -e /dev/ublkb0
check "e2fsck on the file" /bin/e2fsck -fn file.img
check "the late id is refused" grep -Eq '^refused lookups: (stale_generation|idle) [1-9]' server.err
scenario "ext4 is clean, on the disk and in the file; the late id of the slow read is refused"

# readers: two readers of the whole disk, until it fails.
readers() {
  for _ in 1 2; do
    (while dd if=/dev/ublkb0 of=/dev/null bs=256k iflag=direct; do :; done) >/dev/null 2>&1 &
    eval "reader$_=$!"
  done
  check "the readers read" await in_flight
}
serve add --depth 64 file.img
check "an id is taken" is_not ./ublk_server add --id 0 file.img
./ublk_server recover 0 file.img 2>recover.err
check "the disk has a server" grep -qx "ublk_server: its server, process $pid, still has the device" \
  recover.err
readers
check "delete" ./ublk_server delete 0
# shellcheck disable=SC2154
check "the readers end" wait "$reader1" "$reader2"
ended
check "the disk is gone" is_not test -e /dev/ublkb0
scenario "a disk is deleted under readers"

serve add --queues 2 --depth 8 file.img
readers
kill -TERM "$pid"
check "the readers end" wait "$reader1" "$reader2"
ended
check "the disk is gone" is_not test -e /dev/ublkb0
scenario "a server is stopped under readers"

# A disk on the slow part of a disk: io_uring cannot take back what the lower disk has. The read is
# overdue, and ends when the kernel is done with the memory.
serve add --delay-ms 7000 --slow-from $((64 * mib)) file.img
below=$pid
serve add --timeout-ms 1000 --direct /dev/ublkb0
check "an overdue read is right" sh -c \
  'dd if=/dev/ublkb1 bs=4k skip=16384 count=1 iflag=direct | cmp -n 4096 - /dev/zero'
kill "$pid"
ended
check "the read was overdue" grep -Eq ' 0 timed out; 0 refused; overdue at [1-9]' server.err
check "no id is refused" grep -qx 'refused lookups: none' server.err
kill "$below"
check "the lower server ends with 0" wait "$below"
scenario "an overdue read that io_uring cannot cancel ends by its own completion"

serve add file.img
kill -KILL "$pid"
wait "$pid"
# Not from the page cache.
dd if=/dev/ublkb0 of=/dev/null bs=4k count=1 iflag=direct >/dev/null 2>&1 &
reader=$!
check "delete" await ./ublk_server delete 0
check "the reader gets an error" is_not wait "$reader"
check "no disk" is_not ./ublk_server delete 0
su nobody -c "./ublk_server delete 0" 2>nobody.err
check "root is needed" grep -qx 'ublk_server: /dev/ublk-control: Permission denied; run .* as root' \
  nobody.err
check "no disk" is_not ./ublk_server recover 0 file.img
check "the disk is gone" is_not test -e /dev/ublkb0
scenario "a disk whose server was killed is deleted"

finish
