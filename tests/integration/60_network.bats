#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Networks: what instances reach, by which names and addresses, what they cannot pretend to be, what their
# limits hold, and that all of it comes back and goes away. `outside` is a network namespace that plays the
# rest of the world.

load common
load image

setup_file() {
	berthd_start || return 1
	export OUTSIDE=$BERTH_NETNS.o
	ip netns add "$OUTSIDE"
	in_net ip link add uplink type veth peer name eth0 netns "$OUTSIDE"
	in_net ip addr add 192.0.2.1/24 dev uplink
	in_net ip addr add 192.0.2.9/24 dev uplink
	in_net ip -6 addr add 2001:db8::1/64 dev uplink nodad
	in_net ip link set uplink up
	outside ip link set lo up
	outside ip addr add 192.0.2.2/24 dev eth0
	outside ip -6 addr add 2001:db8::2/64 dev eth0 nodad
	outside ip link set eth0 up
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	lxc network create other ipv4.address=10.66.0.1/24 ipv6.address=fd42:66::1/64 dns.domain=other.test
	lxc launch box a
	lxc launch box b
	lxc launch box c -n other
}

teardown_file() {
	local failed=0
	# An instance keeps its network, and the interfaces of the test are not the daemon's.
	in_net ip link del uplink
	ip netns del "$OUTSIDE"
	berthd_stop || failed=1
	return $failed
}

# What a test left: servers, and instances if it failed.
teardown() {
	local pid
	for pid in $(cat "$BATS_TEST_TMPDIR"/pids 2>/dev/null); do
		kill -KILL -- "-$pid" 2>/dev/null || true
	done
	after_failure a b c
}

outside() { nsenter --net="/run/netns/$OUTSIDE" "$@"; }

# pid NAME: of the instance's first process; while there is no daemon, what it was.
pid() {
	if [ -n "$(berthd_pid)" ]; then
		api GET "/1.0/instances/$1/state" | json .metadata.pid >"$BERTH_BASE/pid.$1"
	fi
	cat "$BERTH_BASE/pid.$1"
}

# inside NAME COMMAND...: a program of this host in the instance's network.
inside() {
	local pid
	pid=$(pid "$1")
	shift
	nsenter -t "$pid" --net "$@"
}

# address NAME inet|inet6: the instance's.
address() {
	api GET "/1.0/instances/$1/state" |
		json --arg family "$2" '.metadata.network.eth0.addresses[] | select(.family == $family and .scope == "global").address'
}

# gateway4 [NETWORK], gateway6 [NETWORK]: the address of its bridge.
gateway4() { api GET "/1.0/networks/${1:-default}" | json '.metadata.config["ipv4.address"]' | cut -d/ -f1; }
gateway6() { api GET "/1.0/networks/${1:-default}" | json '.metadata.config["ipv6.address"]' | cut -d/ -f1; }

# bridge [NETWORK]: its interface.
bridge() { api GET "/1.0/networks/${1:-default}/state" | json .metadata.host_name; }

mac() { api GET "/1.0/instances/$1/state" | json .metadata.network.eth0.hwaddr; }

# host_name NAME: the host's end of its card.
host_name() { api GET "/1.0/instances/$1" | json '.metadata.config["volatile.eth0.host_name"]'; }

# reaches NAME [PING OPTION...] ADDRESS: soon, if it was not sought a moment ago; cut_off: not at all.
once_reaches() { inside "$1" ping -c 1 -W 1 "${@:2}" >/dev/null 2>&1; }
reaches() { eventually 10 once_reaches "$@"; }
cut_off() { ! once_reaches "$@"; }

# inside_says NAME TEXT COMMAND...
inside_says() {
	local name=$1 text=$2
	shift 2
	inside "$name" "$@" | grep -qiF -- "$text"
}

says_nothing() { [ -z "$("$@" 2>/dev/null)" ]; }

# resolves SERVER NAME ADDRESS
resolves() { [ "$(in_net dig +short +time=1 +tries=1 "@$1" "$2" A)" = "$3" ]; }

# cards COUNT: as many interfaces of cards are there.
cards() { [ "$(in_net ip -o link | grep -c " v$BERTH_ID-")" = "$1" ]; }

# spare4 [NETWORK]: an address that no instance has.
spare4() {
	local base i
	base=$(gateway4 "$@")
	for i in 251 252 253; do
		api GET "/1.0/networks/${1:-default}/leases" | grep -qF "\"${base%.*}.$i\"" || break
	done
	echo "${base%.*}.$i"
}

# serve NAME COMMAND...: as inside, in the background until the test ends.
serve() {
	local pid
	pid=$(pid "$1")
	shift
	setsid nsenter -t "$pid" --net "$@" >/dev/null 2>&1 3>&- &
	echo $! >>"$BATS_TEST_TMPDIR/pids"
}

# raw NAME ...: a frame that the instance sends.
raw() { inside "$1" python3 "$BATS_TEST_DIRNAME/raw.py" "${@:2}"; }

@test "instances of one network reach each other and their gateway, by IPv4 and IPv6" {
	reaches a "$(address b inet)"
	reaches a "$(address b inet6)"
	reaches a "$(gateway4)"
	reaches a "$(gateway6)"
}

@test "names of instances and the reverse are known to the network's DNS" {
	local server
	server=$(gateway4)
	[ "$(inside a dig +short "@$server" b.berth A)" = "$(address b inet)" ]
	[ "$(inside a dig +short "@$server" b.berth AAAA)" = "$(address b inet6)" ]
	[ "$(inside a dig +short "@$server" -x "$(address b inet)")" = b.berth. ]
	[ "$(inside a dig +short "@$server" -x "$(address b inet6)")" = b.berth. ]
	[ "$(inside a dig +short "@$server" _gateway.berth A)" = "$server" ]
	[ "$(inside c dig +short @10.66.0.1 c.other.test A)" = "$(address c inet)" ]
	# Nobody else's are, and nobody outside is asked for them.
	[ -z "$(inside a dig +short "@$server" c.berth A)" ]
	lxc exec a -- busybox ping -c 3 -W 10 b.berth
	lxc exec a -- busybox ping -c 3 -W 10 b
}

@test "DHCP gives an instance the address that it has" {
	local lease
	cat >"$BATS_TEST_TMPDIR/script" <<-'END'
		#!/bin/sh
		[ "$1" != bound ] || echo "lease $ip $router $dns $domain"
	END
	chmod +x "$BATS_TEST_TMPDIR/script"
	lease=$(inside a busybox udhcpc -i eth0 -n -q -t 30 -T 1 -s "$BATS_TEST_TMPDIR/script" 2>/dev/null)
	[ "$lease" = "lease $(address a inet) $(gateway4) $(gateway4) berth" ]
}

@test "DHCPv6 and the router's advertisement give an instance the address that it has" {
	cat >"$BATS_TEST_TMPDIR/script6" <<-'END'
		#!/bin/sh
		[ "$reason" != BOUND6 ] || echo "lease $new_ip6_address $new_dhcp6_name_servers" >>"$LEASE"
	END
	chmod +x "$BATS_TEST_TMPDIR/script6"
	# A client can't begin before the search for duplicates of its link-local address is over.
	eventually 5 says_nothing inside b ip -6 addr show dev eth0 tentative
	serve b timeout 90 dhclient -6 -1 -d -lf "$BATS_TEST_TMPDIR/leases" -pf "$BATS_TEST_TMPDIR/pid" \
		-e "LEASE=$BATS_TEST_TMPDIR/lease" -sf "$BATS_TEST_TMPDIR/script6" eth0
	eventually 15 test -s "$BATS_TEST_TMPDIR/lease"
	eventually 5 test -s "$BATS_TEST_TMPDIR/pid"
	kill "$(cat "$BATS_TEST_TMPDIR/pid")"
	[ "$(cat "$BATS_TEST_TMPDIR/lease")" = "lease $(address b inet6) $(gateway6)" ]
	inside b ip -6 addr flush dev eth0 scope global
	inside b sysctl -qw net.ipv6.conf.eth0.accept_ra=2
	inside b ip link set eth0 down
	inside b ip link set eth0 up
	eventually 10 inside_says b dynamic ip -6 addr show dev eth0 scope global
	inside b ip -6 addr show dev eth0 scope global | grep -F "$(api GET /1.0/instances/b | json '.metadata.config["volatile.eth0.ipv6.address"]')"
	inside b ip -6 route show default | grep -F fe80
	lxc restart -f b
}

@test "an instance reaches the outside in the host's name and is not reached from there" {
	reaches a 192.0.2.2
	reaches a 2001:db8::2
	run outside ping -c 1 -W 1 "$(address a inet)"
	[ "$status" -ne 0 ]
}

@test "without NAT the outside sees the instance's address, and without routing nobody" {
	cut_off c 192.0.2.2
	outside ip route add 10.66.0.0/24 via 192.0.2.1
	reaches c 192.0.2.2
	lxc network set other ipv4.routing=false
	cut_off c 192.0.2.2
	run outside ping -c 1 -W 1 "$(address c inet)"
	[ "$status" -ne 0 ]
	lxc network unset other ipv4.routing
	lxc network set other ipv4.nat=true
	outside ip route del 10.66.0.0/24
	reaches c 192.0.2.2
	lxc network unset other ipv4.nat
}

@test "networks of one daemon are apart: instances and gateways" {
	cut_off a "$(address c inet)"
	cut_off a "$(address c inet6)"
	cut_off a 10.66.0.1
	cut_off c "$(gateway6)"
	reaches c 10.66.0.1
}

@test "isolated ports of one network reach the gateway but not each other" {
	lxc config device override a eth0 security.port_isolation=true
	reaches a "$(address b inet)"
	lxc config device override b eth0 security.port_isolation=true
	cut_off a "$(address b inet)"
	reaches a "$(gateway4)"
	lxc config device remove a eth0
	lxc config device remove b eth0
	reaches a "$(address b inet)"
}

@test "another hardware address than its own gets an instance nowhere" {
	local own
	own=$(mac a)
	inside a ip link set eth0 address 00:16:3e:99:99:99
	inside a ip neigh flush dev eth0
	cut_off a "$(gateway4)"
	inside a ip link set eth0 address "$own"
	reaches a "$(gateway4)"
	[ -z "$(in_net bridge fdb show br "$(bridge)" | grep -i 00:16:3e:99:99:99)" ]
}

@test "another IP address than its own gets an instance nowhere" {
	local gateway spare
	gateway=$(gateway4)
	spare=$(spare4)
	inside a ip addr add "$spare/24" dev eth0
	cut_off a -I "$spare" "$gateway"
	inside a ip addr del "$spare/24" dev eth0
	inside a ip -6 addr add "$(gateway6)234/64" dev eth0 nodad
	cut_off a -I "$(gateway6)234" "$(gateway6)"
	inside a ip -6 addr del "$(gateway6)234/64" dev eth0
	reaches a "$gateway"
}

@test "an instance cannot claim another's address by ARP or neighbour discovery" {
	reaches b "$(gateway4)"
	reaches b "$(gateway6)"
	# A second is how long Linux sticks to what it has just learnt.
	sleep 1.2
	raw a arp "$(mac a)" "$(gateway4)" "$(mac b)" "$(address b inet)"
	raw a neighbour "$(mac a)" "$(gateway6)" "$(mac b)" "$(address b inet6)"
	sleep 0.2
	[ -z "$(inside b ip neigh show to "$(gateway4)" | grep -i "$(mac a)")" ]
	[ -z "$(inside b ip neigh show to "$(gateway6)" | grep -i "$(mac a)")" ]
	# The same with its own address is let through: the test's frames are good ones.
	inside b ip neigh flush dev eth0
	inside b ip neigh replace "$(address a inet)" lladdr 00:16:3e:00:00:01 dev eth0 nud stale
	sleep 1.2
	raw a arp "$(mac a)" "$(address a inet)" "$(mac b)" "$(address b inet)"
	eventually 3 inside_says b "$(mac a)" ip neigh show to "$(address a inet)"
}

@test "an instance is no router and no DHCP server, and speaks nothing but IP" {
	inside b sysctl -qw net.ipv6.conf.eth0.accept_ra=2
	serve b timeout 60 tcpdump -i eth0 -w "$BATS_TEST_TMPDIR/seen" -U
	eventually 5 test -s "$BATS_TEST_TMPDIR/seen"
	raw a router "$(mac a)"
	raw a dhcp "$(mac a)" "$(address a inet)" "$(mac b)" "$(address b inet)"
	raw a type "$(mac a)" "$(mac b)" 0x88cc
	raw a type "$(mac a)" "$(mac b)" 0x8100
	# What is let through shows that the others had their time.
	raw a udp "$(mac a)" "$(address a inet)" "$(mac b)" "$(address b inet)" 4242
	eventually 5 bash -c "tcpdump -nr $BATS_TEST_TMPDIR/seen 2>/dev/null | grep -q '\.4242'"
	[ -z "$(tcpdump -nr "$BATS_TEST_TMPDIR/seen" 2>/dev/null \
		"ether src $(mac a) and ((ip6 proto 58 and ip6[40] == 134) or udp src port 67 or ether proto 0x88cc or vlan)")" ]
}

@test "filters can be switched off while an instance runs, and on again" {
	local gateway spare
	gateway=$(gateway4)
	spare=$(spare4)
	inside a ip addr add "$spare/24" dev eth0
	lxc config device override a eth0 security.ipv4_filtering=false
	reaches a -I "$spare" "$gateway"
	lxc config device set a eth0 security.ipv4_filtering=true
	cut_off a -I "$spare" "$gateway"
	lxc config device remove a eth0
	inside a ip addr del "$spare/24" dev eth0
}

# rate [-R]: Mbit/s of TCP to the instance a (or from it with -R).
rate() {
	in_net iperf3 -c "$(address a inet)" -t 3 -O 1 -J "$@" |
		json '.end.sum_received.bits_per_second / 1000000 | floor'
}

# is_rate LOW HIGH [-R]: what a busy host takes away, or gives late, is no limit of ours.
measures() {
	local got
	got=$(rate "${@:3}")
	echo "rate ${*:3}: $got"
	[ "$got" -ge "$1" ] && [ "$got" -le "$2" ]
}
is_rate() { once_of 5 measures "$@"; }

@test "limits hold in each direction, and change while the instance runs" {
	serve a iperf3 -s
	eventually 5 inside_says a :5201 ss -ltn
	is_rate 200 1000000
	lxc config device override a eth0 limits.ingress=80Mbit limits.egress=20Mbit
	is_rate 72 88
	is_rate 18 22 -R
	lxc config device set a eth0 limits.ingress=30Mbit
	is_rate 27 33
	run lxc config device set a eth0 limits.ingress=1kbit
	[ "$status" -ne 0 ]
	[[ $output == *limits.ingress* ]]
	lxc config device remove a eth0
	is_rate 200 1000000
	is_rate 200 1000000 -R
	eventually 5 says_nothing in_net tc class show dev "i$BERTH_ID"
}

@test "a card is plugged into a running instance and taken out of it" {
	lxc network attach other b eth1
	reaches b 10.66.0.1
	[ "$(lxc exec b -- cat /sys/class/net/eth1/address)" = "$(api GET /1.0/instances/b | json '.metadata.config["volatile.eth1.hwaddr"]')" ]
	reaches b "$(gateway4)"
	[ "$(inside b ip -4 route show default | wc -l)" = 1 ]
	inside b ip addr add "$(spare4 other)/24" dev eth1
	cut_off b -I "$(spare4 other)" 10.66.0.1
	lxc config device set b eth1 limits.egress=10Mbit
	in_net tc class show dev "i$BERTH_ID" | grep -q 'rate 10Mbit'
	lxc network detach other b
	run lxc exec b -- cat /sys/class/net/eth1/address
	[ "$status" -ne 0 ]
	run lxc network attach nosuch b eth1
	[ "$status" -ne 0 ]
	run lxc config device add b eth1 nic network=other ipv4.address=10.1.1.1
	[ "$status" -ne 0 ]
	[[ $output == *devices.eth1.ipv4.address* ]]
	[ "$(api GET /1.0/instances/b | json '.metadata.devices.eth1')" = null ]
	reaches b "$(gateway4)"
}

@test "limits are there from the first packet of an instance" {
	lxc init box limited
	lxc config device override limited eth0 limits.max=16Mbit
	lxc start limited
	in_net tc qdisc show dev "$(host_name limited)" | grep -q 'tbf .*rate 16Mbit'
	in_net tc class show dev "i$BERTH_ID" | grep -q 'rate 16Mbit ceil 16Mbit'
	lxc delete -f limited
	eventually 5 says_nothing in_net tc class show dev "i$BERTH_ID"
}

@test "an address that is asked for is given, and one that cannot be is refused by its field" {
	local spare
	spare=$(spare4)
	lxc init box fixed
	lxc config device override fixed eth0 "ipv4.address=$spare"
	lxc start fixed
	[ "$(address fixed inet)" = "$spare" ]
	lxc init box second
	run lxc config device override second eth0 "ipv4.address=$spare"
	[ "$status" -ne 0 ] || run lxc start second
	[ "$status" -ne 0 ]
	[[ $output == *"devices.eth0.ipv4.address"*fixed* ]]
	run lxc config device set second eth0 ipv4.address=10.1.1.1
	[ "$status" -ne 0 ] || run lxc start second
	[ "$status" -ne 0 ]
	[[ $output == *"devices.eth0.ipv4.address"* ]]
	lxc delete -f fixed second
}

@test "an instance has the same addresses after a stop, and no other gets them" {
	local before
	before="$(address a inet) $(address a inet6) $(mac a)"
	lxc restart -f a
	[ "$(address a inet) $(address a inet6) $(mac a)" = "$before" ]
	reaches a "$(gateway4)"
}

@test "a forward leads from the outside, the host and the network itself to an instance" {
	serve a socat -t 60 TCP-LISTEN:80,fork,reuseaddr SYSTEM:'echo from a $SOCAT_PEERADDR'
	serve a socat -t 60 TCP6-LISTEN:81,fork,reuseaddr SYSTEM:'echo six'
	lxc network forward create default 192.0.2.9
	lxc network forward port add default 192.0.2.9 tcp 8080,9000-9002 "$(address a inet)" 80
	lxc network forward create default 2001:db8::1
	lxc network forward port add default 2001:db8::1 tcp 81 "$(address a inet6)"
	eventually 5 asks_outside 192.0.2.9 8080 >/dev/null
	[[ $(asks_outside 192.0.2.9 8080) == "from a 192.0.2.2" ]]
	[[ $(asks_outside 192.0.2.9 9002) == "from a 192.0.2.2" ]]
	[[ $(asks_outside '[2001:db8::1]' 81) == six ]]
	[[ $(asks in_net -- 192.0.2.9 8080) == "from a"* ]]
	[[ $(asks inside b -- 192.0.2.9 8080) == "from a"* ]]
	[[ $(asks inside c -- 192.0.2.9 8080) == "from a"* ]]
	# Where bridge netfilter is on, frames are redirected within the bridge, and never out of their own port.
	if in_net test -e /proc/sys/net/bridge/bridge-nf-call-iptables; then
		in_net sysctl -qw net.bridge.bridge-nf-call-iptables=0
		[[ $(asks inside b -- 192.0.2.9 8080) == "from a"* ]]
	fi
	[[ $(asks inside a -- 192.0.2.9 8080) == "from a"* ]]
	run asks_outside 192.0.2.9 80
	[ "$status" -ne 0 ]
	lxc network forward port remove default 192.0.2.9 tcp 8080,9000-9002
	run asks_outside 192.0.2.9 8080
	[ "$status" -ne 0 ]
	lxc network forward delete default 192.0.2.9
	lxc network forward delete default 2001:db8::1
}

# asks COMMAND... -- ADDRESS PORT: what is answered there, asked by that command (outside, in_net, inside NAME).
asks() {
	local command=()
	while [ "$1" != -- ]; do command+=("$1"); shift; done
	"${command[@]}" socat -t 60 -T 60 - "TCP:$2:$3,connect-timeout=10" </dev/null
}
asks_outside() { asks outside -- "$@"; }

@test "a proxy with nat leads to a running instance without a process, and shows who connects" {
	serve a socat -t 60 TCP-LISTEN:80,fork,reuseaddr SYSTEM:'echo from a $SOCAT_PEERADDR'
	serve a socat -t 60 UDP-LISTEN:53,fork SYSTEM:'echo udp'
	local before
	before=$(proxies)
	lxc config device add a web proxy nat=true listen=tcp:192.0.2.9:8088,8090-8091 connect=tcp:0.0.0.0:80
	lxc config device add a names proxy nat=true listen=udp:192.0.2.9:5353 "connect=udp:$(address a inet):53"
	eventually 5 asks_outside 192.0.2.9 8088 >/dev/null
	[[ $(asks_outside 192.0.2.9 8088) == "from a 192.0.2.2" ]]
	[[ $(asks_outside 192.0.2.9 8091) == "from a 192.0.2.2" ]]
	[[ $(asks inside b -- 192.0.2.9 8088) == "from a"* ]]
	eventually 5 eval '[[ $(echo | outside timeout 3 socat -t 2 - UDP:192.0.2.9:5353) == udp ]]'
	[ "$(proxies)" = "$before" ]
	# What another has is not taken, and what was there stays.
	run lxc config device add b web proxy nat=true listen=tcp:192.0.2.9:8090 connect=tcp:0.0.0.0:80
	[ "$status" -ne 0 ]
	[[ $output == *'devices.web.listen: port 8090 of 192.0.2.9 is forwarded to instance "a"'* ]]
	run lxc config device set a web listen=tcp:192.0.2.9:8092 connect=tcp:192.0.2.77:80
	[ "$status" -ne 0 ]
	[[ $output == *devices.web.connect* ]]
	[[ $(asks_outside 192.0.2.9 8088) == "from a 192.0.2.2" ]]
	lxc config device set a web listen=tcp:192.0.2.9:8092
	[[ $(asks_outside 192.0.2.9 8092) == "from a 192.0.2.2" ]]
	run asks_outside 192.0.2.9 8088
	[ "$status" -ne 0 ]
	# The next daemon makes tables of its own.
	berthd_restart KILL
	eventually 5 eval '[[ $(asks_outside 192.0.2.9 8092) == "from a 192.0.2.2" ]]'
	lxc config device remove a web
	run asks_outside 192.0.2.9 8092
	[ "$status" -ne 0 ]
	lxc config device remove a names
}

@test "a proxy with nat comes with the start of its instance and goes with its end" {
	lxc init box d
	lxc config device add d web proxy nat=true listen=tcp:192.0.2.9:8095 connect=tcp:0.0.0.0:80
	in_net nft list ruleset >"$BERTH_BASE/rules"
	not grep -q '192.0.2.9 . tcp . 8095' "$BERTH_BASE/rules"
	lxc start d
	in_net nft list ruleset | grep '192.0.2.9 . tcp . 8095'
	# A start that finds the port taken is undone.
	lxc init box e
	lxc config device add e web proxy nat=true listen=tcp:192.0.2.9:8095 connect=tcp:0.0.0.0:80
	run lxc start e
	[ "$status" -ne 0 ]
	[[ $(api GET '/1.0/operations?recursion=1' | json '[.metadata.failure[]?.err] | join(" ")') == *8095* || $output == *8095* ]]
	eventually 5 sh -c '[ "$(lxc list -f csv -c s e)" = STOPPED ]'
	in_net nft list ruleset | grep '192.0.2.9 . tcp . 8095'
	lxc stop -f d
	in_net nft list ruleset >"$BERTH_BASE/rules"
	not grep -q '192.0.2.9 . tcp . 8095' "$BERTH_BASE/rules"
	lxc start e
	in_net nft list ruleset | grep '192.0.2.9 . tcp . 8095'
	lxc delete -f d e
}

@test "a forward that cannot be is refused by its field and changes nothing" {
	local url=/1.0/networks/default/forwards
	[[ $(api POST $url '{"listen_address":"192.0.2.300"}' | json .error) == "listen_address: "* ]]
	[[ $(api POST $url "{\"listen_address\":\"$(gateway4)\"}" | json .error) == "listen_address: "* ]]
	[[ $(api POST $url '{"listen_address":"192.0.2.9","ports":[{"protocol":"tcp","listen_port":"80","target_address":"10.66.0.7"}]}' |
		json .error) == "ports.0.target_address: "* ]]
	[[ $(api POST $url '{"listen_address":"192.0.2.9","ports":[{"protocol":"sctp","listen_port":"80","target_address":"10.66.0.7"}]}' |
		json .error) == "ports.0.protocol: "* ]]
	[[ $(api POST $url '{"listen_address":"192.0.2.9","config":{"x":"y"}}' | json .error) == "config.x: "* ]]
	[ "$(api GET $url | json '.metadata | length')" = 0 ]
	[ "$(api_status DELETE $url/192.0.2.9)" = 404 ]
}

@test "what a network cannot be is refused by its field and leaves nothing" {
	local before field
	before=$(in_net ip -o link | wc -l)
	while read -r field body; do
		[[ $(api POST /1.0/networks "{\"name\":\"bad\",\"config\":$body}" | json .error) == "$field: "* ]]
		[ "$(cat "$BERTH_BASE/status")" = 400 ]
	done <<-END
		config.ipv4.address {"ipv4.address":"10.66.0.5/24"}
		config.ipv4.address {"ipv4.address":"10.5.0.0/24"}
		config.ipv4.address {"ipv4.address":"nonsense"}
		config.ipv4.dhcp.ranges {"ipv4.address":"10.5.0.1/24","ipv4.dhcp.ranges":"10.6.0.2-10.6.0.9"}
		config.ipv6.address {"ipv6.address":"10.5.0.1/24"}
		config.dns.mode {"dns.mode":"maybe"}
		config.dns.domain {"dns.domain":"a b"}
		config.bridge.mtu {"bridge.mtu":"100"}
		config.unknown {"unknown":"1"}
		config.bridge.external_interfaces {"bridge.external_interfaces":"nosuch0"}
	END
	[[ $(api POST /1.0/networks '{"name":"a/b"}' | json .error) == "name: "* ]]
	[[ $(api POST /1.0/networks '{"name":"x","type":"ovn"}' | json .error) == "type: "* ]]
	[ "$(api_status POST /1.0/networks '{"name":"other"}')" = 409 ]
	[ "$(in_net ip -o link | wc -l)" = "$before" ]
	[ "$(api_status GET /1.0/networks/bad)" = 404 ]
	[ ! -e "$BERTH_DIR/networks/bad" ]
}

@test "a network in use is neither deleted, renamed nor moved" {
	[ "$(api_status DELETE /1.0/networks/other)" = 400 ]
	[ "$(api_status POST /1.0/networks/other '{"name":"another"}')" = 400 ]
	[ "$(api_status PATCH /1.0/networks/other '{"config":{"ipv4.address":"10.67.0.1/24"}}')" = 409 ]
	[[ $(api GET /1.0/networks/other | json '.metadata.used_by[0]') == /1.0/instances/c ]]
	reaches c 10.66.0.1
}

# holds ADDRESS PORT: another program has the port, of an address that need not be there; until the test ends.
holds() {
	setsid nsenter --net="/run/netns/$BERTH_NETNS" python3 -c 'import socket, sys, time
sockets = [socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
for s in sockets:
    s.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND
    s.bind((sys.argv[1], int(sys.argv[2])))
sockets[1].listen()
time.sleep(1000)' "$@" 3>&- &
	echo $! >>"$BATS_TEST_TMPDIR/pids"
	eventually 5 eval '[ -n "$(in_net ss -Hltn "src '"$1:$2"'")" ]'
}

@test "a network whose DNS another program serves is refused, and nothing changes; without DNS it is made" {
	local before
	before=$(in_net ip -o link | wc -l)
	holds 10.68.0.1 53
	[[ $(api POST /1.0/networks '{"name":"taken","config":{"ipv4.address":"10.68.0.1/24","ipv6.address":"none"}}' | json .error) == \
		"config.ipv4.address: another program of this host serves port 53 of 10.68.0.1"* ]]
	[ "$(cat "$BERTH_BASE/status")" = 409 ]
	[ "$(api_status GET /1.0/networks/taken)" = 404 ]
	[ "$(in_net ip -o link | wc -l)" = "$before" ]
	lxc network create taken ipv4.address=10.68.0.1/24 ipv6.address=none dns.mode=none
	run lxc network set taken dns.mode=managed
	[ "$status" -ne 0 ]
	[[ $output == *config.ipv4.address* ]]
	[ "$(lxc network get taken dns.mode)" = none ]
	# Its own server is no other.
	lxc network set other user.note=x
	lxc network set other dns.domain=other.test bridge.mtu=1450
	lxc network unset other bridge.mtu
	lxc network delete taken
}

# runs COUNT TEXT: so many processes have it in their command line.
runs() { [ "$(pgrep -fc -- "$2")" = "$1" ]; }

@test "dnsmasq that ends is started again" {
	local pid
	pid=$(pgrep -f -- "--interface=$(bridge) ")
	kill -KILL "$pid"
	eventually 5 resolves "$(gateway4)" b.berth "$(address b inet)"
	eventually 5 runs 1 "--interface=$(bridge) "
	[[ $(api GET '/1.0/warnings?recursion=1' | json '.metadata[] | select(.type | startswith("DHCP")) | .last_message') == *"ended by signal 9. It is started again"* ]]
}

@test "after kill -9 of the daemon instances are reached, named, filtered and limited as before" {
	local name other gateway spare
	spare=$(spare4)
	gateway=$(gateway4)
	# One that does not run and asks for an address gets it from none that runs, whoever is looked at first.
	lxc init box fixed
	lxc config device override fixed eth0 "ipv4.address=$(address a inet)"
	lxc config device override a eth0 limits.egress=20Mbit
	lxc network forward create default 192.0.2.9
	lxc network forward port add default 192.0.2.9 tcp 8080 "$(address a inet)" 80
	serve a socat -t 60 TCP-LISTEN:80,fork,reuseaddr SYSTEM:'echo from a'
	name=$(host_name a)
	other=$(address b inet)
	pid b
	berthd_end KILL
	reaches a "$other"
	[ -n "$(inside a dig +short "@$gateway" b.berth A)" ]
	berthd_run
	lxc delete fixed
	reaches a "$(address b inet)"
	reaches a 192.0.2.2
	eventually 5 resolves "$gateway" b.berth "$other"
	eventually 5 runs 2 "--dhcp-leasefile=$BERTH_DIR/networks/"
	[ "$(in_net nft list tables | grep -c berth_)" = 2 ]
	in_net nft list ruleset | grep -q "\"$name\" : goto mac_ip4_ip6"
	in_net tc class show dev "i$BERTH_ID" | grep -q 'rate 20Mbit'
	[ "$(asks_outside 192.0.2.9 8080)" = "from a" ]
	inside a ip addr add "$spare/24" dev eth0
	cut_off a -I "$spare" "$gateway"
	inside a ip addr del "$spare/24" dev eth0
	lxc config device set a eth0 limits.egress=30Mbit
	in_net tc class show dev "i$BERTH_ID" | grep -q 'rate 30Mbit'
	lxc config device remove a eth0
	lxc network forward delete default 192.0.2.9
}

@test "a daemon that comes back removes the interfaces of instances that are gone" {
	local pid
	lxc launch box lost
	pid=$(pid lost)
	berthd_end KILL
	in_net ip link add "v$BERTH_ID-90000" type dummy 2>/dev/null ||
		in_net ip link add "v$BERTH_ID-90000" type veth peer name nobody
	in_net ip link add "b$BERTH_ID-999" type bridge
	kill -KILL "$pid"
	berthd_run
	eventually 3 says_nothing in_net ip -o link show type bridge dev "b$BERTH_ID-999"
	eventually 3 says_nothing in_net ip -o link show dev "v$BERTH_ID-90000"
	eventually 5 eval '[ "$(lxc list -f csv -c s lost)" = STOPPED ]'
	lxc delete -f lost
	eventually 5 cards 3
}

# filtered COUNT: as many ports are.
filtered() { [ "$(in_net nft list ruleset | grep -c ' : goto ')" = "$1" ]; }

@test "many instances' cards leave nothing when they are deleted" {
	local i
	for i in 1 2 3 4 5 6 7 8; do
		lxc launch box "many$i" 3>&- &
	done
	wait
	eventually 5 filtered 11
	lxc delete -f many1 many2 many3 many4 many5 many6 many7 many8
	eventually 5 cards 3
	eventually 5 filtered 3
	eventually 5 resolves "$(gateway4)" many3.berth ""
	[ "$(ls "$BERTH_DIR/networks/default/hosts" | wc -l)" = 2 ]
}

@test "a network is changed while instances use it" {
	lxc network set default dns.domain=changed.test bridge.mtu=1400
	eventually 5 resolves "$(gateway4)" b.changed.test "$(address b inet)"
	in_net ip -o link show "$(bridge)" | grep -q 'mtu 1400'
	reaches a "$(address b inet)"
	reaches a 192.0.2.2
	lxc network unset default dns.domain
	lxc network unset default bridge.mtu
}

@test "the stock clients' network commands work" {
	lxc network create n1 ipv4.address=none ipv6.address=none user.note=hello
	[ "$(lxc network get n1 user.note)" = hello ]
	lxc network show n1 | grep -q 'type: bridge'
	lxc network rename n1 n2
	lxc network list | grep -q n2
	lxc network info n2 | grep -q 'State: up'
	lxc network list-leases default | grep -q STATIC
	lxc network attach default b eth7
	lxc network detach default b
	incus network list | grep -q n2
	lxc network delete n2
	run lxc network delete n2
	[ "$status" -ne 0 ]
	berth network list | grep -q other
}

@test "two networks get different addresses by themselves, apart from what the host reaches" {
	in_net ip route add 10.0.0.0/9 via 192.0.2.2
	lxc network create auto1
	lxc network create auto2
	[ "$(gateway4 auto1)" != "$(gateway4 auto2)" ]
	[ "$(gateway6 auto1)" != "$(gateway6 auto2)" ]
	[ "$(gateway4 auto1 | cut -d. -f2)" -ge 128 ]
	in_net ip route del 10.0.0.0/9
	lxc network delete auto1
	lxc network delete auto2
}
