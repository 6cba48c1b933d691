# SPDX-License-Identifier: Apache-2.0
# redis, nginx, sqlite3 and python3 as unikernels; see run.

setup_file() {
	export WORK=$(mktemp -d /tmp/berth-programs-XXXXXX) TENDER=$BERTH_BUILD/src/tender/berth-tender
	ip link set lo up
	ip tuntap add tap0 mode tap vnet_hdr
	ip addr add 10.9.0.1/24 dev tap0
	ip addr add fd09::1/64 dev tap0 nodad
	ip link set tap0 up
	mkdir -p "$WORK"/{redis,sqlite,nginx/{www,run,etc/nginx},python/usr/lib}
	"$TENDER" --build "$WORK/redis" "$PROGRAMS/redis-server" "$WORK/redis.img" redis-server --save "" --bind 0.0.0.0 :: \
		--protected-mode no
	"$TENDER" --build "$WORK/sqlite" "$PROGRAMS/sqlite3" "$WORK/sqlite.img" sqlite3
	cat >"$WORK/nginx/etc/nginx/nginx.conf" <<-'END'
		daemon off; master_process off; error_log stderr error;
		events { worker_connections 1000; }
		http { access_log off; sendfile on; tcp_nopush on; server { listen 80; listen [::]:80; root /www; } }
	END
	echo 'nobody:x:65534:65534::/:/bin/sh' >"$WORK/nginx/etc/passwd"
	echo 'nogroup:x:65534:' >"$WORK/nginx/etc/group"
	head -c 612 /dev/zero | tr '\0' x >"$WORK/nginx/www/index.html"
	head -c 30000000 /dev/urandom >"$WORK/nginx/www/large"
	"$TENDER" --build "$WORK/nginx" "$PROGRAMS/nginx" "$WORK/nginx.img" nginx
	cp -a /usr/lib/python3.11 "$WORK/python/usr/lib/"
	rm -rf "$WORK"/python/usr/lib/python3.11/config-*
	"$TENDER" --build "$WORK/python" "$PROGRAMS/python3" "$WORK/python.img" PYTHONHOME=/usr python3
}

teardown_file() { rm -rf "$WORK"; }

# serve IMAGE WORD...: in the background until the test ends; its process is $pid
serve() {
	local image=$1
	shift
	"$TENDER" --root="$WORK/$image.img" --verbose --net=tap0 --address=10.9.0.2/24 --address=fd09::2/64 "$@" \
		>"$WORK/log" 2>&1 </dev/null 3>&- &
	pid=$!
	for _ in $(seq 50); do
		ping -q -c 1 -W 1 10.9.0.2 >/dev/null && break
	done
}

teardown() {
	[ -z "${pid:-}" ] || kill "$pid" 2>/dev/null || true
	[ ! -f "$WORK/log" ] || cat "$WORK/log"
}

cli() { timeout 20 "$PROGRAMS/redis-cli" -h 10.9.0.2 "$@"; }

@test "redis serves over IPv4 and IPv6, pipelined, large values, many clients, and ends in order" {
	serve redis
	[ "$(cli ping)" = PONG ]
	[ "$(timeout 5 "$PROGRAMS/redis-cli" -h fd09::2 set a b)" = OK ]
	[ "$(cli get a)" = b ]
	head -c 5000000 /dev/urandom | base64 -w 0 >"$WORK/value"
	cli -x set large <"$WORK/value"
	cli get large | tr -d '\n' | cmp - "$WORK/value"
	timeout 60 "$PROGRAMS/redis-benchmark" -h 10.9.0.2 -t get,set,lpush,lrange_100 -c 200 -n 20000 -P 8 -q
	cli shutdown nosave
	wait "$pid"
	! grep 'no such call' "$WORK/log"
}

@test "nginx serves a page, a large file whole, ranges and many connections at once" {
	serve nginx
	[ "$(curl -sS -m 5 http://10.9.0.2/ | wc -c)" = 612 ]
	[ "$(curl -sS -m 5 'http://[fd09::2]/' | wc -c)" = 612 ]
	curl -sS -m 20 http://10.9.0.2/large | cmp - "$WORK/nginx/www/large"
	[ "$(curl -sS -m 5 -r 1000-1999 http://10.9.0.2/large | sha256sum)" = \
		"$(tail -c +1001 "$WORK/nginx/www/large" | head -c 1000 | sha256sum)" ]
	[ "$(curl -sS -m 5 -o /dev/null -w '%{http_code}' http://10.9.0.2/none)" = 404 ]
	seq 200 | xargs -P 50 -I @ curl -sS -m 10 -o /dev/null -w '%{http_code}\n' http://10.9.0.2/ | sort | uniq -c >"$WORK/codes"
	[[ $(cat "$WORK/codes") == *"200 200" ]]
}

# same IMAGE PROGRAM INPUT WORD...: the same output and status as natively
same() {
	local image=$1 program=$2 input=$3 wanted=0 got=0
	shift 3
	(cd /tmp && PYTHONHOME=/usr "$PROGRAMS/$program" "$@" <"$input") >"$WORK/wanted" 2>&1 || wanted=$?
	timeout 60 "$TENDER" --root="$WORK/$image.img" -- "$program" "$@" <"$input" >"$WORK/got" 2>&1 || got=$?
	diff "$WORK/wanted" "$WORK/got"
	[ $wanted = $got ]
}

@test "sqlite3 answers a corpus as natively, in memory and in a file" {
	cat >"$WORK/corpus.sql" <<-'END'
		pragma journal_mode=wal; create table t(a integer primary key, b, c text);
		with recursive n(x) as (select 1 union all select x+1 from n where x<20000) insert into t select x, x*x%1009, printf('%06d', x) from n;
		create index i on t(b); analyze;
		select count(*), sum(b), avg(a), min(c), max(c), group_concat(distinct b%3) from t;
		select b, count(*) from t group by b order by 2 desc, 1 limit 5;
		begin; update t set c = c || 'x' where a % 7 = 0; rollback; select count(*) from t where c like '%x';
		begin; delete from t where a > 15000; commit; vacuum; pragma integrity_check;
		create virtual table f using fts5(body); insert into f select c from t where a < 100; select count(*) from f where f match '000042';
		select json_extract('{"a":[1,2,{"b":3}]}', '$.a[2].b'), sqrt(2), hex('abc'), strftime('%Y', 0, 'unixepoch');
		select * from missing;
	END
	for file in :memory: /tmp/corpus.db; do
		rm -f /tmp/corpus.db*
		same sqlite sqlite3 "$WORK/corpus.sql" "$file"
	done
	rm -f /tmp/corpus.db*
}

@test "python3 runs threads, sockets, files, subclasses of everything as natively" {
	cat >"$WORK/corpus.py" <<-'END'
		import collections, concurrent.futures, hashlib, io, json, os, pathlib, queue, random, re, select, selectors, signal, socket
		import struct, tempfile, threading, time, zlib
		with concurrent.futures.ThreadPoolExecutor(8) as pool:
		    print(sum(pool.map(lambda n: sum(i * i for i in range(n)), range(200))))
		q = queue.Queue(); done = threading.Event()
		def worker():
		    for n in iter(q.get, None): time.sleep(0.001)
		    done.set()
		threading.Thread(target=worker).start()
		[q.put(n) for n in range(20)]; q.put(None); print(done.wait(5))
		server = socket.create_server(("127.0.0.1", 0))
		def serve():
		    peer, _ = server.accept()
		    with peer: peer.sendall(peer.recv(100)[::-1])
		threading.Thread(target=serve).start()
		with socket.create_connection(server.getsockname()) as s: s.sendall(b"backwards"); print(s.recv(100))
		sel = selectors.DefaultSelector(); a, b = socket.socketpair(); sel.register(b, selectors.EVENT_READ, "b"); a.send(b"x")
		print([(k.data, e) for k, e in sel.select(1)])
		with tempfile.TemporaryDirectory() as d:
		    p = pathlib.Path(d, "x"); p.write_text("hello" * 1000); print(p.stat().st_size, sorted(os.listdir(d)))
		signal.signal(signal.SIGALRM, lambda *a: print("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2)
		random.seed(1); print(random.random(), zlib.crc32(b"x" * 1000), hashlib.sha3_256(b"").hexdigest())
		print(json.dumps(dict(collections.Counter("mississippi")), sort_keys=True), re.findall(r"(\w)\1", "bookkeeper"), struct.pack("<id", 1, 2.5))
		try: open("/no/such")
		except OSError as e: print(e)
		r, w = os.pipe(); os.write(w, b"x"); print(select.select([r], [w], [], 1) == ([r], [w], []))
		raise SystemExit(3)
	END
	same python python3 "$WORK/corpus.py" -
}

@test "python3 -m http.server serves with threads" {
	serve python -- python3 -m http.server --directory /usr/lib/python3.11 80
	for _ in $(seq 50); do
		curl -s -m 2 -o /dev/null http://10.9.0.2/ && break
		sleep 0.1
	done
	curl -sS -m 10 http://10.9.0.2/this.py | cmp - /usr/lib/python3.11/this.py
	[ "$(seq 30 | xargs -P 10 -I @ sh -c 'curl -sS -m 10 http://10.9.0.2/typing.py | sha256sum' | sort -u)" = \
		"$(sha256sum </usr/lib/python3.11/typing.py)" ]
}
