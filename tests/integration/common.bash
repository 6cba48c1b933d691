# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What every integration test stands on: a private berthd in a directory, a network namespace and cgroups
# of its own, stock clients pointed at it, and a look at what it leaves behind.
#
#	load common
#	setup_file() { berthd_start; }
#	teardown_file() { berthd_stop; }
#	@test "a sentence" { run lxc list; [ "$status" -eq 0 ]; }
#
# Set for tests: BERTH_DIR LXD_DIR INCUS_DIR (the daemon's directory), BERTHD_LOG, BERTH_ID, BERTH_NETNS, HOME (a fresh one
# for the clients), BERTH_BUILD. The daemon's pid is in $BERTH_BASE/pid: a test that restarts it is a process of
# its own, whose variables the next test does not see.

TOP=$(cd "${BATS_TEST_DIRNAME:-$(dirname "${BASH_SOURCE[0]}")}/../.." && pwd)
export BERTH_BUILD=${BERTH_BUILD:-$TOP/build}
case $BERTH_BUILD in /*) ;; *) BERTH_BUILD=$TOP/$BERTH_BUILD ;; esac
BERTHD=$BERTH_BUILD/src/daemon/berthd
PATH=$BERTH_BUILD/src/cli:$PATH
export LC_ALL=C.UTF-8
# shellcheck source=tests/integration/wait.bash
source "$(dirname "${BASH_SOURCE[0]}")/wait.bash"

# berthd_start [OPTION...]: a new directory and a new network namespace, then the daemon.
berthd_start() {
	local base
	base=$(mktemp -d /tmp/berth-test.XXXXXX) || return 1
	chmod 711 "$base"
	export BERTH_BASE=$base BERTH_DIR=$base/d LXD_DIR=$base/d INCUS_DIR=$base/d HOME=$base/home
	export BERTHD_LOG=$base/berthd.log
	export BERTH_NETNS=${base##*/}
	mkdir "$BERTH_DIR" "$HOME"
	ip netns add "$BERTH_NETNS" || return 1
	in_net ip link set lo up
	berthd_run "$@"
}

# berthd_run [OPTION...]: the daemon on the directory and namespace that are there; waits until it is ready.
berthd_run() {
	local fifo=$BERTH_BASE/ready word=
	rm -f "$fifo"
	mkfifo "$fifo"
	# The clients' variables are not the daemon's. 3 is bats's own.
	env -u LXD_DIR -u INCUS_DIR -u BERTH_DIR nsenter --net="/run/netns/$BERTH_NETNS" \
		"$BERTHD" --dir "$BERTH_DIR" --ready-fd 9 "$@" \
		9>"$fifo" >>"$BERTHD_LOG" 2>&1 </dev/null 3>&- &
	echo $! >"$BERTH_BASE/pid"
	# The end of the file comes if the daemon ends; a word if it is ready.
	read -r -t 60 word <"$fifo"
	rm -f "$fifo"
	if [ "$word" != ready ]; then
		echo "berthd did not start:" >&2
		tail -n 20 "$BERTHD_LOG" >&2
		return 1
	fi
	BERTH_ID=$(sed -n 's/.* ready .*id=\([0-9a-f]*\).*/\1/p' "$BERTHD_LOG" | tail -n 1)
	export BERTH_ID
}

# berthd_pid: the daemon's, or nothing.
berthd_pid() { cat "$BERTH_BASE/pid" 2>/dev/null; }

# berthd_end [SIGNAL]: ends the daemon only; instances, directory and namespace stay.
berthd_end() {
	local pid
	pid=$(berthd_pid)
	[ -n "$pid" ] || return 0
	kill "-${1:-TERM}" "$pid" 2>/dev/null
	if ! timeout 60 tail --pid="$pid" -s 0.02 -f /dev/null; then
		echo "berthd did not end" >&2
		kill -KILL "$pid"
		timeout 60 tail --pid="$pid" -s 0.02 -f /dev/null
	fi
	rm -f "$BERTH_BASE/pid"
}

# berthd_restart [SIGNAL]: as a crash (KILL) or an upgrade (TERM) would.
berthd_restart() {
	berthd_end "${1:-TERM}"
	berthd_run
}

# berthd_stop: deletes all instances, ends the daemon and removes everything; tells what it left behind.
berthd_stop() {
	local left=0 url
	[ -n "${BERTH_BASE:-}" ] || return 0
	if [ -n "$(berthd_pid)" ] && kill -0 "$(berthd_pid)" 2>/dev/null; then
		for url in $(api GET '/1.0/instances?all-projects=true' | json '.metadata[]?' 2>/dev/null); do
			api_wait PUT "${url%%\?*}/state${url#"${url%%\?*}"}" '{"action":"stop","force":true,"timeout":10}' >/dev/null
			api_wait DELETE "$url" >/dev/null
		done
	fi
	berthd_end
	if [ "${1:-}" != --unchecked ]; then
		# What ends by itself when its daemon does takes a moment.
		if ! eventually 10 has_no_leftovers; then
			echo "left behind:" >&2
			cat "$BERTH_BASE/left" "$BERTHD_LOG" >&2
			left=1
		fi
	fi
	ip netns del "$BERTH_NETNS"
	cleanup_leftovers
	rm -rf --one-file-system "$BERTH_BASE"
	return $left
}

# after_failure NAME...: for teardown(): what a failed test left must not trouble the next one. All instances go but those.
after_failure() {
	local url
	[ -z "${BATS_TEST_COMPLETED:-}" ] || return 0
	kill -0 "$(berthd_pid)" 2>/dev/null || berthd_run
	for url in $(api GET '/1.0/instances?all-projects=true' | json '.metadata[]'); do
		case " $* " in *" $(basename "${url%%\?*}") "*) continue ;; esac
		api_wait PUT "${url%%\?*}/state${url#"${url%%\?*}"}" '{"action":"stop","force":true}' >/dev/null || true
		api_wait DELETE "$url" >/dev/null || true
	done
}

# leftovers: a line for each process, mount, cgroup, interface, nftables table and loop device of ours.
leftovers() {
	local pid
	for pid in $(pgrep -f -- "$BERTH_DIR"); do
		[ "$pid" = "$(berthd_pid)" ] || [ "$pid" = $$ ] || [ "$pid" = "$BASHPID" ] ||
			echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
	done
	grep -F "$BERTH_DIR" /proc/self/mountinfo | sed 's/^/mount /'
	[ -z "${BERTH_ID:-}" ] ||
		find /sys/fs/cgroup -type d -name "berth-$BERTH_ID*" 2>/dev/null | sed 's/^/cgroup /'
	in_net ip -o link show 2>/dev/null | awk -F': ' '$2 != "lo" && $2 !~ /^(tunl0|sit0|ip6tnl0|gre)/ {
		print "interface " $2 }'
	in_net nft list tables 2>/dev/null | sed 's/^/nft /'
	losetup -l -n -O NAME,BACK-FILE 2>/dev/null | grep -F "$BERTH_DIR" | sed 's/^/loop /'
}

has_no_leftovers() {
	leftovers >"$BERTH_BASE/left"
	[ ! -s "$BERTH_BASE/left" ]
}

# What a failed test left must not trouble the next one.
cleanup_leftovers() {
	local kind rest
	leftovers 2>/dev/null | while read -r kind rest; do
		case $kind in
		process) kill -KILL "${rest%% *}" ;;
		loop) losetup -d "${rest%% *}" ;;
		esac
	done
	grep -F "$BERTH_DIR" /proc/self/mountinfo | cut -d' ' -f5 | sort -r | while read -r rest; do
		umount -l "$rest"
	done
	[ -z "${BERTH_ID:-}" ] ||
		find /sys/fs/cgroup -depth -type d -path "*/berth-$BERTH_ID*" -exec rmdir {} + 2>/dev/null
	true
}

# in_net COMMAND...: in the daemon's network namespace.
in_net() { nsenter --net="/run/netns/$BERTH_NETNS" "$@"; }

# proxies: the pids of those that this daemon has started, and of their other halves. The next file of tests has a daemon, too.
proxies() {
	local pid
	for pid in $(pgrep -P "$(berthd_pid)" -f 'berth-container proxy'); do
		echo "$pid"
		pgrep -P "$pid" || true
	done
}

# api METHOD PATH [BODY] [CURL OPTION...]: the answer's body; its status in the file $BERTH_BASE/status.
api() {
	local method=$1 path=$2 body=${3:-}
	shift 2
	[ $# -eq 0 ] || shift
	curl -sS -g --max-time 150 --unix-socket "$BERTH_DIR/unix.socket" -X "$method" \
		-w '%{stderr}%{http_code}' ${body:+-H 'Content-Type: application/json' --data-binary "$body"} \
		"$@" "http://berth$path" 2>"$BERTH_BASE/status"
}

# api_status METHOD PATH [BODY] [CURL OPTION...]: only the status.
api_status() {
	api "$@" >/dev/null
	cat "$BERTH_BASE/status"
}

# api_wait METHOD PATH [BODY]: waits for the operation; prints it, or the error; fails if it failed.
api_wait() {
	local answer operation
	answer=$(api "$@")
	operation=$(json -r '.operation // ""' <<<"$answer")
	if [ -z "$operation" ]; then
		echo "$answer"
		[ "$(json -r .type <<<"$answer")" = sync ]
		return
	fi
	answer=$(api GET "$operation/wait?timeout=120" | json .metadata)
	echo "$answer"
	[ "$(json .status_code <<<"$answer")" = 200 ]
}

# json FILTER: jq, raw.
json() { jq -r "$@"; }
