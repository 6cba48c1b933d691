# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# One suite over all kinds: 85_kind_container.bats is the suite, the other 85_kind_*.bats are links to it, and the
# name says which kind runs it. What differs between kinds stands here.

kind() {
	local name
	name=$(basename "$BATS_TEST_FILENAME" .bats)
	echo "${name#*_kind_}" | tr _ -
}

# kind_image: imports the image of this kind as `image`.
kind_image() {
	case $(kind) in
	virtual-machine)
		busybox_disk "$BERTH_BASE/raw.img"
		disk_metadata "$BERTH_BASE/meta.tar.xz"
		qemu-img convert -O qcow2 "$BERTH_BASE/raw.img" "$BERTH_BASE/rootfs.img"
		lxc image import "$BERTH_BASE/meta.tar.xz" "$BERTH_BASE/rootfs.img" --alias image
		;;
	*)
		busybox_image "$BERTH_BASE/image.tar"
		lxc image import "$BERTH_BASE/image.tar" --alias image
		;;
	esac
}

is_machine() { [ "$(kind)" != container ]; }

# kind_server: what the daemon must know.
kind_server() {
	! is_machine || api PATCH /1.0 "$(jq -n --arg dir "$("$TOP/tests/images/kernel")" \
		'{config: {"berth.kernel": $dir, "berth.engine": "soft"}}')"
}

# kind_launch NAME [IMAGE]: by one word.
kind_launch() {
	local more=()
	[ "$(kind)" != virtual-machine ] || more=(--config boot.mode=kernel)
	berth launch "${2:-image}" "$1" --type "$(kind)" --cpus 1 --memory 256MiB --storage 64MiB \
		--network knet --bandwidth 80Mbit "${more[@]}"
}
