#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# berth, the command line, against a daemon of its own.

bats_require_minimum_version 1.5.0
load common

setup_file() { berthd_start; }
teardown_file() { berthd_stop; }

# in_terminal COMMAND...: with a pseudo terminal of 80 columns for all three streams; what it shows.
in_terminal() { script -qefc "stty cols 80 rows 24; $*" /dev/null </dev/null | tr -d '\r'; }

@test "a verb, noun or option that is nearly right gets a guess, exit status 2 and nothing on output" {
	run --separate-stderr berth lanch
	[ "$status" -eq 2 ]
	[ -z "$output" ]
	[ "$stderr" = "berth: there is no verb 'lanch': did you mean launch?" ]
	run --separate-stderr berth image improt x
	[ "$stderr" = "berth: berth image has no verb 'improt': did you mean import?" ]
	run --separate-stderr berth launch --memroy 1GiB image
	[ "$stderr" = "berth: berth launch has no option --memroy: did you mean --memory?" ]
	run berth
	[ "$status" -eq 2 ]
}

@test "help tells of each verb and goes to standard output" {
	run --separate-stderr berth launch --help
	[ "$status" -eq 0 ]
	[[ $output == *'usage: berth launch [OPTION...] IMAGE [NAME] [-- COMMAND...]'* ]]
	[[ $output == *'--bandwidth RATE'* ]]
	[ -z "$stderr" ]
	run berth image --help
	[[ $output == *pull* && $output == *build* ]]
}

@test "without a daemon the sentence says where it was looked for, and the status is 3" {
	BERTH_DIR=$BERTH_BASE/none run --separate-stderr berth list
	[ "$status" -eq 3 ]
	[[ $stderr == "berth: no daemon answers at $BERTH_BASE/none/unix.socket; start berthd"* ]]
	[ -z "$output" ]
}

@test "the socket is that of BERTH_SOCKET, then BERTH_DIR, and --server takes a path too" {
	socket=$BERTH_DIR/unix.socket
	BERTH_SOCKET=$socket BERTH_DIR=/none run berth version
	[[ $output == *'server  '[0-9]* ]]
	run berth version
	[[ $output == *'server  '[0-9]* ]]
	BERTH_DIR=/none run berth version --server "$socket"
	[[ $output == *'server  '[0-9]* ]]
	run berth list --server http://example.org
	[ "$status" -eq 1 ]
	[[ $output == *"'http://example.org' is no https:// address"* ]]
}

@test "a profile is created, changed, shown as YAML, JSON and CSV, renamed and deleted" {
	berth profile create web --description 'for the web' -c limits.cpu=2
	run berth profile get web limits.cpu
	[ "$output" = 2 ]
	berth profile set web limits.memory=1GiB description=changed user.note='a=b'
	run berth profile show web
	[[ $output == *'description: changed'* && $output == *'limits.memory: "1GiB"'* ]]
	[ "$(berth profile show web --format json | json '.config["user.note"]')" = a=b ]
	run berth profile show web --format csv
	[[ $output == *'config/limits.cpu,2'* ]]
	berth profile unset web limits.memory
	run berth profile unset web limits.memory
	[ "$status" -eq 1 ]
	[ "$output" = 'berth: limits.memory is not set' ]
	run berth profile set web limits.cpu
	[ "$output" = "berth: 'limits.cpu' is not KEY=VALUE" ]
	berth profile rename web net
	run berth profile list --columns name --format csv
	[ "$output" = $'default\nnet' ]
	berth profile delete net
	run berth profile show net
	[ "$status" -eq 1 ]
}

@test "devices of a profile are added, changed and removed" {
	berth profile create devices
	berth device add devices eth0 nic network=none name=eth0 --profile
	berth device set devices eth0 limits.max=10Mbit --profile
	[ "$(berth profile show devices --format json | json '.devices.eth0["limits.max"]')" = 10Mbit ]
	run berth device add devices eth0 nic --profile
	[ "$status" -eq 1 ]
	run berth device list devices --profile --format csv
	[[ $output == 'eth0,nic,'*'limits.max=10Mbit'* ]]
	berth device remove devices eth0 --profile
	[ "$(berth profile show devices --format json | json -c .devices)" = '{}' ]
	berth profile delete devices
}

@test "edit takes JSON from standard input or from an editor, and refuses what is broken" {
	berth profile create edited
	berth profile show edited --format json | json '.config["user.a"]="1"' | berth profile edit edited
	[ "$(berth profile get edited user.a)" = 1 ]
	run berth profile edit edited <<<'{'
	[ "$status" -eq 1 ]
	[[ $output == *'standard input: line '* ]]
	EDITOR='sed -i s/\"1\"/\"2\"/' in_terminal berth profile edit edited
	[ "$(berth profile get edited user.a)" = 2 ]
	EDITOR=true run in_terminal berth profile edit edited
	[[ $output == *'nothing was changed'* ]]
	EDITOR=false run in_terminal berth profile edit edited
	[[ $output == *'false failed; nothing is changed'* ]]
	berth profile delete edited
}

@test "a project keeps its profiles apart" {
	berth project create lab --description 'a lab'
	berth profile create own --project lab
	run berth profile list --columns name --format csv
	[ "$output" = default ]
	BERTH_PROJECT=lab run berth profile list --columns name --format csv
	[[ $output == *own* ]]
	run berth project info lab
	[[ $output == *RESOURCE* && $output == *instances* ]]
	berth profile delete own --project lab
	berth project delete lab
	run berth project list --format csv --columns name
	[ "$output" = default ]
}

@test "lists are tables for people, JSON and CSV for programs; a column that is not there is named" {
	run berth profile list
	[[ ${lines[0]} == 'NAME     DESCRIPTION '*'USED BY' ]]
	[ "$(berth profile list -f json | json '.[0].name')" = default ]
	run berth profile list --columns name,size
	[ "$status" -eq 1 ]
	[ "$output" = "berth: --columns: there is no column 'size'; there are: name, description, used" ]
	run berth profile list --format xml
	[ "$output" = "berth: --format: 'xml' is none of table, json, csv" ]
}

@test "titles are bold on a terminal, not with NO_COLOR, and never in a pipe" {
	esc=$'\e'
	TERM=xterm run in_terminal berth profile list
	[[ $output == *"$esc[1mNAME"* ]]
	TERM=xterm NO_COLOR=1 run in_terminal berth profile list
	[[ $output != *"$esc"* ]]
	run berth profile list
	[[ $output != *"$esc"* ]]
}

@test "what a description holds can't steer the terminal" {
	berth profile create evil --description $'\e[2Jboo\nsecond line'
	run berth profile list
	[[ $output == *'?[2Jboo?second line'* ]]
	berth profile delete evil
}

@test "query sends what it is given and waits if it shall" {
	[ "$(berth query /1.0 | json .auth)" = trusted ]
	[ "$(berth query /1.0 --raw | json .type)" = sync ]
	berth query -X POST /1.0/profiles -d '{"name":"queried"}'
	echo '{"description":"x"}' | berth query -X PATCH /1.0/profiles/queried -d -
	[ "$(berth query /1.0/profiles/queried | json .description)" = x ]
	berth query -X DELETE /1.0/profiles/queried
	run berth query /1.0/nothing
	[ "$status" -eq 1 ]
	run berth query 1.0
	[[ $output == *"'1.0' is no path"* ]]
}

@test "--debug shows each request, --quiet no notes" {
	run --separate-stderr berth profile list --debug
	[[ $stderr == *'GET /1.0/profiles?recursion=1 -> 200'* ]]
}

@test "monitor tells events as they come" {
	berth monitor --type lifecycle --format json >"$BERTH_BASE/events" 3>&- &
	pid=$!
	seen() {
		berth profile create seen 2>/dev/null
		berth profile delete seen
		grep -q profile-created "$BERTH_BASE/events"
	}
	eventually 10 seen
	kill "$pid"
	[ "$(json -r 'select(.metadata.action=="profile-created").metadata.source' <"$BERTH_BASE/events" | head -n 1)" = /1.0/profiles/seen ]
}

@test "a broken pipe is an error, not a death" {
	run bash -c 'set -o pipefail; berth metrics --help | true; exec 9>&1; berth info >/dev/full'
	[ "$status" -eq 1 ]
	[[ $output == *'write standard output: No space left on device'* ]]
}

@test "doctor tells what the host has and mends, with a daemon and without" {
	run berth doctor
	[[ ${lines[0]} == 'CHECK '*'STATUS '*'FOUND '*'REMEDY' ]]
	[[ $output == *kernel* && $output == *cgroups* ]]
	[ "$(berth doctor --format json | json '[.[].status] | unique - ["ok","degraded","missing"] | length')" = 0 ]
	BERTH_DIR=/none run --separate-stderr berth doctor
	[[ $output == *kernel* ]]
	[[ $stderr == *'no daemon answers'* ]]
}

@test "resources, metrics and the daemon's own info are shown" {
	[ "$(berth resources --format json | json '.cpu.total > 0 and .memory.total > 0')" = true ]
	run berth metrics
	[[ $output == *'# EOF' ]]
	[ "$(berth info --format json | json .environment.server)" = berth ]
	berth config set --daemon user.note=x
	[ "$(berth config get --daemon user.note)" = x ]
	berth config unset --daemon user.note
	run berth warning list
	[[ ${lines[0]} == 'ID '* ]]
	run berth operation list --format json
	[ "$output" = '[]' ]
}

@test "completion offers verbs, options and the names of objects" {
	run berth completion words -- la
	[ "$output" = launch ]
	run berth completion words -- image p
	[ "$output" = pull ]
	run berth completion words -- launch --mem
	[ "$output" = --memory ]
	run berth completion words -- profile show d
	[ "$output" = default ]
	run berth completion words -- launch --profile d
	[ "$output" = default ]
	grep -v '^#' "$TOP/data/completion/bash/berth" | cmp - <(berth completion bash)
	bash -c 'source <(berth completion bash); COMP_WORDS=(berth prof); COMP_CWORD=1; _berth 2>/dev/null; [ "${COMPREPLY[0]}" = profile ]'
}

@test "every verb, option, route and config key has a line in its man page, and every page is there" {
	"$TOP/tools/check-man" verbs "$BERTH_BUILD/src/cli/berth"
	"$TOP/tools/check-man" options "$BERTHD" berthd.8
	"$TOP/tools/check-man" options "$BERTH_BUILD/src/vmm/berth-vmm" berth-vmm.8
	"$TOP/tools/check-man" options "$BERTH_BUILD/src/tender/berth-tender" berth-tender.8
	"$TOP/tools/check-man" pages
	"$TOP/tools/check-man" routes
	"$TOP/tools/check-man" keys
}
