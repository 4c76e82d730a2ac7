#!/bin/sh
# SPDX-License-Identifier: BSL-1.0
# Runs in the guest of tools_guest.py: Linux's nbd driver on the server of examples/nbd_server, which
# runs on the host and listens at the port in the file `port`. Prints a line for each scenario, and a
# last one with their number.
cd /tmp || exit 1
# shellcheck source=tests/real/guest_checks.sh
. ./guest_checks.sh
port=$(cat port)
mkdir mount

# connect EXPORT DEVICE TIMEOUT_S: two connections for the device.
connect() {
  check "nbd-client -C 2" /bin/nbd-client -C 2 -t "$3" -N "$1" 10.0.2.2 "$port" "/dev/$2"
  check "two hardware queues" test "$(echo "/sys/block/$2/mq"/*)" = \
    "/sys/block/$2/mq/0 /sys/block/$2/mq/1"
}
# disconnect DEVICE
disconnect() {
  check "nbd-client -d" /bin/nbd-client -d "/dev/$1"
  check "the device has no disk" await grep -qx 0 "/sys/block/$1/size"
}

check "the network is up" ifconfig lo 127.0.0.1
check "the network is up" ifconfig eth0 10.0.2.15
# The driver looks after its time limit whether a request's connection is dead. A read takes 10 s, and 5 s
# longer on a machine that stands still for so long.
connect slow nbd1 16
# The first open looks for partitions, and waits for the slow device.
dd if=/dev/nbd1 of=/dev/null bs=4k count=1 iflag=direct >dd.out 2>&1 &
partitions=$!
connect disk nbd0 60
check "its size" grep -qx 131072 /sys/block/nbd0/size
check "mke2fs" /bin/mke2fs -q -t ext4 /dev/nbd0
check "mount" mount -t ext4 -o discard /dev/nbd0 mount
# One job on each processor, and so on each connection.
check "fio with verify" /bin/fio --name=verify --directory=mount --size=4m --rw=randrw --bs=4k-16k \
  --ioengine=libaio --iodepth=16 --direct=1 --numjobs=2 --cpus_allowed=0,1 \
  --cpus_allowed_policy=split --fsync=64 --verify=crc32c --verify_fatal=1
check "rm" rm mount/verify.0.0
check "cp" cp /bin/busybox /bin/fio mount
sync
check "umount" umount mount
check "e2fsck" /bin/e2fsck -fn /dev/nbd0
check "mount" mount -t ext4 /dev/nbd0 mount
check "a file is as it was" cmp /bin/busybox mount/busybox
check "a file is as it was" cmp /bin/fio mount/fio
check "umount" umount mount
disconnect nbd0
scenario "ext4 and fio with verify on two connections"

# read_slowly BLOCK: reads from the slow export past the page cache, and notes when the read has ended.
read_slowly() {
  dd if=/dev/nbd1 of=/dev/null bs=4k skip="$1" count=1 iflag=direct >/dev/null 2>&1
  echo $? >"read.$1"
}
all_ended() {
  for read in 0 60 120 180; do test -s "read.$read" || return 1; done
}
check "a slow read" wait "$partitions"
connect disk nbd0 60
check "a block is there" dd if=/dev/nbd0 of=/dev/null bs=4k count=1 iflag=direct
# Blocks that the kernel does not join to one read.
for read in 0 60 120 180; do read_slowly "$read" & done
check "reads are in flight" await grep -Eq '^ +4 ' /sys/block/nbd1/inflight
echo "stop the server"
check "the reads end" await all_ended
check "they have failed" is_not grep -qx 0 read.0 read.60 read.120 read.180
check "the next one fails" is_not dd if=/dev/nbd0 of=/dev/null bs=4k count=1 iflag=direct
for device in nbd0 nbd1; do disconnect "$device"; done
scenario "the server is stopped with reads in flight, which fail"

finish
