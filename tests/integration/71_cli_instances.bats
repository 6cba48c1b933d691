#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# berth, the command line, with instances: launch to delete, exec, console, files, snapshots.

bats_require_minimum_version 1.5.0
load common
load image

setup_file() {
	berthd_start
	busybox_root "$BERTH_BASE/root"
	berth image build "$BERTH_BASE/root" --alias busybox --description 'busybox for tests'
	# A card where a test asks for one, not everywhere.
	berth device remove default eth0 --profile
	berth launch busybox box
}
teardown_file() { berthd_stop; }
teardown() { after_failure box; }

# in_terminal COMMAND...: with a pseudo terminal of 91 columns for all three streams; what it shows.
in_terminal() { script -qefc "stty cols 91 rows 33; $*" /dev/null </dev/null; }

@test "image build makes an image of a directory, image import of a tarball, and nothing of noise" {
	[ "$(berth image list --format json | json '.[] | select(.aliases[0].name == "busybox") | .properties.description')" = 'busybox for tests' ]
	busybox_image "$BERTH_BASE/busybox.tar"
	run --separate-stderr berth image import "$BERTH_BASE/busybox.tar" --alias imported --property os=none
	[ "$status" -eq 0 ]
	[[ $output =~ ^[0-9a-f]{64}$ ]]
	[ "$(berth image info imported --format json | json .fingerprint)" = "$output" ]
	berth image alias rename imported renamed
	berth image alias create again renamed
	run berth image alias list --columns alias --format csv
	[ "$output" = $'again\nbusybox\nrenamed' ]
	berth image export renamed "$BERTH_BASE/exported.tar"
	tar -tf "$BERTH_BASE/exported.tar" | grep -q rootfs
	berth image delete renamed
	run berth image info again
	[ "$status" -eq 1 ]
	head -c 100000 /dev/urandom >"$BERTH_BASE/noise"
	run berth image import "$BERTH_BASE/noise"
	[ "$status" -eq 1 ]
	run berth image import "$BERTH_BASE/root"
	[[ $output == *"is a directory; 'berth image build' takes one"* ]]
	run berth image build "$BERTH_BASE/noise"
	[ "$status" -eq 1 ]
	(cd "$BERTH_BASE" && berth image build root --alias relative)
	[ "$(berth image info relative --format json | json .size)" -gt 100000 ]
	berth image delete relative
}

@test "launch gives what was asked for, and info and list tell it" {
	berth launch busybox full --cpus 1 --memory 128MiB --storage 64MiB \
		--description 'all of it' -c user.a=b --type container
	run berth list full --format csv --columns name,state,cpus,memory,storage
	[ "$output" = full,RUNNING,1,128MiB,64MiB ]
	run berth info full
	[[ $output == *'Memory        128MiB'* && $output == *PID* ]]
	[ "$(berth exec full -- nproc)" = 1 ]
	berth delete --force full
	run berth info full
	[ "$status" -eq 1 ]
}

@test "a limit of bandwidth is one of the first card, in both directions" {
	run berth launch busybox wire --bandwidth 10Mbit
	[ "$status" -eq 1 ]
	[ "$output" = 'berth: --bandwidth: it has no network; give --network' ]
	needs network
	berth network create wires ipv4.address=10.78.0.1/24 ipv6.address=none
	berth launch busybox wire --network wires --bandwidth 10Mbit
	[ "$(berth info wire --format json | json '.devices.eth0 | .["limits.egress"] + .["limits.ingress"]')" = 10Mbit10Mbit ]
	berth delete -f wire
	berth network delete wires
}

@test "launch without a name prints the one it got" {
	name=$(berth launch busybox)
	[[ $name =~ ^[a-z0-9-]+$ ]]
	berth delete -f "$name"
}

@test "launch refuses what can't be, says why, and makes nothing" {
	run berth launch no-such-image x
	[[ $output == "berth: there is no image 'no-such-image'"* ]]
	run berth launch busybox x --memory lots
	[[ $output == *limits.memory* ]]
	run berth launch busybox x --network no-such-network
	[ "$status" -eq 1 ]
	run berth launch busybox box
	[ "$status" -eq 1 ]
	run berth launch busybox x y
	[ "$status" -eq 1 ]
	run berth info x
	[ "$status" -eq 1 ]
}

@test "plan shows the steps and does none of them" {
	run berth plan busybox planned --cpus 1
	[ "$status" -eq 0 ]
	[[ $output == *cgroup* ]]
	run berth info planned
	[ "$status" -eq 1 ]
}

@test "what stands behind two dashes is what the instance runs" {
	berth launch busybox command -- sh -c 'echo "it says: $0"; sleep 1000' "it's"
	eventually 10 sh -c "berth console --log command | grep -q \"it says: it's\""
	berth delete --force command
}

@test "stop, start, restart, pause and resume" {
	berth launch busybox life
	berth pause life
	[ "$(berth list life --format csv --columns state)" = FROZEN ]
	berth resume life
	berth restart life
	berth stop life --timeout 30
	[ "$(berth list life --format csv --columns state)" = STOPPED ]
	run berth stop life
	[ "$status" -eq 1 ]
	berth start life
	run berth delete life
	[ "$status" -eq 1 ]
	[ "$output" = 'berth: life: it is running; stop it first, or use --force' ]
	berth stop --force life
	berth info life | grep -Ex 'Ended +by signal 9 \(SIGKILL\)'
	berth rename life lives
	berth copy lives twin
	run berth list li tw --format csv --columns name
	[ "$output" = $'lives\ntwin' ]
	berth delete lives twin
}

@test "list filters by name and by value" {
	[ "$(berth list bo --format csv --columns name)" = box ]
	[ "$(berth list status=Running --format csv --columns name)" = box ]
	[ -z "$(berth list status=Stopped --format csv --columns name)" ]
}

@test "exec keeps streams apart, passes input, environment, directory, user and the exit status" {
	run --separate-stderr berth exec box -- sh -c 'echo out; echo err >&2; exit 7'
	[ "$status" -eq 7 ]
	[ "$output" = out ]
	[ "$stderr" = err ]
	[ "$(printf 'a\nb\n' | berth exec box cat)" = $'a\nb' ]
	[ "$(berth exec box cat <"$TOP/LICENSE" | cksum)" = "$(cksum <"$TOP/LICENSE")" ]
	[ "$(berth exec box --env X=y --cwd /tmp -- sh -c 'echo $X $PWD')" = 'y /tmp' ]
	[ "$(berth exec box -u 65534 -g 65534 -- id -u)" = 65534 ]
	[ "$(berth exec -n box -- cat)" = '' ]
	run -127 berth exec box -- /no/such/command
	run berth exec box -- sh -c 'kill -9 $$'
	[ "$status" -eq 137 ]
	run berth exec no-such-instance -- true
	[ "$status" -eq 125 ]
}

@test "exec moves megabytes both ways unharmed, and stops when its reader does" {
	head -c 30000000 /dev/urandom >"$BERTH_BASE/noise"
	berth exec box -- cat <"$BERTH_BASE/noise" | cmp - "$BERTH_BASE/noise"
	cat "$BERTH_BASE/noise" | berth exec box -- cat | cmp - "$BERTH_BASE/noise"
	[ "$(timeout 20 berth exec box -- cat /dev/zero 2>"$BERTH_BASE/said" | head -c 10 | wc -c)" = 10 ]
	grep -q 'write output: Broken pipe' "$BERTH_BASE/said"
}

@test "exec passes signals on" {
	berth exec -n box -- sh -c 'trap "echo told; exit 3" TERM; echo ready; while :; do sleep 0.1; done' >"$BERTH_BASE/told" 3>&- &
	pid=$!
	eventually 10 grep -q ready "$BERTH_BASE/told"
	kill -TERM "$pid"
	wait "$pid" || status=$?
	[ "$status" -eq 3 ]
	grep -q told "$BERTH_BASE/told"
}

@test "exec with a terminal has one of our size, and leaves ours as it was" {
	run in_terminal 'before=$(stty -g); berth exec box -- sh -c "tty; stty size"; [ "$before" = "$(stty -g)" ] && echo unharmed'
	[[ $output == */dev/pts/* && $output == *'33 91'* && $output == *unharmed* ]]
	run in_terminal 'berth exec -T box -- tty'
	[[ $output == *'not a tty'* ]]
	run berth exec -t box -- tty
	[[ $output == */dev/pts/* ]]
}

@test "a shell opens, and its status is ours" {
	run script -qefc "berth shell box" /dev/null <<<'exit 5'
	[ "$status" -eq 5 ]
}

@test "the console shows what was written, takes what is typed and is left with ctrl-a q" {
	eventually 10 sh -c 'berth console --log box | grep -q "console of box"'
	# What is typed before it is attached may not be for it.
	run bash -c "(for _ in \$(seq 300); do sleep 0.2; ! grep -q detached '$BERTH_BASE/typescript' || break; printf '\001q'; done) |
		script -qefc 'berth console box' '$BERTH_BASE/typescript'"
	[ "$status" -eq 0 ]
	[[ $output == *detached* ]]
	[ "$(berth list box --format csv --columns state)" = RUNNING ]
}

@test "files go in and out with modes, owners, links and directories" {
	mkdir -p "$BERTH_BASE/tree/sub" "$BERTH_BASE/back"
	echo one >"$BERTH_BASE/tree/one"
	chmod 640 "$BERTH_BASE/tree/one"
	chown 7:8 "$BERTH_BASE/tree/one"
	echo two >"$BERTH_BASE/tree/sub/two"
	ln -sf ../one "$BERTH_BASE/tree/sub/link"
	mkfifo "$BERTH_BASE/tree/pipe"
	run berth file push -r "$BERTH_BASE/tree" box/tmp/
	[ "$status" -eq 0 ]
	[[ $output == *'pipe: neither file, directory nor link; left out'* ]]
	[ "$(berth exec box -- stat -c '%a %u %g' /tmp/tree/one)" = '640 7 8' ]
	[ "$(berth exec box -- readlink /tmp/tree/sub/link)" = ../one ]
	berth file pull -r box/tmp/tree "$BERTH_BASE/back"
	rm "$BERTH_BASE/tree/pipe"
	diff -r --no-dereference "$BERTH_BASE/tree" "$BERTH_BASE/back/tree"
	[ "$(stat -c '%a %u %g' "$BERTH_BASE/back/tree/one")" = '640 7 8' ]
	berth file push "$BERTH_BASE/tree/one" box/root/new/deep/one -p --mode 0755 --uid 0 --gid 0
	[ "$(berth exec box -- stat -c '%a %u %g' /root/new/deep/one)" = '755 0 0' ]
	echo piped | berth file push - box/tmp/piped
	[ "$(berth file pull box/tmp/piped -)" = piped ]
	EDITOR='sed -i s/piped/edited/' berth file edit box/tmp/piped
	[ "$(berth file pull box/tmp/piped -)" = edited ]
	berth file delete box/tmp/piped
	berth file delete -r box/tmp/tree
	run berth file pull box/tmp/tree "$BERTH_BASE/none"
	[ "$status" -eq 1 ]
	[ ! -e "$BERTH_BASE/none" ]
	run berth file push "$BERTH_BASE/tree" box/tmp/
	[[ $output == *'is a directory; use --recursive'* ]]
}

@test "a file of 50 MB streams both ways and leaves no part of it when it fails" {
	head -c 50000000 /dev/urandom >"$BERTH_BASE/big"
	berth file push "$BERTH_BASE/big" box/tmp/big
	berth file pull box/tmp/big "$BERTH_BASE/big.back"
	cmp "$BERTH_BASE/big" "$BERTH_BASE/big.back"
	berth file delete box/tmp/big
	mkdir "$BERTH_BASE/empty"
	run berth file pull box/tmp/big "$BERTH_BASE/empty/big"
	[ "$status" -eq 1 ]
	[ -z "$(ls -A "$BERTH_BASE/empty")" ]
}

@test "a snapshot is taken, listed, restored, copied, renamed and deleted" {
	berth launch busybox snap
	berth exec snap -- sh -c 'echo before >/root/note'
	berth snapshot create snap first
	berth exec snap -- sh -c 'echo after >/root/note'
	[ "$(berth snapshot list snap --format csv --columns name)" = first ]
	berth restore snap first
	[ "$(berth exec snap -- cat /root/note)" = before ]
	berth copy snap/first snap-copy
	berth start snap-copy
	[ "$(berth exec snap-copy -- cat /root/note)" = before ]
	berth snapshot rename snap first second
	berth snapshot delete snap second
	[ -z "$(berth snapshot list snap --format csv)" ]
	berth delete -f snap snap-copy
}

@test "config and devices of an instance change, and what its profiles give is seen" {
	berth create busybox conf
	berth config set conf limits.memory=64MiB user.a=1
	[ "$(berth config get conf limits.memory)" = 64MiB ]
	berth config unset conf user.a
	run berth config show conf
	[[ $output == *'limits.memory: "64MiB"'* ]]
	berth device set conf root size=64MiB
	[ "$(berth config show conf --format json | json .devices.root.size)" = 64MiB ]
	berth device add conf scratch disk source=/tmp path=/mnt
	run berth device list conf --format csv
	[[ $output == *'scratch,disk,'* && $output == *root,disk,* ]]
	berth device remove conf scratch
	[ "$(berth config show conf --format json | json .devices.scratch)" = null ]
	run berth config set conf limits.memory=nonsense
	[ "$status" -eq 1 ]
	berth delete conf
}

@test "an instance is published as an image that starts" {
	berth create busybox out
	berth publish out --alias made
	berth launch made made-1
	berth delete -f out made-1
	berth image delete made
}

@test "an instance is exported to a file and imported again" {
	needs container_backup
	berth create busybox out
	berth export out "$BERTH_BASE/out.tar.gz"
	berth import "$BERTH_BASE/out.tar.gz" back
	berth start back
	berth delete -f out back
}

@test "top shows what runs" {
	run berth top --count 2 --delay 200ms
	[ "$status" -eq 0 ]
	[[ $output == *NAME*CPU%*MEMORY* && $output == *box*Running* ]]
}

@test "an interrupt of a wait says what came of it, with status 130" {
	berth launch busybox deaf -- sh -c 'trap "" 15 30 37; while :; do sleep 1; done'
	berth stop deaf 2>"$BERTH_BASE/said" 3>&- &
	pid=$!
	eventually 10 sh -c 'berth operation list --format csv --columns description,state | grep -qi "stop.*running"'
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 130 ]
	grep -qE '^berth: stop deaf: (cancelled|can.t be cancelled and goes on)' "$BERTH_BASE/said"
	berth delete --force deaf
}
