#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Devices of containers: disks and nodes that come and go while one runs, proxies, devices found by what they are.

load common
load image

setup_file() {
	export BERTH_SYS=$(mktemp -d /tmp/berth-sys.XXXXXX)
	berthd_start --test-hooks
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	lxc launch box c1
	mkdir -p "$BERTH_BASE/share"
	echo shared >"$BERTH_BASE/share/file"
	chmod -R a+rwX "$BERTH_BASE/share"
}
teardown_file() {
	berthd_stop
	rm -rf "$BERTH_SYS"
}
teardown() { after_failure c1; }

# In the background it is one process, which a kill ends.
in_instance() { exec nsenter -n -t "$(api GET /1.0/instances/c1/state | json .metadata.pid)" "$@"; }
inside() { lxc exec c1 -- "$@"; }

# listens PORT COMMAND [ARGUMENT...]: whether something does, to what the command shows (in_net or in_instance).
listens() { [ -n "$("$2" "${@:3}" ss -Hltn "sport = :$1")" ]; }
# talk PORT [OPTION...]: what is answered to the input. It waits for the end, not for a while.
talk() { in_net socat -t60 -T60 "${@:2}" - "TCP:127.0.0.1:$1"; }

@test "a directory of the host comes into a running container and goes again" {
	lxc config device add c1 share disk source="$BERTH_BASE/share" path=/mnt/deep/share
	[ "$(inside cat /mnt/deep/share/file)" = shared ]
	lxc config device remove c1 share
	run inside cat /mnt/deep/share/file
	[ "$status" -ne 0 ]
	run inside sh -c 'grep -c deep /proc/self/mounts'
	[ "$output" = 0 ]
}

@test "a volume, a tmpfs and a read-only disk are plugged and survive a restart of the daemon" {
	lxc storage volume create default v1
	lxc config device add c1 vol disk pool=default source=v1 path=/vol
	inside sh -c 'echo kept >/vol/x'
	lxc config device add c1 tmp disk source=tmpfs: path=/scratch size=1MiB
	run inside dd if=/dev/zero of=/scratch/f bs=64k count=32
	[ "$status" -ne 0 ]
	lxc config device add c1 ro disk source="$BERTH_BASE/share" path=/ro readonly=true
	run inside touch /ro/new
	[ "$status" -ne 0 ]
	berthd_end KILL
	berthd_run --test-hooks
	[ "$(inside cat /vol/x)" = kept ]
	lxc config device remove c1 vol
	lxc config device remove c1 tmp
	lxc config device remove c1 ro
	run inside cat /vol/x
	[ "$status" -ne 0 ]
	lxc config device add c1 vol disk pool=default source=v1 path=/vol2
	[ "$(inside cat /vol2/x)" = kept ]
	lxc restart -f c1
	[ "$(inside cat /vol2/x)" = kept ]
	lxc config device remove c1 vol
	lxc storage volume delete default v1
}

@test "what can't be plugged changes nothing" {
	run lxc config device add c1 bad disk source=/nowhere/at/all path=/x
	[ "$status" -ne 0 ]
	[[ $output == *'/nowhere/at/all'* ]]
	lxc config device list c1 | grep -q bad && false
	# A link in the image leads nowhere but into the container.
	inside ln -s /proc/1 /evil
	inside ln -s ../../../../../../tmp /out
	lxc config device add c1 d disk source="$BERTH_BASE/share" path=/out/berth-escape
	[ ! -e /tmp/berth-escape ]
	[ "$(inside cat /tmp/berth-escape/file)" = shared ]
	lxc config device remove c1 d
	run lxc config device set c1 root pool=other
	[ "$status" -ne 0 ]
}

@test "a device node comes into a running container, works there and goes again" {
	lxc config device add c1 f unix-char path=/dev/full2 source=/dev/full mode=0666
	[ "$(inside stat -c %t:%T:%a /dev/full2)" = 1:7:666 ]
	run inside sh -c 'echo x >/dev/full2'
	[[ $output == *'No space'* ]]
	lxc config device remove c1 f
	[ "$(inside ls /dev | grep -c full2 || true)" = 0 ]
	run lxc config device add c1 f unix-char source=/dev/nothing-like-it
	[ "$status" -ne 0 ]
	lxc config device add c1 f unix-char source=/dev/nothing-like-it required=false
	lxc config device remove c1 f
}

@test "a privileged container opens its own devices only, while they are its own" {
	lxc launch box p1 -c security.privileged=true
	lxc exec p1 -- sh -c 'command -v mknod' || inside true
	lxc config device add p1 l unix-block source=/dev/loop0 mode=0600
	run lxc exec p1 -- dd if=/dev/loop0 of=/dev/null bs=512 count=1
	[[ $output != *'not permitted'* ]]
	lxc config device remove p1 l
	lxc delete -f p1
}

@test "a device of a profile comes into the running containers that have it" {
	lxc profile create shared
	lxc profile assign c1 default,shared
	lxc profile device add shared share disk source="$BERTH_BASE/share" path=/from-profile
	eventually 5 inside cat /from-profile/file
	lxc profile set shared limits.processes 77
	eventually 5 eval 'find /sys/fs/cgroup -path "*berth-$BERTH_ID/default_c1/pids.max" -exec cat {} + | grep -qx 77'
	lxc profile device remove shared share
	eventually 5 eval '! inside cat /from-profile/file 2>/dev/null'
	lxc profile assign c1 default
	lxc profile delete shared
}

@test "GPU and USB devices: what the host has not is said before anything changes" {
	run lxc config device add c1 g gpu
	[ "$status" -ne 0 ]
	[[ $output == *'devices.g: this host has no GPU'* ]]
	run lxc config device add c1 u usb vendorid=1d6b required=true
	[[ $output == *'devices.u: this host has no USB device like that'* ]]
	lxc config device add c1 u usb vendorid=1d6b
	lxc config device remove c1 u
}

@test "a card of the host is passed on with its nodes" {
	pci=$BERTH_SYS/devices/pci/0000:01:00.0
	mkdir -p "$pci/drm/card0" "$pci/drm/renderD128" "$BERTH_SYS/class/drm"
	echo 0x8086 >"$pci/vendor"
	echo 0x1234 >"$pci/device"
	ln -s ../../../0000:01:00.0 "$pci/drm/card0/device"
	ln -s ../../devices/pci/0000:01:00.0/drm/card0 "$BERTH_SYS/class/drm/card0"
	mkdir -p "$BERTH_BASE/dri"
	run lxc config device add c1 g gpu vendorid=10de
	[[ $output == *'no GPU like that'* ]]
	run lxc config device add c1 g gpu pci=0000:01:00.0
	# The nodes themselves are not here: the message names them.
	[ -e /dev/dri/card0 ] || [[ $output == *'/dev/dri/card0'* ]]
	rm -r "$pci" "$BERTH_SYS/class"
}

@test "a device that is waited for comes into the container when the host gets it" {
	lxc config device add c1 h unix-hotplug vendorid=1d6b productid=0002 mode=0666
	[ "$(inside ls /dev | grep -c fuse || true)" = 0 ]
	usb=$BERTH_SYS/devices/usb1/1-1
	mkdir -p "$usb/if0/tty" "$BERTH_SYS/dev/char"
	echo 1d6b >"$usb/idVendor"
	echo 0002 >"$usb/idProduct"
	printf 'MAJOR=10\nMINOR=229\nDEVNAME=fuse\n' >"$usb/if0/tty/uevent"
	ln -s ../../devices/usb1/1-1/if0/tty "$BERTH_SYS/dev/char/10:229"
	echo change >/sys/class/mem/null/uevent
	eventually 5 inside stat /dev/fuse
	rm "$BERTH_SYS/dev/char/10:229"
	echo change >/sys/class/mem/null/uevent
	eventually 5 eval '! inside stat /dev/fuse'
	lxc config device remove c1 h
}

@test "a proxy: from the host's network into the container's, and back out" {
	inside sh -c 'mkdir -p /srv; echo inside >/srv/hello'
	lxc config device add c1 web proxy listen=tcp:127.0.0.1:7000-7001 connect=unix:/srv/sock
	lxc config device add c1 out proxy bind=instance listen=tcp:127.0.0.1:99 connect=tcp:127.0.0.1:7100
	nsenter --net="/run/netns/$BERTH_NETNS" socat TCP-LISTEN:7100,bind=127.0.0.1,fork SYSTEM:'echo host-says; cat' 3>&- &
	echo $! >"$BERTH_BASE/socat"
	# Nobody listens inside yet: the connection ends, the proxy stays.
	[ -z "$(talk 7000 </dev/null)" ]
	eventually 5 in_net socat -u OPEN:/dev/null TCP:127.0.0.1:7100
	cp "$(command -v busybox)" "$BERTH_BASE/bb"
	lxc file push -q "$BERTH_BASE/bb" c1/bin/nc --mode 0755
	[ "$(echo question | lxc exec c1 -- nc 127.0.0.1 99)" = $'host-says\nquestion' ]
	kill "$(cat "$BERTH_BASE/socat")"
	lxc config device remove c1 out
	lxc config device remove c1 web
	run in_net socat -T2 - TCP:127.0.0.1:7000 </dev/null
	[ "$status" -ne 0 ]
}

@test "a proxy carries 20 MB both ways, keeps ends apart and outlives the daemon" {
	lxc exec c1 -- nc -ll -p 5000 -e cat 3>&- &
	echo $! >"$BERTH_BASE/server"
	lxc config device add c1 echo proxy listen=tcp:127.0.0.1:7002 connect=tcp:127.0.0.1:5000
	head -c 20000000 /dev/urandom >"$BERTH_BASE/random"
	eventually 5 eval '[ "$(echo hi | talk 7002)" = hi ]'
	talk 7002 <"$BERTH_BASE/random" >"$BERTH_BASE/back"
	cmp "$BERTH_BASE/random" "$BERTH_BASE/back"
	berthd_end KILL
	berthd_run --test-hooks
	[ "$(echo hi | talk 7002)" = hi ]
	run lxc config device add c1 again proxy listen=tcp:127.0.0.1:7002 connect=tcp:127.0.0.1:1
	[ "$status" -ne 0 ]
	[[ $output == *7002* ]]
	[ "$(lxc config device get c1 echo listen)" = tcp:127.0.0.1:7002 ]
	lxc config device remove c1 echo
	kill "$(cat "$BERTH_BASE/server")" || true
}

@test "a proxy for udp answers each sender; one with a header says who comes" {
	lxc config device add c1 u proxy listen=udp:127.0.0.1:7003 connect=udp:127.0.0.1:5353
	in_instance socat -T5 UDP-LISTEN:5353,fork EXEC:cat 3>&- &
	echo $! >"$BERTH_BASE/server"
	eventually 5 eval '[ "$(echo ping | in_net socat -T1 - UDP:127.0.0.1:7003)" = ping ]'
	kill "$(cat "$BERTH_BASE/server")" || true
	lxc config device remove c1 u
	lxc config device add c1 h proxy listen=tcp:127.0.0.1:7004 connect=tcp:127.0.0.1:5001 proxy_protocol=true
	lxc exec c1 -- sh -c 'nc -l -p 5001 >/root/got' 3>&- &
	eventually 5 listens 5001 in_instance
	echo body | in_net socat -t2 - TCP:127.0.0.1:7004
	eventually 5 eval 'inside cat /root/got | grep -q body'
	[[ $(inside cat /root/got) == 'PROXY TCP4 127.0.0.1 127.0.0.1 '*' 7004'* ]]
	lxc config device remove c1 h
}

@test "a proxy at a unix socket of the host has its mode and owner, and leaves no file" {
	lxc config device add c1 s proxy listen=unix:"$BERTH_BASE/s.sock" connect=tcp:127.0.0.1:5000 mode=0600 uid=7 gid=8
	[ "$(stat -c %a:%u:%g "$BERTH_BASE/s.sock")" = 600:7:8 ]
	lxc config device remove c1 s
	[ ! -e "$BERTH_BASE/s.sock" ]
}

@test "a client that is gone costs a proxy nothing, whatever the server does" {
	lxc exec c1 -- sh -c 'busybox nc -ll -p 5003 -e sleep 20 >/dev/null 2>&1 &'
	lxc config device add c1 s proxy listen=unix:"$BERTH_BASE/s.sock" connect=tcp:127.0.0.1:5003
	eventually 5 test -S "$BERTH_BASE/s.sock"
	python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"x")
time.sleep(0.3)' "$BERTH_BASE/s.sock"
	sleep 1
	[ -n "$(proxies)" ]
	for pid in $(proxies); do
		[ "$(awk '{ print $14 + $15 }' "/proc/$pid/stat")" -lt 40 ]
	done
	lxc config device remove c1 s
}

@test "an instance whose proxy can't listen does not start, and nothing is left of it" {
	nsenter --net="/run/netns/$BERTH_NETNS" socat TCP-LISTEN:7005,bind=127.0.0.1 PIPE 3>&- &
	pid=$!
	eventually 5 listens 7005 in_net
	lxc init box c2
	lxc config device add c2 p proxy listen=tcp:127.0.0.1:7005 connect=tcp:127.0.0.1:1
	run lxc start c2
	[ "$status" -ne 0 ]
	[[ $output == *'devices.p.listen: port 7005'* ]]
	eventually 5 eval '[ "$(lxc list c2 -f csv -c s)" = STOPPED ]'
	kill "$pid" || true
	wait "$pid" || true
	lxc start c2
	[ -n "$(proxies)" ]
	lxc delete -f c2
	eventually 5 eval '! in_net socat -u OPEN:/dev/null TCP:127.0.0.1:7005 2>/dev/null'
}
