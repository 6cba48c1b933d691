# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the acceptance commands with a whole Debian share.

# favour: gives what this berthd starts the processors first. systemd in a guest counts the clock's seconds (its generators
# have 90), and a guest that a busy host starves boots without its file systems and without cloud-init.
favour() {
	local file
	for file in "/sys/fs/cgroup/cpu/berth-$BERTH_ID/cpu.shares" "/sys/fs/cgroup/berth-$BERTH_ID/cpu.weight"; do
		[ ! -w "$file" ] || echo 10000 >"$file"
	done
}

# monitor NAME: the pid of its monitor.
monitor() { pgrep -f "^[^ ]*berth-vmm .*$BERTH_DIR/instances/default/$1/" | head -n 1; }

# cpu_seconds NAME: what its monitor has used.
cpu_seconds() {
	# shellcheck disable=SC2046 # words
	set -- $(sed 's/.*) //' "/proc/$(monitor "$1")/stat")
	echo $(((${12} + ${13}) / $(getconf CLK_TCK)))
}

# check WHAT COMMAND...: notes what is not so, and goes on; all_well fails if there was anything.
check() {
	local what=$1
	shift
	"$@" || {
		echo "not so: $what: $*"
		not_so=$((${not_so:-0} + 1))
	}
}
all_well() { [ "${not_so:-0}" = 0 ]; }

# returns STATUS COMMAND...
returns() {
	local want=$1 got=0
	shift
	"$@" || got=$?
	[ "$got" = "$want" ] || {
		echo "status $got"
		return 1
	}
}
