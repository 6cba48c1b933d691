#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The stock clients, lxc and incus, as Debian has them: every family of commands, by output and exit status.

bats_require_minimum_version 1.5.0
load common
load image

setup_file() {
	berthd_start
	busybox_image "$BERTH_BASE/busybox.tar"
	lxc image import "$BERTH_BASE/busybox.tar" --alias busybox
	# A card where a test asks for one, not everywhere.
	lxc profile device remove default eth0
	lxc launch busybox box
}
teardown_file() { berthd_stop; }
teardown() { after_failure box; }

# each BODY: once as lxc, once as incus; the name of the instance the body may use is $it.
each() {
	for client in lxc incus; do
		echo "client: $client"
		it=i-$client
		"$1"
	done
}

@test "info and version tell of the server" {
	body() {
		run --separate-stderr $client info
		[[ $output == *'auth: trusted'* && $output == *'server: berth'* ]]
		run $client version
		[[ $output == *'Server version: '[0-9]* ]]
	}
	each body
}

@test "the server's config is set, shown and unset" {
	body() {
		$client config set user.place=here
		[ "$($client config get user.place)" = here ]
		run $client config show
		[[ $output == *'user.place: here'* ]]
		$client config unset user.place
		[ -z "$($client config get user.place)" ]
		run $client config set core.nonsense=1
		[ "$status" -eq 1 ]
	}
	each body
}

@test "raw queries, operations, warnings and resources" {
	body() {
		[ "$($client query /1.0 | json .auth)" = trusted ]
		$client operation list
		$client warning list
		run $client info --resources
		[[ $output == *CPU* && $output == *Memory* ]]
	}
	each body
}

@test "profiles are created, changed, copied, renamed and deleted" {
	body() {
		$client profile create p1
		$client profile set p1 limits.cpu=1
		$client profile device add p1 scratch disk source=/tmp path=/mnt
		run $client profile show p1
		[[ $output == *'limits.cpu: "1"'* && $output == *'path: /mnt'* ]]
		$client profile copy p1 p2
		$client profile rename p2 p3
		run $client profile list --format csv
		[[ $output == *p1,* && $output == *p3,* ]]
		$client profile device remove p1 scratch
		$client profile unset p1 limits.cpu
		$client profile show p1 | sed 's/^description: .*/description: edited/' | $client profile edit p1
		run $client profile show p1
		[[ $output == *'description: edited'* ]]
		$client profile delete p1
		$client profile delete p3
		run $client profile show p1
		[ "$status" -eq 1 ]
	}
	each body
}

@test "projects are created, shown, measured and deleted" {
	body() {
		$client project create lab
		$client project set lab user.a=b
		[ "$($client project get lab user.a)" = b ]
		run $client project list --format csv
		[[ $output == *lab,* ]]
		run $client project info lab
		[[ $output == *INSTANCES* || $output == *instances* ]]
		run $client list --project lab --format csv
		[ "$status" -eq 0 ]
		[ -z "$output" ]
		$client project rename lab den
		$client project delete den
	}
	each body
}

@test "images are imported whole and split, listed, described, exported and deleted" {
	split=$BERTH_BASE/split
	mkdir -p "$split"
	tar -C "$split" -xf "$BERTH_BASE/busybox.tar"
	sed -i 's/description: .*/description: split in two/' "$split/metadata.yaml"
	tar -C "$split" -cf "$BERTH_BASE/meta.tar" metadata.yaml
	tar -C "$split/rootfs" -czf "$BERTH_BASE/root.tar.gz" .
	body() {
		$client image import "$BERTH_BASE/meta.tar" "$BERTH_BASE/root.tar.gz" --alias split
		run $client image list --format csv
		[[ $output == *split*'split in two'* && $output == *busybox* ]]
		run $client image info split
		[[ $output == *'Fingerprint: '* && $output == *x86_64* ]]
		$client image set-property split user.note hello
		[ "$($client image get-property split user.note)" = hello ]
		$client image alias create other "$($client image list split --format json | json '.[0].fingerprint')"
		$client image alias rename other another
		run $client image alias list --format csv
		[[ $output == *another,* ]]
		$client image alias delete another
		(cd "$BERTH_BASE" && $client image export split exported)
		[ -s "$BERTH_BASE/exported" ] || [ -s "$BERTH_BASE/exported.root" ] || ls "$BERTH_BASE"/exported*
		rm -f "$BERTH_BASE"/exported*
		$client image delete split
		run $client image info split
		[ "$status" -eq 1 ]
	}
	each body
}

@test "an archive that is no image is refused and leaves nothing" {
	head -c 100000 /dev/urandom >"$BERTH_BASE/noise.tar"
	body() {
		run $client image import "$BERTH_BASE/noise.tar" --alias noise
		[ "$status" -eq 1 ]
		run $client image list --format csv
		[[ $output != *noise* ]]
	}
	each body
}

@test "an instance is launched with limits, listed, stopped, started and deleted" {
	body() {
		$client launch busybox "$it" -c limits.cpu=1 -c limits.memory=128MiB
		run $client list --format csv -c nst
		[[ $output == *"$it,RUNNING,CONTAINER"* ]]
		run $client info "$it"
		[[ $output == *RUNNING* || $output == *Running* ]]
		run $client launch busybox "$it"
		[ "$status" -eq 1 ]
		run $client delete "$it"
		[ "$status" -eq 1 ]
		$client stop "$it"
		[ "$($client list "^$it\$" --format csv -c s)" = STOPPED ]
		$client start "$it"
		$client restart "$it"
		$client restart --force "$it"
		$client pause "$it"
		[ "$($client list "^$it\$" --format csv -c s)" = FROZEN ]
		$client start "$it"
		[ "$($client list "^$it\$" --format csv -c s)" = RUNNING ]
		$client stop --force "$it"
		$client delete "$it"
		run $client info "$it"
		[ "$status" -eq 1 ]
	}
	each body
}

@test "an instance without a name gets one; an empty one does not start; one is renamed and moved" {
	body() {
		name=$($client init busybox 2>&1 | sed -n 's/.*[Nn]ame is: *//p')
		[ -n "$name" ]
		$client delete "$name"
		$client init --empty "$it"
		$client rename "$it" "$it-2"
		$client move "$it-2" "$it-3"
		run $client list --format csv -c n
		[[ $output == *"$it-3"* && $output != *"$it-2"* ]]
		$client delete "$it-3"
	}
	each body
}

@test "an ephemeral instance is gone when it stops" {
	body() {
		$client launch busybox "$it" --ephemeral
		$client stop --force "$it"
		run $client info "$it"
		[ "$status" -eq 1 ]
	}
	each body
}

@test "a wrong limit is refused by its path and nothing is made" {
	body() {
		run $client launch busybox "$it" -c limits.memory=lots
		[ "$status" -eq 1 ]
		[[ $output == *limits.memory* ]]
		run $client info "$it"
		[ "$status" -eq 1 ]
	}
	each body
}

@test "exec keeps streams apart, passes input, environment, directory, user and the exit status" {
	body() {
		run --separate-stderr $client exec box -- sh -c 'echo out; echo err >&2; exit 7'
		[ "$status" -eq 7 ]
		[ "$output" = out ]
		[ "$stderr" = err ]
		[ "$(printf 'a\nb\n' | $client exec box -- cat)" = $'a\nb' ]
		[ "$($client exec box --env X=y --cwd /tmp -- sh -c 'echo $X $PWD')" = 'y /tmp' ]
		[ "$($client exec box --user 65534 --group 65534 -- id -u)" = 65534 ]
		run -127 $client exec box -- /no/such/command
		run $client exec box -- /etc/passwd
		[ "$status" -eq 126 ]
		run $client exec box -- sh -c 'kill -9 $$'
		[ "$status" -eq 137 ]
	}
	each body
}

@test "exec passes megabytes in both directions unharmed" {
	head -c 20000000 /dev/urandom >"$BERTH_BASE/noise"
	body() {
		$client exec box -- cat <"$BERTH_BASE/noise" | cmp - "$BERTH_BASE/noise"
	}
	each body
}

@test "exec with a terminal has one, of the right size" {
	body() {
		run script -qefc "stty cols 91 rows 33; $client exec box -- sh -c 'tty; stty size'" /dev/null
		[[ $output == */dev/pts/* && $output == *'33 91'* ]]
		run $client exec -t box -- tty
		[[ $output == */dev/pts/* ]]
	}
	each body
}

@test "the console keeps what it has shown" {
	body() {
		eventually 10 sh -c "$client console box --show-log | grep -q 'console of box'"
	}
	each body
}

@test "files are pushed, pulled and deleted, with modes, links and directories" {
	mkdir -p "$BERTH_BASE/tree/sub"
	echo one >"$BERTH_BASE/tree/one"
	echo two >"$BERTH_BASE/tree/sub/two"
	chmod 640 "$BERTH_BASE/tree/one"
	ln -sf one "$BERTH_BASE/tree/link"
	body() {
		$client file push "$BERTH_BASE/tree/one" "box/tmp/$client" --mode 0600 --uid 5 --gid 6
		[ "$($client exec box -- stat -c '%a %u %g' "/tmp/$client")" = '600 5 6' ]
		[ "$($client file pull "box/tmp/$client" -)" = one ]
		echo piped | $client file push - "box/tmp/$client"
		[ "$($client exec box -- cat "/tmp/$client")" = piped ]
		$client file delete "box/tmp/$client"
		run $client file pull "box/tmp/$client" -
		[ "$status" -eq 1 ]
		$client file push -p "$BERTH_BASE/tree/one" "box/tmp/$client-deep/er/one"
		[ "$($client exec box -- cat "/tmp/$client-deep/er/one")" = one ]
		$client file push -r -p "$BERTH_BASE/tree" "box/tmp/$client-all"
		[ "$($client exec box -- cat "/tmp/$client-all/tree/sub/two")" = two ]
		[ "$($client exec box -- readlink "/tmp/$client-all/tree/link")" = one ]
		rm -rf "$BERTH_BASE/back" && mkdir "$BERTH_BASE/back"
		$client file pull -r "box/tmp/$client-all/tree" "$BERTH_BASE/back"
		[ "$(cat "$BERTH_BASE/back/tree/sub/two")" = two ]
		head -c 5000000 /dev/urandom >"$BERTH_BASE/big"
		$client file push "$BERTH_BASE/big" "box/tmp/big"
		$client file pull "box/tmp/big" "$BERTH_BASE/big.back"
		cmp "$BERTH_BASE/big" "$BERTH_BASE/big.back"
	}
	each body
}

@test "a snapshot is taken, listed, restored, copied, renamed and deleted" {
	body() {
		$client launch busybox "$it"
		$client exec "$it" -- sh -c 'echo before >/root/note'
		$client snapshot ${snapshot_verb[$client]:-} "$it" first
		$client exec "$it" -- sh -c 'echo after >/root/note'
		run $client info "$it"
		[[ $output == *first* ]]
		if [ $client = lxc ]; then lxc restore "$it" first; else incus snapshot restore "$it" first; fi
		[ "$($client list "^$it\$" --format csv -c s)" = RUNNING ]
		[ "$($client exec "$it" -- cat /root/note)" = before ]
		$client copy "$it/first" "$it-copy"
		$client start "$it-copy"
		[ "$($client exec "$it-copy" -- cat /root/note)" = before ]
		if [ $client = lxc ]; then lxc rename "$it/first" "$it/second"; else incus snapshot rename "$it" first second; fi
		run $client info "$it"
		[[ $output == *second* && $output != *first* ]]
		if [ $client = lxc ]; then lxc delete "$it/second"; else incus snapshot delete "$it" second; fi
		$client delete --force "$it" "$it-copy"
	}
	declare -A snapshot_verb=([incus]=create)
	each body
}

@test "a stopped instance is copied and published as an image that starts" {
	body() {
		$client init busybox "$it"
		$client copy "$it" "$it-copy"
		$client start "$it-copy"
		$client publish "$it" --alias "made-$client"
		$client launch "made-$client" "$it-made"
		[ "$($client exec "$it-made" -- hostname)" = "$it-made" ]
		$client delete --force "$it" "$it-copy" "$it-made"
		$client image delete "made-$client"
	}
	each body
}

@test "an instance is exported to a file and imported under another name" {
	needs container_backup
	body() {
		$client launch busybox "$it"
		$client exec "$it" -- sh -c 'echo kept >/root/note'
		$client stop --force "$it"
		$client export "$it" "$BERTH_BASE/$it.tar.gz"
		$client import "$BERTH_BASE/$it.tar.gz" "$it-again"
		$client start "$it-again"
		[ "$($client exec "$it-again" -- cat /root/note)" = kept ]
		$client delete --force "$it" "$it-again"
		rm "$BERTH_BASE/$it.tar.gz"
	}
	each body
}

@test "config and devices of an instance are set, overridden and removed" {
	body() {
		$client init busybox "$it"
		$client config set "$it" limits.memory 64MiB
		[ "$($client config get "$it" limits.memory)" = 64MiB ]
		$client config set "$it" user.a=1 user.b=2
		run $client config show "$it" --expanded
		[[ $output == *'user.b: "2"'* ]]
		$client config unset "$it" user.a
		$client config device override "$it" root size=64MiB
		[ "$($client config device get "$it" root size)" = 64MiB ]
		$client config device add "$it" scratch disk source=/tmp path=/mnt
		run $client config device list "$it"
		[[ $output == *scratch* ]]
		$client config device remove "$it" scratch
		$client profile create extra
		$client profile set extra user.c=3
		$client profile add "$it" extra
		[ "$($client config show "$it" --expanded | grep -c 'user.c')" = 1 ]
		$client profile remove "$it" extra
		$client profile assign "$it" default,extra
		$client profile assign "$it" default
		$client profile delete extra
		$client config show "$it" | $client config edit "$it"
		$client delete "$it"
	}
	each body
}

@test "a managed network is made, used, measured and deleted" {
	needs network
	body() {
		$client network create "n-$client" ipv4.address=10.77.0.1/24 ipv6.address=none
		run $client network list --format csv
		[[ $output == *"n-$client,bridge,YES,10.77.0.1/24"* ]]
		run $client network show "n-$client"
		[[ $output == *'ipv4.address: 10.77.0.1/24'* ]]
		$client network set "n-$client" user.a=b
		[ "$($client network get "n-$client" user.a)" = b ]
		run $client network info "n-$client"
		[[ $output == *10.77.0.1* ]]
		$client launch busybox "$it" --network "n-$client"
		eventually 10 sh -c "$client list '^$it\$' --format csv -c 4 | grep -q 10.77.0."
		run $client network list-leases "n-$client" --format csv
		[[ $output == *"$it,"*10.77.0.* ]]
		run $client network delete "n-$client"
		[ "$status" -eq 1 ]
		$client delete --force "$it"
		$client network forward create "n-$client" 127.0.0.9
		$client network forward port add "n-$client" 127.0.0.9 tcp 8080 10.77.0.50 80
		run $client network forward show "n-$client" 127.0.0.9
		[[ $output == *'target_address: 10.77.0.50'* ]]
		$client network forward delete "n-$client" 127.0.0.9
		$client network delete "n-$client"
	}
	each body
}

@test "pools and volumes are made, attached, put back to a snapshot, copied and deleted" {
	body() {
		pool=pool-$client
		$client storage create "$pool" dir
		run $client storage list --format csv
		[[ $output == *"$pool,dir"* ]]
		$client storage show "$pool"
		run $client storage info "$pool"
		[[ $output == *'total space'* || $output == *'total'* ]]
		$client storage volume create "$pool" vol
		$client init busybox "$it"
		$client storage volume attach "$pool" vol "$it" /mnt
		$client start "$it"
		$client exec "$it" -- sh -c 'echo in a volume >/mnt/note'
		$client stop --force "$it"
		$client storage volume detach "$pool" vol "$it"
		$client delete "$it"
		if [ $client = lxc ]; then
			lxc storage volume snapshot "$pool" vol snap
			lxc storage volume restore "$pool" vol snap
		else
			incus storage volume snapshot create "$pool" vol snap
			incus storage volume snapshot restore "$pool" vol snap
		fi
		$client storage volume copy "$pool/vol" "$pool/vol2"
		$client storage volume rename "$pool" vol2 vol3
		run $client storage volume list "$pool" --format csv
		[[ $output == *vol3* ]]
		$client storage volume delete "$pool" vol3
		$client storage volume delete "$pool" vol
		$client storage delete "$pool"
	}
	each body
}

@test "an instance in another project is seen there and with --all-projects only" {
	body() {
		$client project create lab -c features.images=false -c features.profiles=false
		$client launch busybox "$it" --project lab
		run $client list --format csv -c n
		[[ $output != *"$it"* ]]
		run $client list --all-projects --format csv -c n
		[[ $output == *"$it"* && $output == *box* ]]
		[ "$($client exec "$it" --project lab -- hostname)" = "$it" ]
		$client delete --force "$it" --project lab
		$client project delete lab
	}
	each body
}

@test "monitor shows what happens to an instance" {
	body() {
		$client monitor --type lifecycle --format json >"$BERTH_BASE/events" 3>&- &
		pid=$!
		seen() {
			$client config set box user.seen="$RANDOM"
			grep -q instance-updated "$BERTH_BASE/events"
		}
		eventually 10 seen
		kill "$pid"
	}
	each body
}

@test "all commands end with status 1 and a sentence for what is not there" {
	body() {
		for words in 'info none' 'start none' 'delete none' 'exec none -- true' 'config show none' \
			'image info none' 'network show none' 'storage show none' 'profile show none' \
			'project show none' 'console none --show-log' 'file pull none/etc/passwd -'; do
			run $client $words
			[ "$status" -eq 1 ]
			[[ $output == *Error:* ]]
		done
	}
	each body
}
