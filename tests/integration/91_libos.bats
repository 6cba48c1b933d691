# SPDX-License-Identifier: Apache-2.0
# The library OS in a locked process with a network card: addresses, DHCP, names, servers and clients.

load common

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root for a tap"
	export WORK=$(mktemp -d /tmp/berth-libos-XXXXXX)
	export NS=${WORK##*/}
	export TENDER=${BERTH_BUILD:-build}/src/tender/berth-tender
	ip netns add "$NS"
	in_ns ip link set lo up
	in_ns ip tuntap add tap0 mode tap vnet_hdr
	in_ns ip tuntap add tap1 mode tap
	in_ns ip addr add 10.9.0.1/24 dev tap0
	in_ns ip addr add fd09::1/64 dev tap0 nodad
	in_ns ip addr add 10.9.1.1/24 dev tap1
	in_ns ip link set tap0 up
	in_ns ip link set tap1 up
	mkdir -p "$WORK/root/bin" "$WORK/root/etc" "$WORK/www"
	head -c 3000000 /dev/urandom >"$WORK/www/data"
	cp "$WORK/www/data" "$WORK/root/data"
	"$TENDER" --build "$WORK/root" /bin/busybox "$WORK/image" busybox
	ip netns exec "$NS" python3 -m http.server --directory "$WORK/www" --bind 10.9.0.1 8000 >"$WORK/http.log" 2>&1 3>&- &
	echo $! >"$WORK/pids"
	ip netns exec "$NS" dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --interface=tap1 --bind-interfaces \
		--dhcp-range=10.9.1.50,10.9.1.59,1h --no-ping --dhcp-leasefile="$WORK/leases" --address=/some.example/10.9.1.1 \
		>"$WORK/dnsmasq.log" 2>&1 3>&- &
	echo $! >>"$WORK/pids"
	ip netns exec "$NS" python3 -m http.server --directory "$WORK/www" --bind 10.9.1.1 8000 >>"$WORK/http.log" 2>&1 3>&- &
	echo $! >>"$WORK/pids"
	eventually 60 in_ns curl -s -o /dev/null http://10.9.0.1:8000/
	eventually 60 in_ns curl -s -o /dev/null http://10.9.1.1:8000/
	eventually 60 grep -q started "$WORK/dnsmasq.log"
}

teardown_file() {
	local pid
	for pid in $(cat "$WORK/pids"); do kill "$pid"; done
	ip netns del "$NS"
	rm -rf "$WORK"
}

in_ns() { ip netns exec "$NS" "$@"; }

# The card is one tender's: a test that ends it waits for that.
ended() {
	kill "$1" 2>/dev/null || true
	wait "$1" || true
}

# alone OPTION... -- WORD...: the stock busybox with the library OS and a card at tap0
alone() { in_ns timeout 100 "$TENDER" --root="$WORK/image" --net=tap0 "$@" </dev/null; }

@test "a client fetches over IPv4 with given addresses" {
	[ "$(alone --address=10.9.0.2/24 -- busybox wget -q -O - http://10.9.0.1:8000/data | sha256sum)" = "$(sha256sum <"$WORK/www/data")" ]
}

@test "a server answers over IPv4 and IPv6, and what it had written before its end arrives" {
	ip netns exec "$NS" timeout 200 "$TENDER" --root="$WORK/image" --net=tap0 --address=10.9.0.2/24 --address=fd09::2/64 -- \
		busybox nc -l -p 80 <"$WORK/www/data" >"$WORK/got" 3>&- &
	local pid=$!
	eventually 60 in_ns ping -c 1 -W 1 10.9.0.2
	eventually 60 in_ns ping -c 1 -W 1 fd09::2
	in_ns timeout 100 python3 - "$WORK/www/data" <<-'PY'
		import socket, sys, time
		wanted = open(sys.argv[1], "rb").read()
		for _ in range(600):
		    try:
		        s = socket.create_connection(("fd09::2", 80), 60)
		        break
		    except OSError:
		        time.sleep(0.05)
		got = b""
		while part := s.recv(65536):
		    got += part
		s.sendall(b"said\n")
		s.close()
		assert got == wanted, len(got)
	PY
	wait $pid
	[ "$(cat "$WORK/got")" = said ]
}

@test "what a server takes goes through a pipeline, also more than its memory would hold" {
	local pid size
	for size in 3000000 80000000; do
		ip netns exec "$NS" timeout 200 "$TENDER" --root="$WORK/image" --mem=32 --net=tap0 --address=10.9.0.2/24 -- \
			busybox sh -c 'busybox nc -l -p 80 | busybox md5sum' </dev/null >"$WORK/got" 2>"$WORK/said" 3>&- &
		pid=$!
		in_ns timeout 150 python3 - "$size" <<-'PY' || true
			import socket, sys, time
			for _ in range(600):
			    try:
			        s = socket.create_connection(("10.9.0.2", 80), 60)
			        break
			    except OSError:
			        time.sleep(0.05)
			s.settimeout(100)
			s.sendall(bytes(int(sys.argv[1])))
			s.shutdown(socket.SHUT_WR)
			while s.recv(65536):
			    pass
		PY
		wait "$pid"
		[ "$(cut -d ' ' -f 1 <"$WORK/got")" = "$(head -c "$size" /dev/zero | md5sum | cut -d ' ' -f 1)" ]
		[ ! -s "$WORK/said" ]
	done
}

@test "an answer takes its acknowledgement along, also that of more than one segment" {
	ip netns exec "$NS" timeout 200 "$TENDER" --root="$WORK/image" --net=tap0 --address=10.9.0.2/24 -- \
		busybox nc -l -p 80 -e busybox cat </dev/null >"$WORK/log" 2>&1 3>&- &
	local pid=$!
	run in_ns timeout 150 python3 - <<-'PY'
		import socket, time
		for _ in range(600):
		    try:
		        s = socket.create_connection(("10.9.0.2", 80), 60)
		        break
		    except OSError:
		        time.sleep(0.05)
		s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		def ask(count):
		    for _ in range(count):
		        s.sendall(bytes(2920)) # whole segments: nothing is held back
		        got = 0
		        while got < 2920:
		            got += len(s.recv(2920))
		def frames():
		    return int(next(l for l in open("/proc/net/dev") if "tap0:" in l).split(":")[1].split()[1])
		ask(50)
		# On a busy host an answer comes late, or in two parts: what it can do is its best.
		counts = []
		while len(counts) < 20 and not (counts and 200 <= min(counts) < 300):
		    before = frames()
		    ask(200)
		    counts.append(frames() - before)
		print(min(counts))
	PY
	ended "$pid"
	[ "$status" = 0 ]
	echo "frames: $output"
	# One each; it was two before. Others' frames and an answer in two parts are none of ours.
	[ "$output" -ge 200 ] && [ "$output" -lt 300 ]
}

@test "who knows no scaled windows hears when there is room again" {
	ip netns exec "$NS" timeout 300 "$TENDER" --root="$WORK/image" --net=tap0 --address=10.9.0.2/24 -- \
		busybox nc -l -p 80 </dev/null >"$WORK/got" 3>&- &
	local pid=$!
	in_ns sysctl -qw net.ipv4.tcp_window_scaling=0
	run in_ns timeout 200 python3 - <<-'PY'
		import socket, time
		for _ in range(600):
		    try:
		        s = socket.create_connection(("10.9.0.2", 80), 60)
		        break
		    except OSError:
		        time.sleep(0.05)
		def probes():
		    names, counts = [l.split() for l in open("/proc/net/netstat") if l.startswith("TcpExt:")]
		    return int(counts[names.index("TCPWinProbe")])
		before = probes()
		s.settimeout(200)
		s.sendall(bytes(16000000))
		s.close()
		print(probes() - before)
	PY
	in_ns sysctl -qw net.ipv4.tcp_window_scaling=1
	wait "$pid" || true
	echo "probes: $output"
	[ "$status" = 0 ]
	[ "$(stat -c %s "$WORK/got")" = 16000000 ]
	[ "$output" -le 60 ] # it was one each time that it was full, 250 of them; a busy host has some
}

@test "DHCP gives an address and a name server" {
	run in_ns timeout 100 "$TENDER" --root="$WORK/image" --net=tap1 --net-mac=02:00:00:00:00:07 --host-name=seven -- \
		busybox wget -q -O - http://some.example:8000/data </dev/null
	[ "$status" -eq 0 ]
	grep -q '02:00:00:00:00:07 10.9.1.5. seven' "$WORK/leases"
}

@test "a name server that was given is asked" {
	run in_ns timeout 100 "$TENDER" --root="$WORK/image" --net=tap1 --address=10.9.1.9/24 --gateway=10.9.1.1 --dns=10.9.1.1 -- \
		busybox nslookup some.example </dev/null
	[[ $output == *10.9.1.1* ]]
}

@test "programs find their interfaces" {
	run alone --address=10.9.0.2/24 --net-mac=02:00:00:00:00:09 -- busybox ifconfig
	[[ $output == *"HWaddr 02:00:00:00:00:09"* ]]
	[[ $output == *"inet addr:10.9.0.2  Bcast:10.9.0.255  Mask:255.255.255.0"* ]]
	run alone --address=10.9.0.2/24 --gateway=10.9.0.1 -- busybox route -n
	[[ $output == *"0.0.0.0         10.9.0.1        0.0.0.0         UG"* ]]
}

@test "without a card there is loopback, and the world is unreachable" {
	run timeout 100 "$TENDER" --root="$WORK/image" -- busybox wget -O - http://10.9.0.1/ </dev/null
	[[ $output == *"unreachable"* ]]
}

@test "a server that forks for every connection serves" {
	mkdir -p "$WORK/root/www"
	cp "$WORK/www/data" "$WORK/root/www/data"
	"$TENDER" --build "$WORK/root" /bin/busybox "$WORK/httpd" busybox
	ip netns exec "$NS" timeout 400 "$TENDER" --root="$WORK/httpd" --net=tap0 --address=10.9.0.2/24 -- \
		busybox httpd -f -p 80 -h /www </dev/null >"$WORK/log" 2>&1 3>&- &
	local pid=$! i
	eventually 60 in_ns curl -s -m 10 -o /dev/null http://10.9.0.2/none
	for i in 1 2 3 4 5; do
		[ "$(in_ns curl -sS -m 60 http://10.9.0.2/data | sha256sum)" = "$(sha256sum <"$WORK/www/data")" ]
	done
	[ "$(in_ns curl -sS -m 60 -o /dev/null -w '%{http_code}' http://10.9.0.2/none)" = 404 ]
	ended "$pid"
}

@test "a server that was written down while it waited serves at once, with the card it is given" {
	timeout 100 "$TENDER" --root="$WORK/httpd" --mem=32 --snapshot="$WORK/snapshot" -- busybox httpd -f -p 80 -h /www </dev/null
	[ "$(head -c 8 "$WORK/snapshot")" = brthsnap ]
	local pid
	ip netns exec "$NS" timeout 200 "$TENDER" --root="$WORK/httpd" --from="$WORK/snapshot" --net=tap0 --address=10.9.0.2/24 \
		</dev/null >"$WORK/log" 2>&1 3>&- &
	pid=$!
	eventually 60 in_ns curl -s -m 10 -o /dev/null http://10.9.0.2/none
	[ "$(in_ns curl -sS -m 60 http://10.9.0.2/data | sha256sum)" = "$(sha256sum <"$WORK/www/data")" ]
	ended "$pid"
}

@test "loss and delay do not change what arrives" {
	in_ns tc qdisc add dev tap0 root netem loss 2% delay 1ms 2>/dev/null || skip "this kernel has no netem"
	local sum
	sum=$(alone --address=10.9.0.2/24 -- busybox wget -q -O - http://10.9.0.1:8000/data | sha256sum) || true
	in_ns tc qdisc del dev tap0 root
	[ "$sum" = "$(sha256sum <"$WORK/www/data")" ]
}

@test "options of the card are refused by name" {
	local option
	for option in --address=10.9.0.2 --address=x/24 --address=fd09::2/48 --gateway=x --dns=x --net-mac=01:00:00:00:00:01 \
		--net-mac=x --net=nothere --host-name=; do
		run "$TENDER" --root="$WORK/image" "$option" -- busybox true
		[ "$status" -eq 1 ]
		[[ $output == *"${option%%=*}"* ]]
	done
	run "$TENDER" --root="$WORK/image" --address=10.9.0.2/24 -- busybox true
	[[ $output == *"needs a network card"* ]]
}

@test "what is no program for it, and what is wrong on its command line, is a sentence" {
	run "$TENDER" /bin/busybox
	[[ $status -eq 1 && $output == "berth-tender: /bin/busybox: no program that --build has prepared, and no unikernel of Solo5: "* ]]
	run "$TENDER" --build "$WORK/root" /bin/busybox
	[[ $status -eq 1 && $output == "berth-tender: --build: ROOTDIR, PROGRAM and IMAGE are wanted" ]]
	run "$TENDER" --build "$WORK/root" /bin/busybox "$WORK/none/image"
	[[ $status -eq 1 && $output == "berth-tender: make $WORK/none/image: No such file or directory" ]]
	"$TENDER" --help >"$WORK/usage"
	run "$TENDER" --nothing
	[ "$status" -eq 1 ]
	[ "$output" = "$(cat "$WORK/usage")" ]
}

@test "what is done to files on the volume is what Linux does, and stays; e2fsck finds it clean" {
	local name a b f seed tree="$WORK/tree"
	mkdir -p "$tree"/{bin,tmp,dev}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	for name in sh mkdir rm mv ln chmod truncate rmdir find sort readlink stat md5sum; do ln -s busybox "$tree/bin/$name"; done
	cp "$BATS_TEST_DIRNAME/tree_work" "$tree/tree_work"
	for a in 0 1 2 3; do
		for b in 0 1 2; do
			mkdir -p "$tree/w/d$a/e$b"
			for f in 0 1 2; do echo "image $a $b $f" >"$tree/w/d$a/e$b/f$f"; done
		done
	done
	cp -a "$tree" "$WORK/native"
	mknod "$WORK/native/dev/null" c 1 3
	"$TENDER" --build "$tree" /bin/busybox "$WORK/tree.img" busybox
	truncate -s 32M "$WORK/volume"
	mke2fs -q -t ext2 -b 4096 -I 256 -m 0 -O none,filetype,sparse_super,large_file,ext_attr "$WORK/volume"
	for seed in 3 4 1; do
		chroot "$WORK/native" /bin/busybox sh /tree_work "$seed"
		timeout 200 "$TENDER" --root="$WORK/tree.img" --volume="$WORK/volume" -- busybox sh /tree_work "$seed" </dev/null
		e2fsck -fn "$WORK/volume"
		diff <(chroot "$WORK/native" /bin/busybox sh /tree_work look) \
			<(timeout 200 "$TENDER" --root="$WORK/tree.img" --volume="$WORK/volume" -- busybox sh /tree_work look </dev/null)
	done
	# Written with nobody else's hands: the kernel lays the two over each other.
	if mkdir -p "$WORK"/{upper,merged} && mount -o loop,ro "$WORK/volume" "$WORK/upper" 2>/dev/null; then
		if mount -t overlay -o "ro,lowerdir=$WORK/upper:$WORK/tree" none "$WORK/merged" 2>/dev/null; then
			diff <(chroot "$WORK/native" /bin/busybox sh /tree_work look) <(chroot "$WORK/merged" /bin/busybox sh /tree_work look)
			umount -l "$WORK/merged"
		fi
		umount -l "$WORK/upper"
	fi
}
