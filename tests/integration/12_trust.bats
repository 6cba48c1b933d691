#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The TLS port: certificates, tokens, who may do what, with both stock clients over loopback.

load common
load image

setup_file() {
	berthd_start
	api PUT /1.0 '{"config":{"core.https_address":"127.0.0.1:8443"}}' >/dev/null
	[ "$(cat "$BERTH_BASE/status")" = 200 ]
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias busybox
	export CERTS=$BERTH_BASE/certs
	mkdir "$CERTS"
	for who in admin user stranger scraper; do client_key "$who"; done
}
teardown_file() { berthd_stop; }
teardown() { after_failure; }

# client_key NAME [DAYS]: a key and its certificate.
client_key() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "${2:-30}" \
		-subj "/CN=$1" -keyout "$CERTS/$1.key" -out "$CERTS/$1.crt" 2>/dev/null
}

fingerprint() { openssl x509 -in "$CERTS/$1.crt" -outform DER | sha256sum | cut -d' ' -f1; }
der64() { openssl x509 -in "$CERTS/$1.crt" -outform DER | base64 -w0; }

# tls WHO METHOD PATH [BODY] [CURL OPTION...]: over the port, with WHO's certificate ("" for none).
tls() {
	local who=$1 method=$2 path=$3 body=${4:-}
	shift 3
	[ $# -eq 0 ] || shift
	in_net curl -sS -g -k --max-time 30 ${who:+--cert "$CERTS/$who.crt" --key "$CERTS/$who.key"} \
		-X "$method" -w '%{stderr}%{http_code}' \
		${body:+-H 'Content-Type: application/json' --data-binary "$body"} "$@" \
		"https://127.0.0.1:8443$path" 2>"$BERTH_BASE/status"
}
tls_status() {
	tls "$@" >/dev/null
	cat "$BERTH_BASE/status"
}

@test "the server has a certificate of its own, kept across a restart and told by GET /1.0" {
	[ "$(stat -c %a "$BERTH_DIR/server.key")" = 600 ]
	first=$(api GET /1.0 | json .metadata.environment.certificate_fingerprint)
	[ "$first" = "$(openssl x509 -in "$BERTH_DIR/server.crt" -outform DER | sha256sum | cut -d' ' -f1)" ]
	[ "$(api GET /1.0 | json '.metadata.environment.addresses[0]')" = 127.0.0.1:8443 ]
	berthd_restart
	[ "$(api GET /1.0 | json .metadata.environment.certificate_fingerprint)" = "$first" ]
	served=$(in_net openssl s_client -connect 127.0.0.1:8443 </dev/null 2>/dev/null |
		openssl x509 -outform DER | sha256sum | cut -d' ' -f1)
	[ "$served" = "$first" ]
}

@test "who is not known sees that it is untrusted and nothing else" {
	for who in '' stranger; do
		answer=$(tls "$who" GET /1.0)
		[ "$(cat "$BERTH_BASE/status")" = 200 ]
		[ "$(json .metadata.auth <<<"$answer")" = untrusted ]
		[ "$(json '.metadata | has("config") or has("environment")' <<<"$answer")" = false ]
		for path in /1.0/instances /1.0/certificates /1.0/events /1.0/metrics /1.0/nothing \
			/1.0/operations /1.0/images; do
			[ "$(tls_status "$who" GET "$path")" = 403 ]
		done
		[ "$(tls_status "$who" PUT /1.0 '{"config":{}}')" = 403 ]
		[ "$(tls_status "$who" POST /1.0/certificates '{"name":"me"}')" = 403 ]
		[ "$(tls_status "$who" POST /1.0/certificates '{"name":"me","token":true}')" = 403 ]
		[ "$(tls_status "$who" POST /1.0/certificates '{"password":"guess"}' | head -c1)" = 4 ]
	done
	[ "$(api GET /1.0/certificates | json '.metadata | length')" = 0 ]
}

@test "a certificate that is added is trusted, and no more once it is removed" {
	[ "$(api_status POST /1.0/certificates '{"name":"admin","type":"client","certificate":"'"$(der64 admin)"'"}')" = 201 ]
	[ "$(api_status POST /1.0/certificates '{"name":"admin","certificate":"'"$(der64 admin)"'"}')" = 409 ]
	[ "$(tls admin GET /1.0 | json .metadata.auth)" = trusted ]
	[ "$(tls admin GET /1.0 | json .metadata.auth_user_method)" = tls ]
	[ "$(tls_status admin GET /1.0/instances)" = 200 ]
	[ "$(tls_status admin POST /1.0/profiles '{"name":"by-tls"}')" = 201 ]
	[ "$(tls_status admin DELETE /1.0/profiles/by-tls)" = 200 ]
	[ "$(tls_status stranger GET /1.0/instances)" = 403 ]
	f=$(fingerprint admin)
	[ "$(api GET /1.0/certificates?recursion=1 | json '.metadata[0].fingerprint')" = "$f" ]
	[ "$(api_status PATCH "/1.0/certificates/$f" '{"name":"boss"}')" = 200 ]
	[ "$(api GET "/1.0/certificates/${f:0:12}" | json .metadata.name)" = boss ]
	[ "$(api_status DELETE "/1.0/certificates/$f")" = 200 ]
	[ "$(tls_status admin GET /1.0/instances)" = 403 ]
}

@test "what is no certificate, type, project or address is refused by its field" {
	run api POST /1.0/certificates '{"name":"x","certificate":"bm8="}'
	[[ $output == *'certificate: this is no certificate'* ]]
	run api POST /1.0/certificates '{"name":"x","type":"server","certificate":"'"$(der64 admin)"'"}'
	[[ $output == *'type: '* ]]
	run api POST /1.0/certificates '{"name":"x","projects":["none"],"certificate":"'"$(der64 admin)"'"}'
	[[ $output == *'projects[0]: '* ]]
	for address in nowhere 1.2.3.4:0 1.2.3.4:65536 '[::1' '[::1]x' 256.0.0.1; do
		run api PATCH /1.0 '{"config":{"core.https_address":"'"$address"'"}}'
		[[ $output == *'config.core.https_address: '* ]]
	done
	run api PATCH /1.0 '{"config":{"core.trust_password":"x"}}'
	[[ $output == *token* ]]
}

@test "an address that can't be had is refused, and the old port stays" {
	run api PATCH /1.0 '{"config":{"core.https_address":"192.0.2.77:8443"}}'
	[[ $output == *'config.core.https_address: listen: '* ]]
	[ "$(api GET /1.0 | json '.metadata.config["core.https_address"]')" = 127.0.0.1:8443 ]
	[ "$(tls_status '' GET /1.0)" = 200 ]
	api PATCH /1.0 '{"config":{"core.https_address":":8443"}}' >/dev/null
	[ "$(cat "$BERTH_BASE/status")" = 200 ]
	[ "$(in_net curl -sk 'https://[::1]:8443/1.0' | json .metadata.auth)" = untrusted ]
	api PATCH /1.0 '{"config":{"core.https_address":""}}' >/dev/null
	run in_net curl -sk https://127.0.0.1:8443/1.0
	[ "$status" -ne 0 ]
	api PATCH /1.0 '{"config":{"core.https_address":"127.0.0.1:8443"}}' >/dev/null
	[ "$(tls_status '' GET /1.0)" = 200 ]
}

@test "lxc remote add by token: exec, files and events go over the port" {
	token=$(lxc config trust add --name laptop -q)
	[ "$(lxc config trust list-tokens -f csv | cut -d, -f1)" = laptop ]
	run in_net lxc remote add there "$token"
	[ "$status" -eq 0 ]
	[ -z "$(lxc config trust list-tokens -f csv)" ]
	in_net lxc remote list | grep -q 127.0.0.1:8443
	in_net lxc launch busybox there:t1
	[ "$(in_net lxc exec there:t1 -- sh -c 'cat; echo out; exit 3' <<<in || echo $?)" = $'in\nout\n3' ]
	head -c 3000000 /dev/urandom >"$BERTH_BASE/random"
	in_net lxc file push -q "$BERTH_BASE/random" there:t1/root/r
	in_net lxc file pull -q there:t1/root/r "$BERTH_BASE/back"
	cmp "$BERTH_BASE/random" "$BERTH_BASE/back"
	in_net lxc delete -f there:t1
	# A token is good once.
	run in_net lxc remote add again "$token"
	[ "$status" -ne 0 ]
}

@test "incus remote add by token: list, exec and files (SFTP) go over the port" {
	token=$(incus config trust add phone -q | tail -n 1)
	run in_net incus remote add there "$token"
	[ "$status" -eq 0 ]
	in_net incus launch busybox there:t2
	[ "$(in_net incus list there: -f csv -c ns)" = t2,RUNNING ]
	[ "$(in_net incus exec there:t2 -- echo hello)" = hello ]
	echo pushed >"$BERTH_BASE/f"
	in_net incus file push -q "$BERTH_BASE/f" there:t2/root/f
	[ "$(in_net incus exec there:t2 -- cat /root/f)" = pushed ]
	in_net incus delete -f there:t2
	[ "$(incus config trust list -f csv -c n | sort | tr '\n' ' ')" = 'laptop phone ' ]
}

@test "a token that is revoked or over its time opens nothing" {
	token=$(lxc config trust add --name lost -q)
	lxc config trust revoke-token lost
	run in_net lxc remote add lost "$token"
	[ "$status" -ne 0 ]
	api PATCH /1.0 '{"config":{"core.remote_token_expiry":"100ms"}}' >/dev/null
	token=$(lxc config trust add --name late -q)
	eventually 5 eval '[ -z "$(lxc config trust list-tokens -f csv)" ]'
	run in_net lxc remote add late "$token"
	[ "$status" -ne 0 ]
	api PATCH /1.0 '{"config":{"core.remote_token_expiry":""}}' >/dev/null
}

@test "a restricted certificate sees its project only, and gets nothing of the host" {
	api POST /1.0/projects '{"name":"p","config":{"features.images":"false","features.profiles":"false"}}' >/dev/null
	[ "$(api_status POST /1.0/certificates '{"name":"user","restricted":true,"projects":["p"],"certificate":"'"$(der64 user)"'"}')" = 201 ]
	[ "$(tls user GET /1.0 | json -c '[.metadata.auth,.metadata.config]')" = '["trusted",{}]' ]
	[ "$(tls user GET /1.0/projects | json -c .metadata)" = '["/1.0/projects/p"]' ]
	[ "$(tls_status user GET /1.0/projects/default)" = 403 ]
	[ "$(tls_status user GET '/1.0/instances?project=p')" = 200 ]
	[ "$(tls_status user GET '/1.0/images?project=p')" = 200 ]
	for path in /1.0/instances '/1.0/instances?all-projects=true' /1.0/events /1.0/operations /1.0/metrics \
		/1.0/warnings '/1.0/instances?project=none' '/1.0/events?all-projects=1'; do
		[ "$(tls_status user GET "$path")" = 403 ]
	done
	[ "$(tls_status user PUT '/1.0' '{"config":{}}')" = 403 ]
	[ "$(tls_status user POST '/1.0/networks?project=p' '{"name":"x"}')" = 403 ]
	[ "$(tls_status user POST '/1.0/storage-pools?project=p' '{"name":"x","driver":"dir"}')" = 403 ]
	[ "$(tls_status user POST '/1.0/profiles?project=p' '{"name":"x"}')" = 403 ]
	[ "$(tls_status user POST /1.0/certificates '{"token":true,"name":"x"}')" = 403 ]
	# Nothing of servers and their BMCs: their owners have their instances' power and console.
	for path in '' /s1 /s1/power /s1/sensors /s1/events; do
		[ "$(tls_status user GET "/1.0/berth/servers$path")" = 403 ]
	done
	[ "$(tls_status user POST /1.0/berth/servers '{"name":"s1"}')" = 403 ]
	[ "$(tls_status user PATCH /1.0/berth/servers/s1 '{"maintenance":true}')" = 403 ]
	[ "$(tls_status user PUT /1.0/berth/servers/s1/state '{"action":"power","to":"off"}')" = 403 ]
	[ "$(tls_status user POST /1.0/berth/servers/s1/console '{}')" = 403 ]
	[ "$(tls_status user POST /1.0/certificates '{"name":"x","certificate":"'"$(der64 stranger)"'"}')" = 403 ]
	[ "$(tls_status user DELETE "/1.0/certificates/$(fingerprint user)")" = 403 ]
	[ "$(tls user GET /1.0/certificates | json '.metadata | length')" = 1 ]
	start='{"name":"u1","start":true,"source":{"type":"image","alias":"busybox"}'
	for bad in '"config":{"security.privileged":"true"}' '"config":{"raw.lxc":"x"}' '"config":{"user.vlan":"7"}' \
		'"devices":{"d":{"type":"disk","source":"/etc","path":"/mnt"}}' \
		'"devices":{"d":{"type":"unix-char","path":"/dev/kmsg"}}' \
		'"devices":{"e":{"type":"nic","nictype":"bridged","parent":"br0"}}'; do
		[ "$(tls_status user POST '/1.0/instances?project=p' "$start,$bad}")" = 403 ]
	done
	[ "$(tls_status user POST '/1.0/instances?project=p' '{"name":"u1","source":{"type":"copy","source":"x","project":"default"}}')" = 403 ]
	[ "$(tls_status user POST '/1.0/instances?project=p' "$start}")" = 202 ]
	eventually 10 eval '[ "$(tls user GET "/1.0/instances/u1/state?project=p" | json .metadata.status)" = Running ]'
	[ "$(tls_status user PATCH '/1.0/instances/u1?project=p' '{"config":{"security.privileged":"1"}}')" = 403 ]
	[ "$(tls_status user POST '/1.0/instances/u1?project=p' '{"project":"default","name":"u1"}')" = 403 ]
	tls user PUT '/1.0/instances/u1/state?project=p' '{"action":"stop","force":true}' >/dev/null
	eventually 10 eval '[ "$(tls user GET "/1.0/instances/u1/state?project=p" | json .metadata.status)" = Stopped ]'
	# An operation of another project is not there; one of its own is.
	other=$(api POST /1.0/certificates '{"token":true,"name":"x"}' | json .operation)
	[ "$(tls_status user GET "$other")" = 404 ]
	[ "$(tls_status user DELETE "$other")" = 404 ]
	own=$(tls user DELETE '/1.0/instances/u1?project=p' | json .operation)
	[ "$(tls_status user GET "$own/wait?timeout=30")" = 200 ]
}

@test "a metrics certificate reads the metrics and nothing else" {
	[ "$(api_status POST /1.0/certificates '{"name":"prometheus","type":"metrics","certificate":"'"$(der64 scraper)"'"}')" = 201 ]
	[ "$(tls_status scraper GET /1.0/metrics)" = 200 ]
	[ "$(tls_status scraper GET /1.0/instances)" = 403 ]
	[ "$(tls scraper GET /1.0 | json .metadata.auth)" = untrusted ]
}

@test "noise, half a handshake and many idle clients do not stop the port" {
	head -c 100000 /dev/urandom | in_net timeout 2 socat -u - TCP:127.0.0.1:8443 || true
	printf '\026\003\001\000\310' | in_net timeout 1 socat -u - TCP:127.0.0.1:8443 || true
	printf 'GET /1.0 HTTP/1.1\r\n\r\n' | in_net timeout 2 socat - TCP:127.0.0.1:8443 >/dev/null || true
	in_net python3 - <<'PY'
import socket, subprocess
idle = [socket.create_connection(("127.0.0.1", 8443)) for _ in range(300)]
out = subprocess.run(["curl", "-sk", "--max-time", "60", "https://127.0.0.1:8443/1.0"], capture_output=True)
assert b"untrusted" in out.stdout, out
PY
	kill -0 "$(berthd_pid)"
}
