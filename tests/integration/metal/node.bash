# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Fake servers: OpenIPMI's BMC simulator, behind it a QEMU with firmware, iPXE and a blank disk, in the daemon's
# network namespace.

METAL=$TOP/tests/integration/metal

# provision_network: the bridge that servers boot on.
provision_network() {
	in_net ip link add prov0 type bridge
	in_net ip link set prov0 up
	in_net ip addr add 10.77.0.1/24 dev prov0
	in_net ip addr add fd77::1/64 dev prov0 nodad
}

# node_make NUMBER [SETTING=VALUE...]: its directory, its tap, its BMC at 127.0.0.1 port 6230 + NUMBER.
node_make() {
	local n=$1 dir=$BERTH_BASE/node$1
	shift
	mkdir -p "$dir/state"
	cp "$METAL/chassis" "$dir/chassis"
	printf 'NUMBER=%s\nMAC=52:54:00:77:00:%02x\nMEMORY=384\nDISK_SIZE=128M\n' "$n" "$n" >"$dir/settings"
	printf '%s\n' "$@" >>"$dir/settings"
	sed -e "s|127.0.0.1 623|127.0.0.1 $((6230 + n))|; s|@BASE@|$dir|" \
		-e "s|127.0.0.1 9602|127.0.0.1 $((9200 + n))|; s|127.0.0.1:9603|127.0.0.1:$((9100 + n))|" \
		"$METAL/lan.conf" >"$dir/lan.conf"
	in_net ip tuntap add "node$n" mode tap
	in_net ip link set "node$n" master prov0 up
	(cd "$dir" && exec nsenter --net="/run/netns/$BERTH_NETNS" ipmi_sim -n -c lan.conf \
		-f "$METAL/bmc.emu" -s state >sim.log 2>&1 </dev/null 3>&-) &
	echo $! >"$dir/sim.pid"
}

# node_end NUMBER: its hardware and its BMC are gone.
node_end() {
	local dir=$BERTH_BASE/node$1
	[ -d "$dir" ] || return 0
	kill -KILL "$(cat "$dir/sim.pid")" 2>/dev/null
	[ ! -s "$dir/pid" ] || kill -KILL "$(cat "$dir/pid")" 2>/dev/null
	in_net ip link del "node$1" 2>/dev/null
	true
}

# server_is NAME STATE: without a flag.
server_is() {
	[ "$(api GET "/1.0/berth/servers/$1" | json '.metadata | .state + (.failed // "")')" = "$2" ]
}

# server_wait NAME STATE SECONDS: until it is, or has failed.
server_wait() {
	local end=$((SECONDS + $3)) state
	while [ $SECONDS -lt $end ]; do
		state=$(api GET "/1.0/berth/servers/$1" | json '.metadata | .state + (if .failed then " failed: " + .failed else "" end)')
		[ "$state" != "$2" ] || return 0
		case $state in *failed:*) break ;; esac
		sleep 0.2
	done
	echo "$1 is $state, not $2" >&2
	return 1
}

# server_stages NAME: how the time of its last deployment went, for the log.
server_stages() {
	api GET "/1.0/berth/servers/$1" | json '.metadata.timeline as $t | range(1; $t | length) |
		"# \($t[.].stage): \((($t[.].at_ns - $t[. - 1].at_ns) / 1e8 | round) / 10) s"'
}
