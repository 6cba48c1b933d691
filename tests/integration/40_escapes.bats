# SPDX-License-Identifier: Apache-2.0
# Every class of runtime escape of the past, tried from inside a container of each sort.

load runtime

setup_file() {
	runtime_setup
	# An image with the attacker in it.
	cp -a "$BUSYBOX" "$WORK/image"
	cp "$BERTH_BUILD/tests/integration/attack" "$WORK/image/bin/attack"
	local layer="plan['root']['layers'] = ['$WORK/image']"
	local root="del plan['idmap']; plan['privileged'] = True"
	make_container application "$layer"
	make_container system "$layer; plan['init']['system'] = True"
	make_container privileged "$layer; $root"
	for name in application system privileged; do start "$name" >&2; done
}

teardown_file() { runtime_teardown; }

attack_all() {
	for name in "$@"; do
		run in_it "$name" /bin/attack "$ATTACK"
		echo "$name: $output"
		[ "$status" -eq 0 ]
		[ "$output" = "held $ATTACK" ]
	done
}

@test "no descriptor is left open to a program, nor a directory outside" {
	ATTACK=descriptors attack_all application system privileged
	# Where a descriptor leads inside, that is all it does.
	for fd in $(seq 3 20); do
		run in_it privileged -w "/proc/self/fd/$fd" sh -c '[ -e bin/attack ] && pwd'
		[ "$status" -ne 0 ] || [ "$output" = / ]
	done
}

@test "descriptors that the runner's caller left open stay outside, and a directory that is one leads nowhere" {
	mkdir "$WORK/leak"
	echo secret >"$WORK/leak/secret"
	exec 7<"$WORK/leak" 9<>"$WORK/leak/secret"
	make_container leaky "plan['root']['layers'] = ['$WORK/image']"
	start leaky
	ATTACK=descriptors attack_all leaky
	[ "$(in_it leaky sh -c 'ls /proc/1/fd')" = $'0\n1\n2' ]
	stop leaky
	local fd
	for fd in 3 6 7 9 12; do
		make_container "cwd$fd" "plan['root']['layers'] = ['$WORK/image']; plan['init']['cwd'] = '/proc/self/fd/$fd'"
		start "cwd$fd" || continue
		run in_it "cwd$fd" sh -c 'readlink /proc/1/cwd; cat /proc/1/cwd/secret'
		[[ $output != *secret || $output == *"can't open"* ]]
		stop "cwd$fd"
	done
	exec 7<&- 9<&-
}

@test "a mount over /proc, /sys or what is masked there opens nothing" {
	mkdir -p "$WORK/fake/kernel" "$WORK/fake/net/ipv4"
	: >"$WORK/fake/net/ipv4/ip_forward"
	local target
	for target in /proc /proc/sys /proc/self/attr /sys /sys/fs/cgroup /dev; do
		make_container over "plan['root']['layers'] = ['$WORK/image']; plan['sysctl'] = {'net.ipv4.ip_forward': '1'}
plan['mounts'] = [{'type': 'bind', 'source': '$WORK/fake', 'target': '$target'}]"
		if start over >/dev/null 2>&1; then
			ATTACK=proc attack_all over
			ATTACK=cgroup attack_all over
			stop over
		else
			echo "$target: $(tail -n 1 "$WORK/over/runner.log")"
		fi
		[ ! -s "$WORK/fake/net/ipv4/ip_forward" ]
		rm -rf "$WORK/over"
	done
}

@test "the first process has no descriptor of its runner, either" {
	for name in application system privileged; do
		run in_it "$name" sh -c 'ls /proc/1/fd'
		[ "$output" = $'0\n1\n2' ]
	done
}

@test "hidden and read-only paths of /proc and /sys are so" {
	ATTACK=proc attack_all application privileged
	run in_it system /bin/attack proc
	echo "$output"
	[ "$output" = "held proc" ]
}

@test "no device of the host is made and opened" {
	ATTACK=devices attack_all application system privileged
}

@test "no cgroup of v1 can be changed, no release agent set" {
	ATTACK=cgroup attack_all application system privileged
}

@test "no user namespace is made in the container" {
	ATTACK=namespaces attack_all application system privileged
}

@test "system calls into the host's kernel are refused" {
	ATTACK=calls attack_all application system privileged
}

@test "an application mounts nothing and keeps its masks" {
	ATTACK=mount attack_all application privileged
}

@test "a chroot in the container does not lead above its root" {
	ATTACK=chroot attack_all application system privileged
}

@test "no capability is inheritable or ambient, a filter is loaded, no abstract socket is seen" {
	ATTACK=rights attack_all application system privileged
}

@test "a program that enters cannot be opened, traced or overwritten from inside" {
	before=$(sha256sum <"$BERTH_CONTAINER")
	for name in application privileged; do
		in_it "$name" /bin/attack entering 4 >"$WORK/$name.entering" &
		attacker=$!
		sleep 0.3
		for _ in $(seq 30); do in_it "$name" true; done
		wait $attacker
		sort "$WORK/$name.entering" | uniq -c
		tail -n 1 "$WORK/$name.entering" | grep -x "held entering"
		not grep ESCAPED "$WORK/$name.entering"
	done
	[ "$(sha256sum <"$BERTH_CONTAINER")" = "$before" ]
}

@test "an image whose program is /proc/self/exe runs no program of the host with rights" {
	before=$(sha256sum <"$BERTH_CONTAINER")
	ln -sf /proc/self/exe "$WORK/image/bin/self"
	make_container self "plan['root']['layers'] = ['$WORK/image']; plan['init']['args'] = ['/bin/self', 'run', '/etc/passwd']; del plan['idmap']; plan['privileged'] = True"
	start self || true
	run wait_exit self
	echo "$output"
	[[ $output != *'"wait_status": 0'* ]]
	[ "$(sha256sum <"$BERTH_CONTAINER")" = "$before" ]
	for name in application privileged; do
		run in_it "$name" /proc/self/exe exec
		[ "$status" -ne 0 ]
	done
	[ "$(sha256sum <"$BERTH_CONTAINER")" = "$before" ]
}

@test "links in an image for /dev, /proc and /sys are refused, and nothing is made where they lead" {
	for dir in dev proc sys; do
		mkdir "$WORK/outside-$dir"
		cp -a "$BUSYBOX" "$WORK/linked-$dir"
		ln -s "../../../../../../$WORK/outside-$dir" "$WORK/linked-$dir/$dir"
		make_container "linked$dir" "plan['root']['layers'] = ['$WORK/linked-$dir']"
		start_fails "linked$dir" "symbolic link"
		[ -z "$(ls -A "$WORK/outside-$dir")" ]
	done
}

@test "a device below a linked directory is made in the container's own /dev" {
	make_container deep "plan['devices'] = [{'path': '/dev/a/b/null', 'type': 'c', 'major': 1, 'minor': 3, 'mode': 0o666}]"
	start deep
	in_it deep test -c /dev/a/b/null
	stop deep
	make_container climbing "plan['devices'] = [{'path': '/dev/../../../../$WORK/node', 'type': 'c', 'major': 1, 'minor': 3}]"
	start climbing || true
	[ ! -e "$WORK/node" ]
}

@test "a mount's target that a link leads out of is made inside the root" {
	mkdir "$WORK/target"
	cp -a "$BUSYBOX" "$WORK/escaping"
	ln -s "../../../../../../$WORK/target" "$WORK/escaping/data"
	ln -s "/proc/self/root/$WORK/target" "$WORK/escaping/magic"
	make_container escaping "plan['root']['layers'] = ['$WORK/escaping']; plan['mounts'] = [{'type': 'tmpfs', 'target': '/data/new/dir'}]"
	start_fails escaping "symbolic link"
	[ -z "$(ls -A "$WORK/target")" ]
	# The same path stands in the root: then the link leads there.
	mkdir -p "$WORK/escaping$WORK/target"
	start escaping
	[ -z "$(ls -A "$WORK/target")" ]
	in_it escaping test -d "$WORK/target/new/dir"
	stop escaping
	make_container magic "plan['root']['layers'] = ['$WORK/escaping']; plan['mounts'] = [{'type': 'tmpfs', 'target': '/magic/new'}]"
	start magic || true
	[ -z "$(ls -A "$WORK/target")" ]
}

@test "a user that is no user or number is refused whole" {
	for user in "" 0x0 "0 " " 0" +0 -1 4294967295 4294967296 1000abc 0:0:0 0: :0 nosuch root:nosuch; do
		run in_it application -u "$user" id
		echo "$user: $output"
		[ "$status" -ne 0 ]
		[[ $output == *"error "* ]]
	done
	run in_it application -u user id
	[[ $output == "uid=1000(user) gid=1000(user) groups=10(wheel),100(users),1000(user)" || $output == "uid=1000(user) gid=1000(user) groups="* ]]
}

@test "a user database that is a FIFO, endless or a link out stops nobody" {
	cp -a "$BUSYBOX" "$WORK/users"
	rm "$WORK/users/etc/passwd"
	mkfifo "$WORK/users/etc/passwd"
	make_container fifo "plan['root']['layers'] = ['$WORK/users']; plan['init']['user'] = 'user'"
	start_fails fifo "no regular file"
	rm "$WORK/users/etc/passwd"
	truncate -s 2G "$WORK/users/etc/passwd"
	make_container endless "plan['root']['layers'] = ['$WORK/users']; plan['init']['user'] = 'user'"
	start_fails endless "too large"
	rm "$WORK/users/etc/passwd"
	ln -s ../../../../../../../etc/passwd "$WORK/users/etc/passwd"
	make_container outlink "plan['root']['layers'] = ['$WORK/users']; plan['init']['user'] = 'daemon'"
	not start outlink
}

@test "lengths that netlink cannot carry are refused before anything is sent" {
	make_container longnic "plan['nics'] = [{'link': 'x' * 70000, 'name': 'e' * 70000, 'mac': '00' * 40000}]"
	not start longnic
	make_container longmac "plan['nics'] = [{'link': 'lo', 'name': 'eth0', 'mac': '0' * 300}]"
	not start longmac
}

@test "files copied in and out while the container swaps directories for links stay inside" {
	in_it application /bin/attack swap 5 >/dev/null &
	swapper=$!
	for i in $(seq 25); do
		echo evil | "$RUNNER" files "$WORK/application" put "/tmp/d/berth-swapped-$i" >/dev/null 2>&1 || true
		"$RUNNER" files "$WORK/application" get /tmp/d/etc/shadow 2>/dev/null | grep . && false
	done
	wait $swapper
	not ls /berth-swapped-* 2>/dev/null
}

@test "a sysctl that the host shares is refused" {
	make_container sysctl "plan['sysctl'] = {'kernel.core_pattern': '|/bin/attack'}"
	start_fails sysctl "kernel.core_pattern"
	make_container dots "plan['sysctl'] = {'net..........kernel.core_pattern': 'x'}"
	start_fails dots "sysctl"
	make_container slashes "plan['sysctl'] = {'net./../kernel/core_pattern': 'x'}"
	start_fails slashes "sysctl"
	[ "$(cat /proc/sys/kernel/core_pattern)" != x ]
	make_container own "plan['sysctl'] = {'net.ipv4.ip_forward': '1'}"
	start own
	[ "$(in_it own cat /proc/sys/net/ipv4/ip_forward)" = 1 ]
	stop own
}

@test "the runner has no capability, no way to new ones, and opens nothing but its files" {
	runner=$(awk '/^PPid/ {print $2}' "/proc/$(cat "$WORK/application/pid")/status")
	grep -x $'CapEff:\t0000000000000000' "/proc/$runner/status"
	grep -x $'CapPrm:\t0000000000000000' "/proc/$runner/status"
	grep -x $'NoNewPrivs:\t1' "/proc/$runner/status"
}
