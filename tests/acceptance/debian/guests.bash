# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The stage of compare and soak: a berthd of their own, one image of a whole Debian with compiler, Python, Redis, OpenSSL
# and stress-ng (tests/images/make workloads), a network on which a piece of Debian's archive is served.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
# shellcheck source=tests/integration/common.bash
BATS_TEST_DIRNAME=$TOP/tests/integration . "$TOP/tests/integration/common.bash"
# shellcheck source=tests/acceptance/debian/common.bash
. "$TOP/tests/acceptance/debian/common.bash"
[ "$(id -u)" = 0 ] || {
	echo "needs root" >&2
	exit 1
}
gateway=10.79.12.1

# stage: when the shell ends it goes away with all that is on it.
stage() {
	local images kernel
	images=$("$TOP/tests/images/make" workloads)
	kernel=$("$TOP/tests/images/kernel")
	kept=$BERTH_BUILD/debian
	mkdir -p "$kept"
	# shellcheck disable=SC2119
	berthd_start
	trap 'unstage' EXIT
	mkdir "$BERTH_BASE/meta"
	printf 'architecture: x86_64\ncreation_date: 1\nproperties:\n  os: debian\n  description: "a whole Debian"\n' \
		>"$BERTH_BASE/meta/metadata.yaml"
	tar -C "$BERTH_BASE/meta" -cf "$BERTH_BASE/meta.tar" metadata.yaml
	{
		api PATCH /1.0 "{\"config\":{\"berth.engine\":\"soft\",\"berth.kernel\":\"$kernel\"}}"
		api_wait POST /1.0/networks "{\"name\":\"wnet\",\"config\":{\"ipv4.address\":\"$gateway/24\",\"ipv6.address\":\"none\"}}"
		berth image import "$BERTH_BASE/meta.tar" "$images/workloads.tar" --alias whole
	} >"$kept/stage.log"
	# Not in_net: what is killed at the end is this process, not a shell in front of it.
	nsenter --net="/run/netns/$BERTH_NETNS" python3 -m http.server --bind "$gateway" --directory "$images/archive" 8080 >"$kept/archive.log" 2>&1 &
	archive=$!
}

unstage() {
	set +e +o pipefail # what looks for leftovers finds none, which is no failure
	kill "$archive" 2>/dev/null
	# shellcheck disable=SC2119
	berthd_stop
}

# up NAME KIND CPUS MEMORY: launched, and Debian has started.
up() {
	berth launch whole "$1" --type "$2" --cpus "$3" --memory "$4" --storage 3GiB --network wnet >>"$kept/stage.log"
	favour
	eventually 300 sh -c "lxc exec $1 -- true 2>/dev/null"
	[ "$2" = microvm ] || eventually 300 lxc exec "$1" -- systemctl is-system-running --wait >>"$kept/stage.log" 2>&1
	eventually 100 lxc exec "$1" -- ip route get "$gateway" >>"$kept/stage.log" 2>&1
}

# used NAME: milliseconds of CPU time that the host has spent on it.
used() { api GET "/1.0/instances/$1/state" | json '.metadata.cpu.usage / 1000000 | floor'; }

# complaints NAME: what its kernel has to complain of, in $kept/kernel.
complaints() {
	lxc exec "$1" -- dmesg |
		grep -E 'segfault|traps:|general protection|BUG:|Oops|WARNING:|soft lockup|detected stall|Machine check' >"$kept/kernel" || true
}
