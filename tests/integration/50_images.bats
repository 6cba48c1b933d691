# SPDX-License-Identifier: Apache-2.0
# Images through the stock clients, from a registry, and hostile ones.

load common
load image

setup_file() {
	berthd_start
	mkdir "$BERTH_BASE/w"
	busybox_image "$BERTH_BASE/w/unified.tar"
	mkdir "$BERTH_BASE/w/root"
	busybox_root "$BERTH_BASE/w/root"
	printf 'architecture: x86_64\nproperties:\n  os: busybox\n' >"$BERTH_BASE/w/metadata.yaml"
	tar -C "$BERTH_BASE/w" -cJf "$BERTH_BASE/w/meta.tar.xz" metadata.yaml
	tar -C "$BERTH_BASE/w/root" -czf "$BERTH_BASE/w/rootfs.tar.gz" .
	"$TOP/tests/images/oci" "$BERTH_BASE/w/layout"
}
teardown_file() { berthd_stop; }

setup() { W=$BERTH_BASE/w; }

# upload FILE [QUERY] [CURL OPTION...]: POST as a stock client does; waits; prints the operation or the error.
upload() {
	local file=$1 query=${2:-}
	shift; [ $# -eq 0 ] || shift
	api_wait POST "/1.0/images$query" "" -H 'Content-Type: application/octet-stream' \
		-T "$file" -X POST "$@"
}

# nothing_left: neither images, nor layers, files or stages.
nothing_left() {
	[ "$(api GET /1.0/images | json '.metadata | length')" = 0 ] &&
		[ -z "$(ls -A "$BERTH_DIR/images/layers" "$BERTH_DIR/images/files" | grep -v :)" ] &&
		[ -z "$(ls -A "$BERTH_DIR/tmp")" ]
}

delete_images() {
	local fingerprint
	for fingerprint in $(api GET '/1.0/images?recursion=1' | json '.metadata[].fingerprint'); do
		api_wait DELETE "/1.0/images/$fingerprint" >/dev/null
	done
}

@test "lxc imports a unified image and exports the same bytes" {
	lxc image import "$W/unified.tar" --alias one
	run lxc image info one
	[[ $output == *"Fingerprint: $(sha256sum "$W/unified.tar" | cut -d' ' -f1)"* ]]
	lxc image export one "$W/out"
	cmp "$W/unified.tar" "$W/out.tar"
}

@test "the same image a second time is refused" {
	run lxc image import "$W/unified.tar"
	[ "$status" -ne 0 ]
	[[ $output == *"same fingerprint already exists"* ]]
}

@test "the same image twice at once: one wins" {
	delete_images
	upload "$W/unified.tar" >"$W/a" & local a=$!
	upload "$W/unified.tar" >"$W/b" & local b=$!
	local won=0
	wait $a && won=$((won + 1))
	wait $b && won=$((won + 1))
	[ $won = 1 ]
	grep -q 'already exists' "$W/a" "$W/b"
	[ "$(ls "$BERTH_DIR/images/layers" | wc -l)" = 1 ]
	eventually 5 eval '[ -z "$(ls -A "$BERTH_DIR/tmp")" ]'
}

@test "incus imports a split image and exports both parts" {
	incus image import "$W/meta.tar.xz" "$W/rootfs.tar.gz" --alias two
	run incus image info two
	[[ $output == *"Fingerprint: $(cat "$W/meta.tar.xz" "$W/rootfs.tar.gz" | sha256sum | cut -d' ' -f1)"* ]]
	incus image export two "$W/split"
	cmp "$W/meta.tar.xz" "$W/split"
	cmp "$W/rootfs.tar.gz" "$W/split.root"
}

@test "a rootfs in squashfs is unpacked" {
	mksquashfs "$W/root" "$W/rootfs.squashfs" -quiet -no-progress -noappend >/dev/null
	lxc image import "$W/meta.tar.xz" "$W/rootfs.squashfs" --alias squash
	local fingerprint
	fingerprint=$(api GET /1.0/images/aliases/squash | json .metadata.target)
	[ -x "$BERTH_DIR/images/layers/$fingerprint/bin/busybox" ]
}

@test "aliases are made, renamed, listed and deleted" {
	local fingerprint
	fingerprint=$(api GET /1.0/images/aliases/two | json .metadata.target)
	lxc image alias create "group/name:tag" "$fingerprint"
	run lxc image alias create "group/name:tag" "$fingerprint"
	[ "$status" -ne 0 ]
	lxc image alias rename "group/name:tag" other
	run lxc image alias list -f csv
	[[ $output == *"other,"* ]]
	lxc image alias delete other
	[ "$(api_status GET /1.0/images/aliases/other)" = 404 ]
	[ "$(api_status POST /1.0/images/aliases '{"name":"a b","target":"'"$fingerprint"'"}')" = 400 ]
	[ "$(api_status POST /1.0/images/aliases '{"name":"x","target":"0000000000"}')" = 404 ]
}

@test "properties change, and only for who saw the last state" {
	lxc image set-property two os Another
	[ "$(lxc image get-property two os)" = Another ]
	local fingerprint
	fingerprint=$(api GET /1.0/images/aliases/two | json .metadata.target)
	[ "$(api_status PUT "/1.0/images/$fingerprint" '{"public":true}' -H 'If-Match: old')" = 412 ]
	[ "$(api_status PATCH "/1.0/images/$fingerprint" '{"public":true}')" = 200 ]
	[ "$(api GET "/1.0/images/$fingerprint" | json .metadata.public)" = true ]
	[ "$(api GET "/1.0/images/$fingerprint" | json .metadata.properties.os)" = Another ]
	[ "$(api_status PUT "/1.0/images/$fingerprint" '{"auto_update":true}')" = 400 ]
	[ "$(api_status POST "/1.0/images/$fingerprint/refresh" '{}')" = 400 ]
}

@test "images are found by filter, and by the beginning of a fingerprint" {
	[ "$(api GET '/1.0/images?recursion=1&filter=properties.os%20eq%20Another' | json '.metadata | length')" = 1 ]
	local fingerprint
	fingerprint=$(api GET /1.0/images/aliases/two | json .metadata.target)
	[ "$(api GET "/1.0/images/${fingerprint:0:12}" | json .metadata.fingerprint)" = "$fingerprint" ]
	[ "$(api_status GET /1.0/images/ffffffffffff)" = 404 ]
}

@test "deleting an image takes its aliases, layers and files away" {
	delete_images
	[ "$(api GET /1.0/images/aliases | json '.metadata | length')" = 0 ]
	eventually 5 nothing_left
}

@test "hostile images are refused with a sentence, and leave nothing" {
	mkdir -p "$W/bad/rootfs"
	cp "$W/metadata.yaml" "$W/bad/"
	tar -C "$W/bad" -cf "$W/dotdot.tar" --transform 's,^evil,rootfs/../../evil,' -P metadata.yaml rootfs
	echo x >"$W/bad/evil"
	tar -C "$W/bad" -rf "$W/dotdot.tar" --transform 's,^evil,rootfs/../../evil,' -P evil
	run upload "$W/dotdot.tar"
	[ "$status" -ne 0 ]
	[[ $output == *'entry rootfs/../../evil: a name with'* ]]

	mkdir "$W/elsewhere"
	ln -s "$W/elsewhere" "$W/bad/rootfs/way"
	tar -C "$W/bad" -cf "$W/link.tar" metadata.yaml rootfs
	tar -C "$W/bad" -rf "$W/link.tar" --transform 's,^evil,rootfs/way/evil,' evil
	run upload "$W/link.tar"
	[ "$status" -ne 0 ]
	[[ $output == *'entry rootfs/way/evil: a link or a mount leads away'* ]]
	[ -z "$(ls -A "$W/elsewhere")" ]

	tar -C "$W/root" -cf "$W/bare.tar" .
	run upload "$W/bare.tar"
	[ "$status" -ne 0 ]
	[[ $output == *'no metadata.yaml'* ]]

	head -c 400000 "$W/unified.tar" >"$W/cut.tar"
	run upload "$W/cut.tar"
	[ "$status" -ne 0 ]
	[[ $output == *damaged* ]]

	head -c 100000 /dev/urandom >"$W/noise"
	run upload "$W/noise"
	[ "$status" -ne 0 ]
	[[ $output == *'no known format'* ]]

	run upload "$W/unified.tar" "" -H "X-LXD-fingerprint: $(printf '0%.0s' {1..64})"
	[ "$status" -ne 0 ]
	[[ $output == *'was announced'* ]]
	eventually 5 nothing_left
}

@test "an OCI archive becomes an image of shared layers" {
	tar -C "$W/layout" -cf "$W/oci.tar" .
	run upload "$W/oci.tar" '?format=oci'
	[ "$status" -eq 0 ]
	[ "$(ls "$BERTH_DIR/images/layers" | wc -l)" = 2 ]
	[ -n "$(find "$BERTH_DIR/images/layers" -path '*/etc/gone' -type c)" ]
	delete_images
	eventually 5 nothing_left
}

@test "a layer that is not what its digest says is refused" {
	cp -r "$W/layout" "$W/forged"
	local biggest
	biggest=$(ls -S "$W/forged/blobs/sha256" | head -n 1)
	printf x | dd of="$W/forged/blobs/sha256/$biggest" bs=1 seek=20 conv=notrunc status=none
	tar -C "$W/forged" -cf "$W/forged.tar" .
	run upload "$W/forged.tar" '?format=oci'
	[ "$status" -ne 0 ]
	[[ $output == *"layer 1"* ]]
	eventually 5 nothing_left
}

@test "an image is pulled from a registry, once" {
	printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:5000"}\n' \
		"$W/registry" >"$W/registry.yml"
	nsenter --net="/run/netns/$BERTH_NETNS" docker-registry serve "$W/registry.yml" >"$W/registry.log" 2>&1 3>&- &
	echo $! >"$W/registry.pid"
	eventually 10 in_net curl -sf http://127.0.0.1:5000/v2/ >/dev/null
	in_net skopeo --insecure-policy copy --quiet --dest-tls-verify=false \
		"oci:$W/layout:latest" docker://127.0.0.1:5000/team/app:v1
	local source='"type":"image","mode":"pull","protocol":"oci","server":"http://127.0.0.1:5000"'
	run api_wait POST /1.0/images '{"source":{'"$source"',"alias":"team/app:v1"},"aliases":[{"name":"app"}]}'
	[ "$status" -eq 0 ]
	[ "$(lxc image get-property app type)" = oci ]
	run api_wait POST /1.0/images '{"source":{'"$source"',"alias":"team/app:v2"}}'
	[ "$status" -ne 0 ]
	[[ $output == *'fetch docker://127.0.0.1:5000/team/app:v2'* ]]
	kill "$(cat "$W/registry.pid")"
	[ "$(api_status POST /1.0/images '{"source":{"type":"image","protocol":"oci","server":"http://192.0.2.1","alias":"a"}}')" = 400 ]
	[ "$(api_status POST /1.0/images '{"source":{"type":"image","protocol":"oci","server":"https://x","alias":"--help"}}')" = 400 ]
}

@test "a daemon killed in the middle of an import leaves nothing that can be seen" {
	delete_images
	mkdir -p "$W/large/rootfs"
	cp "$W/metadata.yaml" "$W/large/"
	head -c 200000000 /dev/urandom >"$W/large/rootfs/data"
	tar -C "$W/large" -cf "$W/large.tar" metadata.yaml rootfs
	rm "$W/large/rootfs/data"
	(api POST /1.0/images "" -H 'Content-Type: application/octet-stream' -T "$W/large.tar" -X POST || true) >/dev/null
	berthd_restart KILL
	eventually 5 nothing_left
	rm "$W/large.tar"
}

@test "images and aliases are there after a restart" {
	upload "$W/unified.tar" >/dev/null
	lxc image alias create kept "$(sha256sum "$W/unified.tar" | cut -d' ' -f1)"
	berthd_restart
	run lxc image list -f csv -c l
	[[ $output == *kept* ]]
	[ "$(ls "$BERTH_DIR/images/layers" | wc -l)" = 1 ]
}
