# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The smallest image that does something: busybox, and a first process that waits until it is told to stop.

# busybox_root DIR: its root file system.
busybox_root() {
	local name
	mkdir -p "$1"/{bin,sbin,dev,proc,sys,tmp,root,etc,run,usr/bin,var}
	cp "$(command -v busybox)" "$1/bin/busybox"
	for name in sh cat echo ls true false sleep id env pwd tty stty stat mkdir rm ln dd head wc kill ps \
		hostname touch chmod chown readlink seq tr printf test ip nproc df mount sha256sum; do
		ln -s busybox "$1/bin/$name"
	done
	printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$1/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
	cat >"$1/sbin/init" <<-'INIT'
		#!/bin/sh
		# Whatever the way to stop it: TERM, PWR, or what systemd takes.
		trap 'echo stopping; exit 0' 15 30 37
		echo "console of $(hostname)"
		while :; do
			sleep 3600 &
			wait $!
		done
	INIT
	chmod 755 "$1/sbin/init"
}

# busybox_image FILE: a unified image.
busybox_image() {
	local folder
	folder=$(mktemp -d)
	busybox_root "$folder/rootfs"
	printf 'architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: busybox\n  description: busybox for tests\n' \
		>"$folder/metadata.yaml"
	tar -C "$folder" --numeric-owner --owner=0 --group=0 -cf "$1" metadata.yaml rootfs
	rm -r "$folder"
}

# needs EXTENSION: skips a test of what this daemon does not offer (yet): clients judge by the same word.
needs() {
	api GET /1.0 | json -e --arg name "$1" '.metadata.api_extensions | index($name)' >/dev/null ||
		skip "the daemon does not offer $1"
}

# busybox_disk FILE [SIZE]: a raw disk with the same root, whole in one ext4 without partitions, busybox's init first.
busybox_disk() {
	local folder
	folder=$(mktemp -d)
	busybox_root "$folder"
	rm "$folder/sbin/init"
	ln -s ../bin/busybox "$folder/sbin/init"
	printf '::sysinit:/bin/echo console of the disk\n::shutdown:/bin/echo stopping\n' >"$folder/etc/inittab"
	truncate -s "${2:-32M}" "$1"
	mkfs.ext4 -q -F -d "$folder" "$1"
	rm -r "$folder"
}

# disk_metadata FILE: what goes with it in a split image.
disk_metadata() {
	local folder
	folder=$(mktemp -d)
	printf 'architecture: x86_64\ncreation_date: 1700000000\nproperties:\n  os: busybox\n  description: a disk for tests\n' \
		>"$folder/metadata.yaml"
	tar -C "$folder" -cJf "$1" metadata.yaml
	rm -r "$folder"
}
