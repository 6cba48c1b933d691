# SPDX-License-Identifier: Apache-2.0
# The escapes that an OCI bundle can be made for: who wrote it is trusted with the host's ids, who made the rootfs is not.

load runtime
load oci

setup_file() {
	runtime_setup
	oci_setup
	cp "$BERTH_BUILD/tests/integration/attack" "$WORK/bundle/rootfs/bin/attack"
	mkdir "$WORK/outside"
	echo secret >"$WORK/outside/secret"
}
teardown_file() {
	oci_teardown
	runtime_teardown
}

# fresh NAME: a rootfs that a test may spoil; the bundle uses it.
fresh() {
	rm -rf "${WORK:?}/$1"
	cp -a "$WORK/bundle/rootfs" "$WORK/$1"
}

nothing_outside() {
	[ "$(ls -A "$WORK/outside")" = secret ]
	[ "$(cat "$WORK/outside/secret")" = secret ]
}

@test "a working directory that is a descriptor leads nowhere" {
	local fd
	exec 7<"$WORK/outside"
	for fd in 3 5 6 7 8 9 11; do
		config "c['process']['cwd'] = '/proc/self/fd/$fd'; c['process']['args'] = ['sh', '-c', 'cat secret; pwd']"
		run oci run --bundle "$WORK/bundle" "cwd$fd"
		[[ $output != *secret* || $output == *"No such file"* || $output == *"can't open"* ]] || { echo "$fd: $output"; false; }
		[ "$status" -ne 0 ] || [ "${lines[-1]}" = / ]
		oci delete --force "cwd$fd" 2>/dev/null || true
	done
	exec 7<&-
}

@test "descriptors that the caller left open do not reach the program, by run or exec" {
	exec 7<"$WORK/outside" 9<>"$WORK/outside/secret"
	config "c['process']['args'] = ['/bin/attack', 'descriptors']"
	run oci run --bundle "$WORK/bundle" leak
	[ "$output" = "held descriptors" ]
	config ""
	oci run --detach --bundle "$WORK/bundle" leak2
	run oci exec leak2 /bin/attack descriptors
	[ "$output" = "held descriptors" ]
	oci delete --force leak2
	exec 7<&- 9<&-
}

@test "links in a rootfs for /dev, /proc, /sys and what stands in them make nothing outside" {
	local dir
	for dir in dev proc sys; do
		fresh linked
		rm -rf "$WORK/linked/$dir"
		ln -s "../../../../../../$WORK/outside" "$WORK/linked/$dir"
		config "c['root']['path'] = work + '/linked'"
		run oci run --detach --bundle "$WORK/bundle" linked
		echo "$dir: $output"
		[ "$status" -ne 0 ]
		nothing_outside
	done
}

@test "without a /dev of its own, a rootfs's /dev/null is not what masks a path" {
	local target
	for target in /proc/sys/kernel/core_pattern "../../../../../../$WORK/outside/secret"; do
		fresh masked
		ln -sf "$target" "$WORK/masked/dev/null"
		config "
c['root']['path'] = work + '/masked'
c['mounts'] = [m for m in c['mounts'] if not m['destination'].startswith('/dev')]
c['linux']['maskedPaths'] = ['/proc/timer_list', '/proc/keys']
c['process']['args'] = ['sh', '-c', 'wc -c < /proc/keys; cat /proc/timer_list | head -c 100; echo x > /proc/keys']"
		run oci run --bundle "$WORK/bundle" masked
		echo "$output"
		[ "$status" -ne 0 ]
		[[ $output == *"not the null device"* ]]
		nothing_outside
	done
}

@test "a console that is a link in the rootfs is not bound elsewhere" {
	fresh console
	rm -f "$WORK/console/dev/console"
	ln -s "../../../../../../$WORK/outside/secret" "$WORK/console/dev/console"
	config "
c['root']['path'] = work + '/console'
c['mounts'] = [m for m in c['mounts'] if m['destination'] != '/dev']
c['process']['terminal'] = True
c['process']['args'] = ['sh', '-c', 'echo overwritten > /dev/console']"
	timeout 10 script -qec "$BERTH_CONTAINER --root $WORK/oci run --bundle $WORK/bundle console" /dev/null </dev/null || true
	nothing_outside
	oci delete --force console 2>/dev/null || true
}

@test "nothing but a proc file system is mounted at /proc, nor over what is written there" {
	local mount
	mkdir -p "$WORK/fake/sys/net/ipv4" "$WORK/fake/self/attr"
	: >"$WORK/fake/sys/net/ipv4/ip_forward"
	for mount in "{'destination': '/proc', 'type': 'tmpfs', 'source': 'tmpfs'}" \
		"{'destination': '/proc', 'type': 'bind', 'source': work + '/fake', 'options': ['bind']}" \
		"{'destination': '/proc/sys', 'type': 'bind', 'source': work + '/fake/sys', 'options': ['bind', 'rw']}" \
		"{'destination': '/proc/self/attr', 'type': 'tmpfs', 'source': 'tmpfs'}" \
		"{'destination': '/sys', 'type': 'tmpfs', 'source': 'tmpfs'}"; do
		config "c['mounts'].append($mount); c['linux']['sysctl'] = {'net.ipv4.ip_forward': '1'}; c['process']['args'] = ['cat', '/proc/sys/net/ipv4/ip_forward']"
		run oci run --bundle "$WORK/bundle" fake
		echo "$mount: $output"
		# Refused, or the kernel's own file was written, before the mount came over it.
		[ ! -s "$WORK/fake/sys/net/ipv4/ip_forward" ]
		oci delete --force fake 2>/dev/null || true
	done
}

@test "a mount's target that is swapped for a link meanwhile stays inside the root" {
	fresh shared
	mkdir -p "$WORK/volume/d" "$WORK/shared/volume"
	ln -s "../../../../../../../$WORK/outside" "$WORK/volume/l"
	python3 - "$WORK/volume" <<'PY' &
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
end = time.time() + 20
while time.time() < end and not os.path.exists("stop"):
    for _ in range(2000):
        libc.renameat2(-100, b"d", -100, b"l", 2)
PY
	local swapper=$! i
	for i in 1 2 3 4 5 6 7 8; do
		config "
c['root']['path'] = work + '/shared'
c['mounts'] += [{'destination': '/volume', 'type': 'bind', 'source': work + '/volume', 'options': ['bind', 'rw']},
	{'destination': '/volume/d/new/sub', 'type': 'tmpfs', 'source': 'tmpfs', 'options': ['size=4k']}]
c['process']['args'] = ['sh', '-c', 'echo x > /volume/d/new/sub/file']"
		run oci run --bundle "$WORK/bundle" "swap$i"
		oci delete --force "swap$i" 2>/dev/null || true
		nothing_outside
	done
	touch "$WORK/volume/stop"
	wait $swapper
	nothing_outside
}

@test "annotations of a bundle and labels of an image choose nothing on the host" {
	config "
c['annotations'] = {'run.oci.handler': 'wasm', 'run.oci.hooks.stdout': work + '/outside/hook', 'module.wasm.image/variant': 'compat',
	'cdi.k8s.io/x': 'vendor.com/device=all', 'io.kubernetes.cri-o.Devices': '/dev/kvm:rwm', 'run.oci.systemd.subgroup': '../x',
	'org.criu.config': work + '/outside/criu'}
c['process']['args'] = ['sh', '-c', 'ls /dev/kvm; /bin/attack devices']"
	run oci run --bundle "$WORK/bundle" labels
	echo "$output"
	[[ $output == *"held devices"* && $output == *"/dev/kvm: No such"* ]]
	nothing_outside
}

@test "what holds in a plan's container holds in a bundle of the runtime's own" {
	local attack
	for attack in proc devices cgroup chroot descriptors; do
		config "c['process']['args'] = ['/bin/attack', '$attack']"
		run oci run --bundle "$WORK/bundle" "a-$attack"
		echo "$attack: $output"
		[ "$output" = "held $attack" ]
	done
}
