#!/usr/bin/env bash
# SPDX-License-Identifier: BSL-1.0
#
# workflow.sh README PROGRAM
#
# Goal: the commands of the workflow in the simulation's README work.
# Method: runs each `run:` of the workflow in order, as the workflow's shell does, in a folder as that of
# a driver's author. The compiler is a script that checks its arguments, and whose output is PROGRAM,
# the README's program compiled by the build: to compile it again takes longer than all other commands.
set -euo pipefail
readme=$(realpath "$1") program=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/repository"
cd "$folder/repository"

fail() {
  echo "$*"
  exit 1
}

workflow=$(sed -n '/^<!-- run by tests\/readme -->$/,/^```$/p' "$readme")
mapfile -t commands < <(sed -n 's/^      - run: //p' <<<"$workflow")
[ ${#commands[@]} -eq 2 ] || fail "the workflow has ${#commands[@]} commands"
[ "$(grep -c ' run:' <<<"$workflow")" -eq 2 ] || fail "a command has another form"
grep -q '^      SEEDS: [0-9]*$' <<<"$workflow" || fail "the workflow has no SEEDS"
files=$(sed -n '/upload-artifact/,$p' <<<"$workflow" | sed -n '/path:/,/```/p' | sed '1d;$d' | tr -d ' ')

mkdir third_party
ln -s "$root" third_party/blkown
awk '/^```$/ && copies { exit } copies { print } /^<!-- compiled/ { getline; copies = 1 }' "$readme" >my_test.cpp
grep -q nvme_main my_test.cpp || fail "my_test.cpp has no main function"
cat >"$folder/bin/c++" <<'SCRIPT'
#!/usr/bin/env bash
set -eu
[ "$1" = -std=c++23 ] && [ "$3" = -I ] && [ -f "$4/blkown/sim/kit.hpp" ] && [ -f "$5" ] && [ "$6" = -o ] || {
  echo "c++ $* does not compile the program"
  exit 1
}
printf '#!/usr/bin/env bash\nexec %q --as-program "$0" "$@"\n' "$PROGRAM" >"$7"
chmod +x "$7"
SCRIPT
chmod +x "$folder/bin/c++"

export PATH=$folder/bin:$PATH PROGRAM=$program SEEDS=8
for command in "${commands[@]}"; do
  bash --noprofile --norc -eo pipefail -c "$command" >out || { cat out; fail "failed: $command"; }
done
grep -q '^8 runs, 8000 I/Os ended' out || { cat out; fail "not all seeds ran"; }
"$root/tests/sim/runner/check_junit.py" report.xml 8 0 0

# A step with a bad option fails. The command writes the files of the artifact.
command="${commands[-1]} --queues 0"
status=0
bash -c "$command" >out 2>&1 || status=$?
[ $status -eq 2 ] || fail "a bad option gives $status"
for file in $files; do
  grep -q -- " $file" <<<"${commands[-1]}" || fail "no command writes $file"
done
