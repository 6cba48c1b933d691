# SPDX-License-Identifier: Apache-2.0
# See run. Each firmware's guest is launched once; the tests after that ask it, and each tells all that is wrong.

bats_require_minimum_version 1.5.0
load ../../integration/common
load common
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
	rm -rf "$BERTH_BUILD/debian"
	mkdir "$BERTH_BUILD/debian"
}
teardown_file() { berthd_stop; }
teardown() {
	local name
	[ -z "${BATS_TEST_COMPLETED:-}" ] || return 0
	for name in b u; do
		[ -d "$BERTH_DIR/instances/default/$name" ] || continue
		cp "$BERTH_DIR/instances/default/$name/console.log" "$BERTH_BUILD/debian/$name.console"
		timeout 100 lxc exec "$name" -- journalctl -b --no-pager >"$BERTH_BUILD/debian/$name.journal" 2>&1 || true
		echo "# kept: $BERTH_BUILD/debian/$name.*" >&3
	done
}

# launched NAME MODE: waits until cloud-init is done with it.
launched() {
	berth launch debian "$1" --type virtual-machine --cpus 1 --memory 512MiB --storage 3GiB --network vnet \
		--config boot.mode="$2" --config cloud-init.user-data="#cloud-config
ssh_authorized_keys: [ $(cat "$BERTH_BASE/key.pub") ]
write_files: [ { path: /root/seeded, content: 'by $1' } ]
runcmd: [ [ sh, -c, 'echo ran >>/root/seeded' ] ]"
	favour
	eventually 900 sh -c "lxc exec $1 -- true 2>/dev/null"
	timeout 900 lxc exec "$1" -- cloud-init status --wait --long
	echo "# CPU seconds until cloud-init was done: $(cpu_seconds "$1")" >&3
}

# applied NAME: what cloud-init was asked for is so.
applied() {
	local address
	address=$(api GET "/1.0/instances/$1" | json '.metadata.config["volatile.eth0.ipv4.address"]')
	address=${address%/*}
	check "the host name is $1" [ "$(lxc exec "$1" -- hostname)" = "$1" ]
	check "a file was written and a command ran" [ "$(lxc exec "$1" -- cat /root/seeded)" = "by $1ran" ]
	check "the card has the address $address" [ -n "$(lxc exec "$1" -- ip -4 -o addr show to "$address")" ]
	check "the address answers" in_net ping -q -c 1 -W 30 "$address"
	check "the user debian may log in with the key, and be root" [ "$(in_net timeout 200 ssh -i "$BERTH_BASE/key" \
		-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=60 \
		"debian@$address" 'sudo -n id -u')" = 0 ]
	check "the root has grown into the disk" [ "$(lxc exec "$1" -- df -m --output=size / | tail -n 1)" -gt 2700 ]
	all_well
}

# verbs NAME: the agent's.
verbs() {
	head -c 3000000 /dev/urandom >"$BERTH_BASE/file"
	check "a file goes in" lxc file push "$BERTH_BASE/file" "$1/root/file"
	check "and comes back" cmp "$BERTH_BASE/file" <(lxc file pull "$1/root/file" -)
	check "a status comes back" returns 7 lxc exec "$1" -- sh -c 'exit 7'
	check "standard input arrives" [ "$(echo in | lxc exec "$1" -- cat)" = in ]
	check "a terminal is one" lxc exec "$1" -t -- test -t 0
	check "nothing has failed" [ "$(lxc exec "$1" -- systemctl --failed --no-legend)" = "" ]
	check "it is up" [ "$(lxc exec "$1" -- systemctl is-system-running --wait)" = running ]
	check "the state has addresses" [ "$(api GET "/1.0/instances/$1/state" |
		json '.metadata.network.eth0.addresses | length > 0')" = true ]
	all_well
}

# served NAME: the metadata service tells it its own data.
served() {
	# shellcheck disable=SC2016 # Python's
	lxc exec "$1" -- python3 -c 'import urllib.request as r, sys
for path in "user-data", "meta-data/instance-id", "meta-data/hostname", "meta-data/local-ipv4":
    print(path, r.urlopen("http://169.254.169.254/latest/" + path, timeout=60).read().decode())' >"$BERTH_BASE/served"
	check "user data" grep -q "by $1" "$BERTH_BASE/served"
	check "its name" grep -qx "meta-data/hostname $1" "$BERTH_BASE/served"
	check "its address" grep -qx "meta-data/local-ipv4 10\.79\.11\.[0-9]*" "$BERTH_BASE/served"
	all_well
}

# again NAME: off by the power button, on by the same firmware; cloud-init does nothing twice.
again() {
	timeout 400 lxc stop "$1" --timeout 300
	check "it is off" [ "$(lxc list -f csv -c s "$1")" = STOPPED ]
	lxc start "$1"
	favour
	eventually 900 sh -c "lxc exec $1 -- true 2>/dev/null"
	timeout 900 lxc exec "$1" -- cloud-init status --wait
	check "the command ran once" [ "$(lxc exec "$1" -- grep -c ran /root/seeded)" = 1 ]
	check "the file is still there" cmp "$BERTH_BASE/file" <(lxc file pull "$1/root/file" -)
	check "the host name is $1" [ "$(lxc exec "$1" -- hostname)" = "$1" ]
	echo "# CPU seconds of the second start: $(cpu_seconds "$1")" >&3
	all_well
	timeout 300 lxc delete -f "$1"
}

@test "by BIOS: GRUB, Debian's kernel, cloud-init to its end" {
	launched b bios
	check "no EFI" returns 1 lxc exec b -- test -d /sys/firmware/efi
	all_well
}
@test "by BIOS: cloud-init did what was asked for" { applied b; }
@test "by BIOS: exec, files, the state, a terminal" { verbs b; }
@test "by BIOS: the metadata service" { served b; }
@test "by BIOS: off by the power button, and on again" { again b; }

@test "by UEFI: GRUB, Debian's kernel, cloud-init to its end" {
	launched u uefi-nosecureboot
	lxc exec u -- test -d /sys/firmware/efi
}
@test "by UEFI: cloud-init did what was asked for" { applied u; }
@test "by UEFI: exec, files, the state, a terminal" { verbs u; }
@test "by UEFI: the metadata service" { served u; }
@test "by UEFI: off by the power button, and on again" { again u; }
