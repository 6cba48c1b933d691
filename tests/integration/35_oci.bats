# SPDX-License-Identifier: Apache-2.0
# berth-container as an OCI runtime: the life of a bundle, limits, hooks, terminals, and podman on top.

load runtime
load oci

setup_file() {
	runtime_setup
	oci_setup
}

teardown_file() {
	oci_teardown
	runtime_teardown
}

wait_status() {
	eventually 10 eval '[ "$(oci state "'"$1"'" | jq -r .status)" = "'"$2"'" ]'
}

@test "a bundle is created, started, killed and deleted, and leaves nothing" {
	config ""
	oci create --bundle "$WORK/bundle" --pid-file "$WORK/pidfile" one
	wait_status one created
	[ "$(oci state one | python3 -c 'import json,sys; print(json.load(sys.stdin)["pid"])')" = "$(cat "$WORK/pidfile")" ]
	run oci create --bundle "$WORK/bundle" one
	[ "$status" -ne 0 ]
	oci start one
	wait_status one running
	run oci start one
	[ "$status" -ne 0 ]
	[[ $output == *running* ]]
	run oci delete one
	[ "$status" -ne 0 ]
	[ "$(oci list -q)" = one ]
	oci kill one KILL
	wait_status one stopped
	run oci kill one TERM
	[ "$status" -ne 0 ]
	oci delete one
	run oci state one
	[[ $output == *"does not exist"* ]]
	[ -z "$(ls -A "$WORK/oci")" ]
	[ -z "$(find /sys/fs/cgroup -type d -name "berth-oci-${WORK##*/}")" ]
}

@test "run gives the program's status and output" {
	config "c['process']['args'] = ['sh', '-c', 'echo out; echo err >&2; exit 9']"
	run oci run --bundle "$WORK/bundle" two
	[ "$status" -eq 9 ]
	[[ $output == *out* ]]
	config "c['process']['args'] = ['/no/such']"
	run oci run --bundle "$WORK/bundle" two
	[ "$status" -ne 0 ]
	[[ $output == *"/no/such"* ]]
	[ -z "$(oci list -q)" ]
}

@test "exec runs with the container's rights or those it is given" {
	config ""
	oci run --detach --bundle "$WORK/bundle" three
	run oci exec three sh -c 'echo in; exit 4'
	[ "$status" -eq 4 ]
	[ "$output" = in ]
	[ "$(oci exec --user 12:34 --cwd /tmp --env X=y three sh -c 'echo $(id -u):$(id -g) $(pwd) $X')" = "12:34 /tmp y" ]
	run oci exec --user 12x three id
	[[ $output == *"--user 12x"* ]]
	[ "$(oci exec three grep CapBnd /proc/self/status)" = "$(oci exec three grep CapBnd /proc/1/status)" ]
	[[ $(oci exec --tty three tty </dev/null) == *"/dev/pts/"* ]]
	[[ $(oci ps --format json three) == "["*"]" ]]
	oci delete --force three
}

@test "limits are set, changed, and refused by their name" {
	config "c['linux']['resources'].update(memory={'limit': 33554432}, pids={'limit': 7}, cpu={'shares': 512, 'quota': 50000, 'period': 100000})"
	oci run --detach --bundle "$WORK/bundle" four
	group=$(python3 -c "import json; print(*json.load(open('$WORK/oci/four/state.json'))['cgroups'])")
	[ "$(cat $(printf '%s/pids.max\n' $group | xargs ls 2>/dev/null | head -1))" = 7 ]
	[ "$(cat $(printf '%s/memory.limit_in_bytes\n%s/memory.max\n' $(printf '%s %s\n' $(for g in $group; do echo $g $g; done)) | xargs ls 2>/dev/null | head -1))" = 33554432 ]
	oci update --pids-limit 9 four
	[ "$(cat $(printf '%s/pids.max\n' $group | xargs ls 2>/dev/null | head -1))" = 9 ]
	oci pause four
	wait_status four paused
	run oci exec four true
	[ "$status" -ne 0 ]
	oci resume four
	oci exec four true
	[[ $(oci events --stats four) == *'"pids"'* ]]
	oci delete --force four
	config "c['linux']['resources']['unified'] = {'no.such': '1'}"
	run oci run --bundle "$WORK/bundle" four
	[ "$status" -ne 0 ]
	[[ $output == *"no.such"* ]]
}

@test "hooks run at their moments with the state, and a failing one undoes the creation" {
	cat >"$WORK/hook" <<-'SH'
		#!/bin/sh
		echo "$1 $(grep -o '"status": "[a-z]*"')" >>"$2"
		exit "$3"
	SH
	chmod 755 "$WORK/hook"
	config "
for name in ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop']:
    c.setdefault('hooks', {})[name] = [{'path': work + '/hook', 'args': ['hook', name, work + '/hooks.log', '0'], 'env': ['PATH=/usr/bin:/bin']}]"
	oci create --bundle "$WORK/bundle" five
	oci start five
	oci delete --force five
	cat "$WORK/hooks.log"
	[ "$(cut -d' ' -f1 "$WORK/hooks.log" | tr '\n' ' ')" = "prestart createRuntime createContainer poststart poststop " ]
	config "c['hooks'] = {'createRuntime': [{'path': work + '/hook', 'args': ['hook', 'x', work + '/hooks.log', '3'], 'env': ['PATH=/usr/bin:/bin']}]}"
	run oci create --bundle "$WORK/bundle" five
	[ "$status" -ne 0 ]
	[[ $output == *createRuntime* ]]
	[ -z "$(oci list -q)" ]
	config "c['hooks'] = {'prestart': [{'path': '/bin/sleep', 'args': ['sleep', '60'], 'timeout': 1}]}"
	run timeout 20 "$BERTH_CONTAINER" --root "$WORK/oci" create --bundle "$WORK/bundle" five
	[ "$status" -eq 1 ]
}

@test "a user namespace, masked paths, sysctl and a seccomp profile are as the configuration says" {
	config "
c['linux']['namespaces'].append({'type': 'user'})
c['linux']['uidMappings'] = c['linux']['gidMappings'] = [{'containerID': 0, 'hostID': 4000000, 'size': 65536}]
c['linux']['sysctl'] = {'net.ipv4.ip_forward': '1'}
c['linux']['seccomp'] = {'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{'names': ['mkdir', 'mkdirat'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 5}]}
c['root']['path'] = work + '/mapped'
c['process']['args'] = ['sh', '-c', 'cat /proc/self/uid_map; cat /proc/sys/net/ipv4/ip_forward; mkdir /tmp/x; wc -c < /proc/timer_list']"
	cp -a "$WORK/bundle/rootfs" "$WORK/mapped"
	chown -R -h 4000000:4000000 "$WORK/mapped"
	run oci run --bundle "$WORK/bundle" six
	echo "$output"
	[[ ${lines[0]} == *4000000* ]]
	[ "${lines[1]}" = 1 ]
	[[ ${lines[2]} == *"Input/output error"* ]]
	[ "${lines[3]}" = 0 ]
}

@test "what cannot be is refused by its name before anything is made" {
	config "c['ociVersion'] = '2.0'"
	run oci create --bundle "$WORK/bundle" seven
	[[ $output == *ociVersion* ]]
	config "c['linux']['namespaces'] = [{'type': 'pid'}]"
	run oci create --bundle "$WORK/bundle" seven
	[[ $output == *"mount namespace"* ]]
	config "c['process']['rlimits'] = [{'type': 'RLIMIT_NONE', 'soft': 1, 'hard': 1}]"
	run oci create --bundle "$WORK/bundle" seven
	[[ $output == *RLIMIT_NONE* ]]
	config "c['linux']['resources']['devices'] = [{'allow': True, 'access': 'rwm'}, {'allow': False, 'type': 'c', 'major': 1, 'minor': 3, 'access': 'rwm'}]"
	run oci create --bundle "$WORK/bundle" seven
	[[ $output == *devices* ]]
	for id in "" ../x a/b "a b" . ..; do
		run oci create --bundle "$WORK/bundle" "$id"
		[ "$status" -ne 0 ]
	done
	[ -z "$(oci list -q)" ]
	run oci --log "$WORK/log" --log-format json state nosuch
	python3 -c "import json; assert 'nosuch' in json.loads(open('$WORK/log').read())['msg']"
}

@test "podman runs containers with it" {
	command -v podman >/dev/null || skip "no podman"
	printf '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\n[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\n' >"$WORK/containers.conf"
	export CONTAINERS_CONF=$WORK/containers.conf
	pod() { podman --root "$WORK/pod" --runroot "$WORK/podrun" --tmpdir "$WORK/podtmp" --storage-driver vfs --runtime "$BERTH_CONTAINER" "$@"; }
	tar -C "$BUSYBOX" -c . | pod import - busybox
	run pod run --rm --net=none --memory 64m --user 1000 busybox sh -c 'id -u; exit 3'
	echo "$output"
	[ "$status" -eq 3 ]
	[[ $output == *1000* ]]
	pod run -d --name p --net=none busybox sleep 100
	eventually 10 eval '[[ $(pod exec p ps) == *"sleep 100"* ]]'
	pod pause p
	pod unpause p
	pod rm -f -t 0 p
	run pod run --rm --net=none busybox nosuch
	[ "$status" -eq 127 ]
	pod rmi -a -f >/dev/null
}
