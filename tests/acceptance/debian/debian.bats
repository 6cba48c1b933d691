# SPDX-License-Identifier: Apache-2.0
# See run.

bats_require_minimum_version 1.5.0
load ../../integration/common
TOP=$(cd "$BATS_TEST_DIRNAME/../../.." && pwd)

setup_file() {
	local disk
	# Before HOME is another one.
	disk=$("$TOP/tests/images/disk" cloud)
	berthd_start || return 1
	api PATCH /1.0 '{"config":{"berth.engine":"soft"}}'
	api_wait POST /1.0/networks '{"name":"vnet","config":{"ipv4.address":"10.79.11.1/24","ipv6.address":"none"}}'
	berth image import "$disk" --alias debian
	ssh-keygen -q -t ed25519 -N '' -f "$BERTH_BASE/key"
}
teardown_file() { berthd_stop; }

# launched NAME MODE: waits until cloud-init is done with it.
launched() {
	berth launch debian "$1" --type virtual-machine --cpus 1 --memory 512MiB --storage 3GiB --network vnet \
		--config boot.mode="$2" --config cloud-init.user-data="#cloud-config
ssh_authorized_keys: [ $(cat "$BERTH_BASE/key.pub") ]
write_files: [ { path: /root/seeded, content: 'by $1' } ]
runcmd: [ [ sh, -c, 'echo ran >>/root/seeded' ] ]"
	eventually 900 sh -c "lxc exec $1 -- true 2>/dev/null"
	timeout 900 lxc exec "$1" -- cloud-init status --wait
}

cpu_seconds() {
	local pid
	pid=$(pgrep -f "instances/default/$1/(plan|machine).json" | head -n 1)
	# shellcheck disable=SC2046 # words
	set -- $(cat "/proc/$pid/stat")
	echo "# CPU seconds of the machine: $(((${14} + ${15}) / $(getconf CLK_TCK)))" >&3
}

# applied NAME: what cloud-init was asked for is so.
applied() {
	[ "$(lxc exec "$1" -- hostname)" = "$1" ]
	[ "$(lxc exec "$1" -- head -n 1 /root/seeded)" = "by $1ran" ] || [[ $(lxc exec "$1" -- cat /root/seeded) == "by $1"*ran ]]
	address=$(api GET "/1.0/instances/$1" | json '.metadata.config["volatile.eth0.ipv4.address"]')
	lxc exec "$1" -- ip -4 addr show | grep -q "inet $address"
	in_net ping -q -c 1 -W 10 "${address%/*}"
	[ "$(in_net ssh -i "$BERTH_BASE/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=60 \
		"debian@${address%/*}" 'sudo -n id -u' 2>/dev/null)" = 0 ]
	# The root has grown into the disk that was asked for.
	[ "$(lxc exec "$1" -- df -m --output=size / | tail -n 1)" -gt 2700 ]
}

@test "by UEFI: GRUB, Debian's kernel, cloud-init with what was asked for" {
	launched u uefi-nosecureboot
	lxc exec u -- test -d /sys/firmware/efi
	applied u
	cpu_seconds u
}

@test "the agent's verbs: exec, files, the state, a terminal" {
	head -c 3000000 /dev/urandom >"$BERTH_BASE/file"
	lxc file push "$BERTH_BASE/file" u/root/file
	lxc file pull u/root/file - | cmp - "$BERTH_BASE/file"
	run lxc exec u -- sh -c 'exit 7'
	[ "$status" = 7 ]
	[ "$(echo in | lxc exec u -- cat)" = in ]
	lxc exec u -t -- test -t 0
	[ "$(lxc exec u -- systemctl is-system-running --wait)" = running ]
	api GET /1.0/instances/u/state | json -e '.metadata.network.eth0.addresses | length > 0'
}

@test "it reads the metadata service, and its own data only" {
	lxc exec u -- python3 -c 'import urllib.request as r; print(r.urlopen("http://169.254.169.254/latest/user-data").read().decode())' |
		grep -q "by u"
}

@test "it stops by its power button, starts again by the same firmware, and cloud-init does nothing twice" {
	lxc stop u --timeout 300
	[ "$(lxc list -f csv -c s u)" = STOPPED ]
	lxc start u
	eventually 900 sh -c "lxc exec u -- true 2>/dev/null"
	[ "$(lxc exec u -- grep -c ran /root/seeded)" = 1 ]
	cpu_seconds u
	lxc stop -f u
}

@test "the same image by BIOS" {
	launched b bios
	run lxc exec b -- test -d /sys/firmware/efi
	[ "$status" -ne 0 ]
	applied b
	cpu_seconds b
	lxc delete -f b u
}
