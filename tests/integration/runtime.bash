# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# A container's runner by hand, without berthd: directories, plans, and nothing left behind.

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BERTH_BUILD=${BERTH_BUILD:-$TOP/build}
export BERTH_CONTAINER=$BERTH_BUILD/src/container/berth-container
RUNNER=$BATS_TEST_DIRNAME/runner.py
# shellcheck source=tests/integration/wait.bash
source "$(dirname "${BASH_SOURCE[0]}")/wait.bash"

# runtime_setup: a directory for the file's containers and their cgroups, $WORK.
runtime_setup() {
	WORK=$(mktemp -d /tmp/berth-runtime.XXXXXX)
	chmod 711 "$WORK"
	export WORK
	BUSYBOX=$("$TOP/tests/images/make" busybox)
	export BUSYBOX
}

runtime_teardown() {
	local pid dir
	for pid in "$WORK"/*/pid; do
		[ -e "$pid" ] || continue
		kill -9 "$(cat "$pid")" 2>/dev/null || true
	done
	sleep 0.2
	while read -r dir; do
		find "$dir" -depth -type d -exec rmdir {} \; 2>/dev/null
	done < <(find /sys/fs/cgroup -maxdepth 4 -type d -name "${WORK##*/}")
	rm -rf "$WORK"
}

# cgroup_dirs: where on this host a group of ours can stand, one a line: "memory /dir".
cgroup_dirs() {
	local mount controller path
	while IFS=: read -r _ controller path; do
		if [ -z "$controller" ]; then
			mount=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
			[ -n "$mount" ] && echo "unified $mount${path%/}"
			continue
		fi
		case $controller in
		memory | pids) mount=$(awk -v c="$controller" '$3 == "cgroup" && $4 ~ "(^|,)" c "(,|$)" {print $2; exit}' /proc/mounts)
			[ -n "$mount" ] && echo "$controller $mount${path%/}" ;;
		esac
	done </proc/self/cgroup
}

# make_container NAME PYTHON: $WORK/NAME with a plan; PYTHON changes `plan`, a dict.
make_container() {
	local name=$1 change=${2:-} groups="" dir
	mkdir -p "$WORK/$name/volume/upper" "$WORK/$name/volume/work"
	while read -r _ dir; do
		mkdir -p "$dir/${WORK##*/}/$name" && groups+="$dir/${WORK##*/}/$name "
	done < <(cgroup_dirs)
	NAME=$name GROUPS_OF_IT=$groups CHANGE=$change python3 - <<'PY'
import json, os
work, name = os.environ["WORK"], os.environ["NAME"]
home = f"{work}/{name}"
plan = {
    "version": 1, "kind": "container", "name": name, "hostname": name,
    "idmap": {"base": 3000000, "count": 65536},
    "root": {"layers": [os.environ["BUSYBOX"]], "volume": {"type": "directory", "path": home + "/volume"}},
    "init": {"args": ["/bin/sleep", "100000"], "environment": ["PATH=/bin"], "system": False},
    "cgroups": os.environ["GROUPS_OF_IT"].split(),
}
exec(os.environ["CHANGE"])
json.dump(plan, open(home + "/plan.json", "w"))
PY
	rm -f "$WORK/$name/exit"
}

# start NAME: runs its plan.
start() {
	local line
	line=$("$RUNNER" start "$WORK/$1") || { cat "$WORK/$1/runner.log"; return 1; }
	local pid=${line##*\"pid\": }
	echo "${pid%%,*}" >"$WORK/$1/pid"
	echo "$line"
}

# start_fails NAME TEXT: it does not start, and the error has the text.
start_fails() {
	! "$RUNNER" start "$WORK/$1" >/dev/null 2>&1 || return 1
	grep -F -- "$2" "$WORK/$1/runner.log" || { cat "$WORK/$1/runner.log"; return 1; }
}

in_it() { "$RUNNER" exec "$WORK/$1" "${@:2}"; }

# wait_exit NAME: waits until it has ended; prints `exit`.
wait_exit() {
	eventually 10 test -e "$WORK/$1/exit" && cat "$WORK/$1/exit"
}

stop() { "$RUNNER" signal "$WORK/$1" 9 && wait_exit "$1" >/dev/null; }
