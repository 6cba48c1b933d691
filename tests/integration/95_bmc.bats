#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# berth-metal against BMCs: OpenIPMI's simulator, which is not ours, and a Redfish service of ours that can
# be told to misbehave. Each test has a port of its own on loopback, in a network namespace.

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
BUILD=${BERTH_BUILD:-$TOP/build}

setup_file() {
	BASE=$(mktemp -d /tmp/berth-bmc.XXXXXX)
	NETNS=${BASE##*/}
	export BASE NETNS
	chmod 755 "$BASE"
	ip netns add "$NETNS"
	ip -n "$NETNS" link set lo up
	mkdir "$BASE/state"
	sed "s|@BASE@|$BASE|" "$TOP/tests/integration/metal/lan.conf" >"$BASE/lan.conf"
	cat >"$BASE/chassis" <<-'SH'
		#!/bin/bash
		cd "${0%/*}"
		if [ "$1" = get ]; then
			for word in "${@:2}"; do
				case $word in
				power) echo "power:$(cat power 2>/dev/null || echo 0)" ;;
				boot) echo "boot:$(cat boot 2>/dev/null || echo default)" ;;
				esac
			done
		else
			shift
			while [ $# -gt 1 ]; do
				case $1 in power | boot) echo "$2" >"$1" ;; shutdown) echo 0 >power ;; esac
				shift 2
			done
		fi
	SH
	chmod 755 "$BASE/chassis"
	(cd "$BASE" && exec ip netns exec "$NETNS" ipmi_sim -n -c lan.conf \
		-f "$TOP/tests/integration/metal/bmc.emu" -s state >sim.log 2>&1 3>&- </dev/null) &
	echo $! >"$BASE/sim.pid"
	listens -lun 623
}

# listens OPTIONS PORT: waits until somebody does there.
listens() {
	local end=$((SECONDS + 60))
	until ip netns exec "$NETNS" ss "$1" | grep -q ":$2 "; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

teardown_file() {
	kill "$(cat "$BASE/sim.pid")"
	ip netns del "$NETNS"
	rm -rf "$BASE"
}

teardown() { [ ! -f "$BASE/responder.pid" ] || { kill "$(cat "$BASE/responder.pid")" 2>/dev/null || true; rm "$BASE/responder.pid"; }; }

ask() { timeout 400 ip netns exec "$NETNS" "$TOP/tests/integration/metal/ask.py" "$BUILD/src/metal/berth-metal" "$@"; }
# The simulator says nothing to cipher suite 17: not each test waits for that.
ipmi() { ask '{"driver":"ipmi","address":"127.0.0.1","user":"admin","password":"secret","cipher":3}' "$@"; }
# Each is answered long before its deadline; who waits for what does not come has a short one: impatient.
redfish() { ask '{"driver":"redfish","address":"http://127.0.0.1","port":9680,"user":"admin","password":"secret"}' "$@"; }
impatient() { ask '{"driver":"redfish","address":"http://127.0.0.1","port":9680,"user":"admin","password":"secret","deadline_ms":6000}' "$@"; }
tool() { ip netns exec "$NETNS" timeout 100 ipmitool -I lanplus -C 3 -H 127.0.0.1 -U admin -P secret "$@"; }
responder() {
	ip netns exec "$NETNS" "$BUILD/tests/integration/redfish-responder" 9680 - "$@" >"$BASE/responder.log" 2>&1 3>&- &
	echo $! >"$BASE/responder.pid"
	listens -ltn 9680
}

@test "over IPMI: identity, power and boot device, each read back, and ipmitool agrees" {
	tool chassis power off
	run ipmi '{"do":"identity"}' '{"do":"power","to":"on"}' '{"do":"boot","device":"network"}'
	[ "$status" -eq 0 ]
	[ "$(jq -r .manufacturer <<<"${lines[1]}")" = "IANA 4753" ]
	[ "$(jq -r .power <<<"${lines[2]}")" = on ]
	[ "$(jq -r .boot.device <<<"${lines[3]}")" = network ]
	tool chassis power status | grep -q 'is on'
	[ "$(cat "$BASE/boot")" = pxe ]
}

@test "over IPMI: off, soft, cycle, and what is off already" {
	tool chassis power on
	run ipmi '{"do":"power","to":"off"}' '{"do":"power","to":"soft"}' '{"do":"power","to":"cycle"}' \
		'{"do":"power","to":"reset"}' '{"do":"power","to":"soft"}' '{"do":"sensors"}' '{"do":"events"}'
	[ "$(jq -s 'map(select(.code != 0)) | length' <<<"$output")" = 0 ]
	tool chassis power status | grep -q 'is off'
}

@test "a wrong password is said to be one, soon" {
	SECONDS=0
	run ask '{"driver":"ipmi","address":"127.0.0.1","user":"admin","password":"wrong","cipher":3}' '{"do":"state"}'
	[ "$(jq -r .code <<<"${lines[1]}")" = -13 ]
	[[ ${lines[1]} == *"user, password"* ]]
	[ $SECONDS -lt 30 ]
}

@test "a BMC that is not there is given up at the deadline" {
	run ask '{"driver":"ipmi","address":"127.0.0.1","port":9,"user":"a","password":"b","deadline_ms":3000}' '{"do":"state"}'
	[ "$(jq -r .code <<<"${lines[1]}")" -lt 0 ]
	run redfish '{"do":"state"}'
	[[ ${lines[1]} == *"onnect"* ]]
}

@test "what cannot be asked is refused with its field" {
	run ipmi '{"do":"dance"}' '{"do":"power","to":"up"}' '{"do":"boot","device":"moon"}' '{"do":"media"}'
	[[ ${lines[1]} == *"do: "* && ${lines[2]} == *"to: "* && ${lines[3]} == *"device: "* ]]
	[[ ${lines[4]} == *"no virtual media"* ]]
	run ask '{"driver":"carrier pigeon","address":"x"}'
	[[ ${lines[0]} == *"redfish, ipmi"* ]]
	run ask '{"driver":"ipmi","address":"bmc.example.org"}'
	[[ ${lines[0]} == *"no IP address"* ]]
}

# bmc FAULT...: one of ours that speaks IPMI, at port 6231.
bmc() {
	ip netns exec "$NETNS" "$TOP/tests/integration/metal/bmc.py" 6231 "$@" >"$BASE/bmc.log" 2>&1 3>&- &
	echo $! >"$BASE/responder.pid"
	listens -lun 6231
}
# suite CONFIG QUESTION...: asks it; CONFIG goes into what is opened.
suite() {
	local config=$1
	shift
	ask '{"driver":"ipmi","address":"127.0.0.1","port":6231,"user":"admin","password":"secret"'"$config}" "$@"
}

@test "over IPMI cipher suite 17 is taken, of which ipmitool is the judge, and 3 where the BMC has no other" {
	bmc
	ip netns exec "$NETNS" timeout 200 ipmitool -I lanplus -C 17 -H 127.0.0.1 -p 6231 -U admin -P secret chassis power on
	run suite '' '{"do":"identity"}' '{"do":"state"}' '{"do":"boot","device":"disk"}' '{"do":"power","to":"off"}'
	echo "$output"
	[ "$(jq -s 'map(select(.code != 0)) | length' <<<"$output")" = 0 ]
	[ "$(jq -r .cipher_suite <<<"${lines[1]}")" = 17 ]
	[ "$(jq -r .power <<<"${lines[2]}")" = on ]
	run suite ',"cipher":3' '{"do":"identity"}'
	[ "$(jq -r .cipher_suite <<<"${lines[1]}")" = 3 ]
	run ask '{"driver":"ipmi","address":"127.0.0.1","port":6231,"user":"admin","password":"wrong"}' '{"do":"state"}'
	[[ ${lines[1]} == *"user, password"* ]]
	teardown
	bmc no17
	run suite '' '{"do":"identity"}'
	[ "$(jq -r .cipher_suite <<<"${lines[1]}")" = 3 ]
	# The simulator that is not ours has no 17 either.
	run ask '{"driver":"ipmi","address":"127.0.0.1","user":"admin","password":"secret"}' '{"do":"identity"}'
	[ "$(jq -r .cipher_suite <<<"${lines[1]}")" = 3 ]
	teardown
	bmc deaf17
	run suite ',"deadline_ms":2800' '{"do":"identity"}' '{"do":"identity"}'
	[ "$(jq -r .code <<<"${lines[1]}")" = -110 ]
	[ "$(jq -r .cipher_suite <<<"${lines[2]}")" = 3 ]
}

@test "where a cipher suite is asked for no other is taken" {
	for fault in no17 downgrades; do
		bmc $fault
		run suite ',"cipher":17' '{"do":"state"}'
		echo "$output"
		[ "$(jq -r .code <<<"${lines[1]}")" = -13 ]
		[[ ${lines[1]} == *"no session with cipher suite 17"* ]]
		teardown
	done
	bmc only17
	run suite ',"cipher":3' '{"do":"state"}'
	[[ ${lines[1]} == *"no session with cipher suite 3"* ]]
	run suite ',"cipher":5'
	[[ ${lines[0]} == *"none of 17, 3"* ]]
}

@test "a console opens though the first session, or its first opening, is refused" {
	for fault in refuses=1 busy=1; do
		bmc $fault
		run suite '' 'heard:line 1'
		[ "${lines[1]}" = "heard line 1" ]
		teardown
	done
}

@test "a console whose session the BMC forgot is opened again, soon" {
	bmc drops
	run suite ',"poll_ms":1000' 'heard:line 1' 'heard:line 2'
	[ "${lines[2]}" = "heard line 2" ]
}

@test "over Redfish: identity, power, boot, sensors, draw, events, media" {
	responder
	run redfish '{"do":"identity"}' '{"do":"power","to":"on"}' '{"do":"boot","device":"network"}' \
		'{"do":"sensors"}' '{"do":"events"}' '{"do":"media","url":"http://192.0.2.1/a.iso"}' '{"do":"media"}'
	[ "$(jq -s 'map(select(.code != 0)) | length' <<<"$output")" = 0 ]
	[ "$(jq -r .serial <<<"${lines[1]}")" = R0001 ]
	[ "$(jq -r .boot.device <<<"${lines[3]}")" = network ]
	[ "$(jq -r .watts <<<"${lines[4]}")" = 120 ]
	[ "$(jq -r '.sensors[0].value' <<<"${lines[4]}")" = 41.5 ]
	[[ ${lines[5]} == *"a fan was slow"* ]]
}

@test "over Redfish a boot device is for once or for good, by BIOS or by UEFI" {
	responder
	run redfish '{"do":"boot","device":"disk","persistent":true,"uefi":true}' '{"do":"state"}' \
		'{"do":"boot","device":"cdrom"}' '{"do":"state"}' '{"do":"boot","device":"none"}'
	[ "$(jq -c .boot <<<"${lines[2]}")" = '{"device":"disk","persistent":true,"uefi":true,"valid":true}' ]
	[ "$(jq -c .boot <<<"${lines[4]}")" = '{"device":"cdrom","persistent":false,"uefi":false,"valid":true}' ]
	[ "$(jq -r .boot.device <<<"${lines[5]}")" = none ]
}

@test "a vendor's quirks are known, and nothing fails for them" {
	responder supermicro
	run redfish '{"do":"identity"}' '{"do":"boot","device":"network"}' '{"do":"boot","device":"network"}' \
		'{"do":"media","url":"http://192.0.2.1/a.iso"}' '{"do":"media"}'
	[ "$(jq -s 'map(select(.code != 0)) | length' <<<"$output")" = 0 ]
	[ "$(jq -r .quirks <<<"${lines[1]}")" = "boot-mode-always once-continuous stale-media once-ignored" ]
	# What it would not honour for once is set for good.
	[ "$(jq -c .boot <<<"${lines[3]}")" = '{"device":"network","persistent":true,"uefi":false,"valid":true}' ]
}

@test "what a vendor keeps at another place is set and read there, and whose tags never match is asked without" {
	responder idrac
	run redfish '{"do":"identity"}' '{"do":"boot","device":"network"}' '{"do":"state"}' '{"do":"power","to":"on"}'
	[ "$(jq -s 'map(select(.code != 0)) | length' <<<"$output")" = 0 ]
	[ "$(jq -r .quirks <<<"${lines[1]}")" = slow-power ]
	[ "$(jq -c .boot <<<"${lines[3]}")" = '{"device":"network","persistent":false,"uefi":false,"valid":true}' ]
	[ "$(jq -r .power <<<"${lines[4]}")" = on ]
	teardown
	responder lenovo
	run redfish '{"do":"identity"}' '{"do":"boot","device":"disk"}' '{"do":"power","to":"on"}'
	[ "$(jq -s 'map(select(.code != 0)) | length' <<<"$output")" = 0 ]
	[ "$(jq -r .quirks <<<"${lines[1]}")" = "slow-power etag-refused" ]
	[ "$(jq -r .boot.device <<<"${lines[2]}")" = disk ]
}

@test "of the systems of a Redfish service the one that is named is meant" {
	responder
	run ask '{"driver":"redfish","address":"http://127.0.0.1","port":9680,"user":"admin","password":"secret","system":"1"}' \
		'{"do":"state"}'
	[ "$(jq -r .power <<<"${lines[1]}")" = off ]
	run ask '{"driver":"redfish","address":"http://127.0.0.1","port":9680,"user":"admin","password":"secret","system":"2"}' \
		'{"do":"state"}'
	[[ ${lines[1]} == *'has no system \"2\"'* ]]
}

@test "a BMC that lies about power is found out, and named so" {
	responder lies
	run impatient '{"do":"power","to":"on"}'
	[[ ${lines[1]} == *"but the power is still off"* ]]
}

@test "a BMC that forgets the boot flag is found out" {
	responder forgets
	run redfish '{"do":"boot","device":"network"}'
	[[ ${lines[1]} == *'took \"network\", but says \"none\"'* ]]
}

@test "sessions that are dropped are opened again; without sessions basic authentication serves" {
	responder drops
	run redfish '{"do":"power","to":"on"}' '{"do":"boot","device":"network"}' '{"do":"sensors"}' '{"do":"power","to":"off"}'
	[ "$(jq -s 'map(select(.code != 0)) | length' <<<"$output")" = 0 ]
	teardown
	responder basic late
	run redfish '{"do":"power","to":"on"}' '{"do":"state"}'
	[ "$(jq -r .power <<<"${lines[2]}")" = on ]
}

@test "a BMC that is stuck, dies, tears its answers or leads astray ends in a sentence" {
	for fault in stuck dies torn strays; do
		responder $fault
		run impatient '{"do":"power","to":"on"}' '{"do":"power","to":"off"}' '{"do":"boot","device":"disk"}'
		echo "# $fault: $(jq -r '.error // empty' <<<"$output" | tail -n 1)"
		[ "$(jq -s 'map(select(.code < 0 and (.error | length) > 10)) | length' <<<"$output")" -ge 1 ]
		teardown
	done
}
