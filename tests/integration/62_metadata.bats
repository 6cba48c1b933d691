#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The metadata service of a network: an instance asks 169.254.169.254 who it is, and nobody else can ask for it.

bats_require_minimum_version 1.5.0
load common
load image

setup_file() {
	berthd_start || return 1
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	api_wait POST /1.0/networks '{"name":"meta","config":{"ipv4.address":"10.79.9.1/24","ipv6.address":"none"}}'
	for name in a b; do
		berth launch box $name --network meta --config cloud-init.user-data="#cloud-config
secret: of-$name"
	done
}
teardown_file() { berthd_stop; }
teardown() { after_failure a b; }

# fetch NAME PATH [SECONDS]: what the instance reads.
fetch() { lxc exec "$1" -- busybox timeout "${3:-60}" busybox wget -qO- "http://169.254.169.254$2"; }
address() { api GET "/1.0/instances/$1" | json '.metadata.config["volatile.eth0.ipv4.address"]'; }
# raw NAME REQUEST [SECONDS...]: sends it and shows the answer. Who closes before the answer is taken for gone, so it closes
# late, and later from try to try.
raw() {
	local answer seconds
	for seconds in ${3:-1 3 10 30}; do
		answer=$(printf "$2" | lxc exec "$1" -- sh -c "{ cat; sleep $seconds; } | busybox nc 169.254.169.254 80")
		[ -z "$answer" ] || break
	done
	echo "$answer"
}

@test "each instance reads its own: as EC2, as a NoCloud seed, as OpenStack" {
	[[ $(fetch a /latest/user-data) == *"secret: of-a"* ]]
	[[ $(fetch b /latest/user-data) == *"secret: of-b"* ]]
	[ "$(fetch a /2009-04-04/meta-data/local-hostname)" = a ]
	[ "$(fetch a /latest/meta-data/local-ipv4)/24" = "$(address a)" ]
	id=$(api GET /1.0/instances/a | json '.metadata.config["volatile.cloud-init.instance-id"]')
	[ "$(fetch a /latest/meta-data/instance-id)" = "$id" ]
	[[ $(fetch a /latest/meta-data/) == *"instance-id"*"local-ipv4"* ]]
	[[ $(fetch a /nocloud/meta-data) == "instance-id: $id"*"local-hostname: a"* ]]
	fetch a /nocloud/vendor-data
	[ "$(fetch a /openstack/latest/meta_data.json | json .uuid)" = "$id" ]
	run fetch a /latest/user-data/more
	[ "$status" -ne 0 ]
	run fetch a /../../etc/passwd
	[ "$status" -ne 0 ]
}

@test "a change of the config is seen within seconds" {
	lxc config set a cloud-init.user-data='#cloud-config
later: yes'
	eventually 5 sh -c "lxc exec a -- busybox wget -qO- http://169.254.169.254/latest/user-data | grep -q later"
	lxc config set a cloud-init.user-data='#cloud-config
secret: of-a'
}

@test "who shall not know of the guest API reads nothing here, either" {
	lxc config set b security.guestapi=false
	eventually 5 sh -c '! lxc exec b -- busybox timeout 4 busybox wget -qO- http://169.254.169.254/latest/user-data'
	# What was read a moment ago may be the answer for a second.
	eventually 5 eval '[[ $(fetch a /latest/user-data) == *"of-a"* ]]'
	lxc config unset b security.guestapi
	eventually 5 sh -c 'lxc exec b -- busybox timeout 4 busybox wget -qO- http://169.254.169.254/latest/user-data'
}

@test "tokens are given out as clients of EC2 want them, and a wrong one is refused" {
	token=$(raw a 'PUT /latest/api/token HTTP/1.0\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n' | tail -n 1)
	[ ${#token} = 32 ]
	[[ $(raw a "GET /latest/meta-data/hostname HTTP/1.0\r\nX-aws-ec2-metadata-token: $token\r\n\r\n") == *200*a ]]
	[[ $(raw a "GET /latest/meta-data/hostname HTTP/1.0\r\nX-aws-ec2-metadata-token: wrong\r\n\r\n") == *401* ]]
	[[ $(raw b "GET /latest/meta-data/hostname HTTP/1.0\r\nX-aws-ec2-metadata-token: $token\r\n\r\n") == *401* ]]
	[[ $(raw a 'PUT /latest/api/token HTTP/1.0\r\n\r\n') == *400* ]]
	[[ $(raw a 'DELETE /latest/user-data HTTP/1.0\r\n\r\n') == *405* ]]
	[[ $(raw a 'nonsense\r\n\r\n' 1) != *200* ]]
}

@test "an instance with another one's address reads nothing, and its neighbour still does" {
	eventually 5 sh -c "lxc exec a -- busybox wget -qO- http://169.254.169.254/latest/user-data | grep -q of-a"
	lxc exec b -- sh -c "ip addr flush dev eth0; ip addr add $(address a) dev eth0; ip route add default via 10.79.9.1"
	run fetch b /latest/user-data 4
	[ "$status" -ne 0 ]
	[[ $output != *secret* ]]
	# Nor does it hear what is answered to the neighbour, whom the host takes it for.
	in_net ip neigh flush dev "$(in_net ip -o link show type bridge | awk -F': ' '{ print $2; exit }')" || true
	lxc exec b -- sh -c "ip addr flush dev eth0; ip addr add $(address b) dev eth0; ip route add default via 10.79.9.1"
	eventually 5 sh -c "lxc exec b -- busybox timeout 4 busybox wget -qO- http://169.254.169.254/latest/user-data | grep -q of-b"
	eventually 5 eval '[[ $(fetch a /latest/user-data) == *"of-a"* ]]'
}

@test "the service has no other door: not its own port, not another port of its address, nobody speaks as it" {
	port=$(in_net nft list ruleset | sed -n 's/.*elements = { "b[^"]*" : \([0-9]*\) }.*/\1/p' | head -n 1)
	[ "$port" -gt 0 ]
	run lxc exec a -- busybox timeout 3 busybox wget -qO- "http://10.79.9.1:$port/latest/user-data"
	[ "$status" -ne 0 ]
	[[ $output != *secret* ]]
	run lxc exec a -- busybox timeout 3 busybox wget -qO- http://169.254.169.254:8080/
	[ "$status" -ne 0 ]
	# b says that it is the service, at a's wire: a hears nothing of it.
	lxc exec b -- sh -c 'ip addr add 169.254.169.254/32 dev eth0; (echo false | busybox nc -l -p 81 >/dev/null 2>&1 &)'
	lxc exec a -- sh -c 'ip route add 169.254.169.254/32 dev eth0'
	run lxc exec a -- busybox timeout 3 busybox nc 169.254.169.254 81
	[[ $output != *false* ]]
	lxc exec a -- sh -c 'ip route del 169.254.169.254/32 dev eth0'
	lxc exec b -- ip addr del 169.254.169.254/32 dev eth0
}

@test "the process of the service has no rights, is started again when it is killed, and a new daemon has one" {
	pid=$(pgrep -P "$(berthd_pid)" berth-metadata)
	[ "$(awk '/^Uid/ { print $2 }' "/proc/$pid/status")" = 65534 ]
	[ "$(awk '/^CapEff/ { print $2 }' "/proc/$pid/status")" = 0000000000000000 ]
	[ "$(awk '/^Seccomp:/ { print $2 }' "/proc/$pid/status")" = 2 ]
	[ -z "$(nsenter -t "$pid" --net ip -o link show up)" ]
	kill -KILL "$pid"
	eventually 10 sh -c "lxc exec a -- busybox timeout 4 busybox wget -qO- http://169.254.169.254/latest/user-data | grep -q of-a"
	berthd_restart KILL
	eventually 10 sh -c "lxc exec b -- busybox timeout 4 busybox wget -qO- http://169.254.169.254/latest/user-data | grep -q of-b"
	eventually 5 sh -c "! kill -0 $pid 2>/dev/null"
}
