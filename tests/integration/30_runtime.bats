# SPDX-License-Identifier: Apache-2.0
# The container runner by hand: start, console, exec, files, limits, its end, a Debian with systemd.

load runtime

setup_file() {
	runtime_setup
	make_container app "plan['init']['args'] = ['/bin/sh']; plan['rlimits'] = [{'type': 'nofile', 'soft': 100, 'hard': 999999}]; plan['mounts'] = [{'type': 'bind', 'source': '$BUSYBOX/etc', 'target': '/host-etc', 'readonly': True, 'shift': True}, {'type': 'tmpfs', 'target': '/scratch', 'size_bytes': 65536}]"
	start app >&2
}

teardown_file() { runtime_teardown; }

@test "a container runs with ids, names, mounts and processes of its own" {
	run in_it app sh -c 'id -u; hostname; cat /proc/1/comm; ls -d /host-etc/passwd; stat -c %u /host-etc/passwd; wc -l < /proc/self/uid_map; cat /proc/self/uid_map'
	echo "$output"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = 0 ]
	[ "${lines[1]}" = app ]
	[ "${lines[2]}" = sh ]
	[ "${lines[4]}" = 0 ]
	[ "$(echo ${lines[6]})" = "0 3000000 65536" ]
	# On the disk the ids stay those of the image.
	in_it app touch /made
	[ "$(stat -c %u "$WORK/app/volume/upper/made")" = 0 ]
}

@test "every namespace is its own" {
	pid=$(cat "$WORK/app/pid")
	for ns in user mnt pid net ipc uts cgroup time; do
		[ "$(readlink /proc/self/ns/$ns)" != "$(readlink "/proc/$pid/ns/$ns")" ]
	done
}

@test "exec gives the program's status, output and error" {
	run in_it app sh -c 'exit 7'
	[ "$status" -eq 7 ]
	run in_it app -s 15 sleep 60
	[ "$status" -eq 143 ]
	[ "$(echo piped | in_it app cat)" = piped ]
	run in_it app nosuch
	[[ $output == "error -2: "*nosuch* ]]
	run in_it app /etc/passwd
	[[ $output == "error -13: "* ]]
	[ "$(in_it app -w /tmp pwd)" = /tmp ]
	[ "$(in_it app pwd)" = /root ]
	[ "$(in_it app -u 5:6 id -u)" = 5 ]
}

@test "exec with a terminal has its size, and is hung up with its stream" {
	# The size comes when the program runs.
	run in_it app -t -r 132x43 sh -c 'for i in $(seq 300); do [ "$(stty size)" != "43 132" ] || break; sleep 0.1; done; stty size; tty'
	echo "$output"
	[[ $output == *"43 132"* ]]
	[[ $output == *"/dev/pts/"* ]]
}

@test "a program that is executed has the rights of the container, in its groups" {
	run in_it app grep -E '^(Cap(Inh|Amb|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status
	echo "$output"
	[[ $output == *$'CapInh:\t0000000000000000'* ]]
	[[ $output == *$'NoNewPrivs:\t1'* ]]
	[[ $output == *$'Seccomp:\t2'* ]]
	[ "$(in_it app sh -c 'grep Cap /proc/self/status')" = "$(in_it app grep Cap /proc/1/status)" ]
	in_it app sleep 1000 &
	group=$(python3 -c "import json; print(json.load(open('$WORK/app/plan.json'))['cgroups'][0])")
	eventually 5 eval '[ "$(wc -l <"$group/cgroup.procs")" -ge 2 ]'
	eventually 5 in_it app killall sleep
	wait
}

@test "a hard limit above ours is cut and said" {
	[ "$(in_it app sh -c 'ulimit -n')" = 100 ]
	grep "cut to" "$WORK/app/runner.log"
}

@test "the console keeps its output, is typed into and resized" {
	"$RUNNER" resize "$WORK/app" 90 33
	run "$RUNNER" type "$WORK/app" 'stty size; echo sum $((6*7))\n' 'sum 42'
	[[ $output == *"33 90"* ]]
	run "$RUNNER" log "$WORK/app"
	[[ $output == *"sum 42"* ]]
	eventually 5 grep "sum 42" "$WORK/app/console.log"
}

@test "mounts are as asked: read-only, sized" {
	not in_it app touch /host-etc/x
	not in_it app dd if=/dev/zero of=/scratch/big bs=1k count=200
	[ "$(in_it app sh -c 'wc -c < /scratch/big')" = 65536 ]
}

@test "files go in and out of a running container and of a stopped one" {
	for state in "" --stopped; do
		[ -z "$state" ] || { "$RUNNER" signal "$WORK/app" 9; wait_exit app; }
		echo "content $state" | "$RUNNER" files $state "$WORK/app" put /etc/new 0640 5 6
		[ "$("$RUNNER" files $state "$WORK/app" stat /etc/new | cut -d' ' -f1-3)" = "100640 5 6" ]
		[ "$("$RUNNER" files $state "$WORK/app" get /etc/new)" = "content $state" ]
		"$RUNNER" files $state "$WORK/app" mkdirs /a/b/c 0750 7 8
		"$RUNNER" files $state "$WORK/app" symlink /a/l ../../../../etc/hostname
		[ "$("$RUNNER" files $state "$WORK/app" get /a/l)" = ../../../../etc/hostname ]
		run "$RUNNER" files $state "$WORK/app" delete /a
		[[ $output == "error -39: /a"* ]]
		"$RUNNER" files $state "$WORK/app" delete-all /a
		run "$RUNNER" files $state "$WORK/app" stat /a
		[[ $output == "error -2: /a"* ]]
		[ "$(stat -c %u:%g "$WORK/app/volume/upper/etc/new")" = 5:6 ]
	done
	start app
}

@test "an SFTP client copies a tree in and out" {
	command -v sftp >/dev/null || skip "no sftp client"
	mkdir -p "$WORK/tree/deep"
	head -c 1000000 /dev/urandom >"$WORK/tree/deep/big"
	printf 'put -r %s /\nget -r /tree %s\nrename /tree/deep/big /tree/b\nchmod 600 /tree/b\nln -s b /tree/l\nls -l /tree\nrm /tree/b\n' "$WORK/tree" "$WORK/back" |
		sftp -b - -D "$RUNNER sftp $WORK/app"
	cmp "$WORK/tree/deep/big" "$WORK/back/deep/big"
	in_it app test -L /tree/l
	not in_it app test -e /tree/b
}

@test "the state is told to who connects again, and the exit status is kept" {
	run "$RUNNER" state "$WORK/app"
	[[ $output == *'"status": "running"'* ]]
	make_container ends "plan['init']['args'] = ['/bin/sh', '-c', 'exit 3']"
	"$RUNNER" start "$WORK/ends" || true
	run wait_exit ends
	[[ $output == *'"wait_status": 768'* ]]
}

@test "a container that cannot start says why, and leaves nothing" {
	make_container broken "plan['init']['args'] = ['/no/such']"
	start_fails broken "/no/such"
	run wait_exit broken
	[[ $output == *'"error": "'*'/no/such'* ]]
	make_container nolayer "plan['root']['layers'] = ['/no/such/layer']"
	start_fails nolayer "/no/such/layer"
	make_container unknown "plan['surprise'] = 1"
	start_fails unknown "surprise"
	not grep "$WORK" /proc/mounts
}

@test "running out of memory is told and counted" {
	memory=$(cgroup_dirs | sed -n 's/^memory //p')
	[ -n "$memory" ] || skip "no v1 memory controller here"
	make_container hungry "plan['init']['args'] = ['/bin/sh', '-c', 'sleep 1; dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 0.5']"
	echo 20M >"$memory/${WORK##*/}/hungry/memory.limit_in_bytes"
	start hungry
	run wait_exit hungry
	echo "$output"
	[[ $output == *'"oom_kills": 1'* ]]
}

@test "the container ends when its runner is killed" {
	make_container orphan
	start orphan
	pid=$(cat "$WORK/orphan/pid")
	runner=$(awk '/^PPid/ {print $2}' "/proc/$pid/status")
	kill -9 "$runner"
	eventually 5 test ! -e "/proc/$pid"
}

@test "the root can be a plain rootfs, read-only, or an image file with a file system" {
	mkdir -p "$WORK/plain/rootfs"
	cp -a "$BUSYBOX/." "$WORK/plain/rootfs"
	make_container whole "plan['root'] = {'volume': {'type': 'directory', 'path': '$WORK/plain'}, 'readonly': True}"
	mkdir -p "$WORK/plain/rootfs/"{dev,proc,sys}
	start whole
	not in_it whole touch /x
	stop whole
	command -v mkfs.ext4 >/dev/null || skip "no mkfs.ext4"
	mkdir -p "$WORK/tree2/upper" "$WORK/tree2/work"
	truncate -s 16M "$WORK/volume.img"
	mkfs.ext4 -q -d "$WORK/tree2" "$WORK/volume.img"
	make_container image "plan['root']['volume'] = {'type': 'image', 'path': '$WORK/volume.img', 'fs': 'ext4'}"
	start image
	not in_it image dd if=/dev/zero of=/big bs=1M count=64
	[[ $(in_it image df -k / | tail -1 | awk '{print $2}') -lt 16384 ]]
	stop image
	eventually 5 eval '! losetup -a | grep "$WORK/volume.img"'
}

@test "Debian 12's systemd boots to a login, works, reboots and halts" {
	layer=$("$TOP/tests/images/make" debian) || skip "no Debian could be made"
	make_container debian "plan['root']['layers'] = ['$layer']; plan['init'] = {'args': ['/sbin/init'], 'environment': ['container=lxc'], 'system': True}; plan['cgroups'] = [g for g in plan['cgroups'] if 'unified' in g or not g.startswith('/sys/fs/cgroup/')] or plan['cgroups']"
	for dir in $(python3 -c "import json; print(*json.load(open('$WORK/debian/plan.json'))['cgroups'])"); do
		[ ! -e "$dir/cgroup.subtree_control" ] || chown 3000000:3000000 "$dir" "$dir/cgroup.procs" "$dir/cgroup.subtree_control" "$dir/cgroup.threads"
	done
	start debian
	eventually 120 eval '[ "$(in_it debian systemctl is-system-running 2>/dev/null)" = running ]' || {
		in_it debian systemctl --failed --no-pager --no-legend
		false
	}
	[ "$(in_it debian cat /etc/hostname)" = debian ]
	in_it debian journalctl --no-pager -n 5 | grep debian
	[ "$(in_it debian systemd-run --quiet --pipe -p PrivateTmp=yes echo unit)" = unit ]
	eventually 10 eval '"$RUNNER" log "$WORK/debian" | grep "login:"'
	"$RUNNER" type "$WORK/debian" 'root\n' 'root@debian:'
	run "$RUNNER" type "$WORK/debian" 'echo logged in as $(id -un)\n' 'in as root'
	[[ $output == *"logged in as root"* ]]
	in_it debian systemctl reboot || true
	run wait_exit debian
	[[ $output == *'"wait_status": 1,'* ]]
	rm "$WORK/debian/exit"
	start debian
	sleep 1
	"$RUNNER" stop "$WORK/debian"
	run wait_exit debian
	[[ $output == *'"wait_status": 2,'* ]]
}
