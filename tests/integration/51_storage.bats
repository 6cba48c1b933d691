# SPDX-License-Identifier: Apache-2.0
# Pools and custom volumes through the stock clients.

load common

setup_file() { berthd_start; }
teardown_file() { berthd_stop; }

# inside COMMAND...: in the daemon's mount namespace, where its pools are.
inside() { nsenter --mount --target "$(berthd_pid)" "$@"; }

# content VOLUME: where the files of the btrfs pool's volume are.
content() { echo "$BERTH_DIR/pools/default/mnt/custom/default/$1"; }

@test "the first pool is made by itself, and its mount is nobody else's" {
	run lxc storage list -f csv
	[[ $output == *default,* ]]
	not grep -F "$BERTH_DIR" /proc/self/mountinfo
}

@test "volumes are made, shown, renamed and deleted" {
	lxc storage volume create default v1 size=32MiB user.note=hello
	[ "$(lxc storage volume get default v1 size)" = 32MiB ]
	[ "$(lxc storage volume get default v1 user.note)" = hello ]
	run lxc storage volume create default v1
	[ "$status" -ne 0 ]
	[[ $output == *exists* ]]
	lxc storage volume rename default v1 v2
	run lxc storage volume list default -f csv
	[[ $output == *custom,v2,* ]]
	lxc storage volume delete default v2
	[ "$(api_status GET /1.0/storage-pools/default/volumes/custom/v2)" = 404 ]
}

@test "wrong volumes are refused with the field's name" {
	run api POST /1.0/storage-pools/default/volumes/custom '{"name":"x","config":{"size":"many"}}'
	[[ $output == *'config.size'* ]]
	run api POST /1.0/storage-pools/default/volumes/custom '{"name":"x","config":{"colour":"red"}}'
	[[ $output == *'config.colour'* ]]
	[ "$(api_status POST /1.0/storage-pools/default/volumes/custom '{"name":"../x"}')" = 400 ]
	[ "$(api_status POST /1.0/storage-pools/default/volumes/custom '{"name":"x","content_type":"iso"}')" = 400 ]
	[ "$(api_status POST /1.0/storage-pools/none/volumes/custom '{"name":"x"}')" = 404 ]
	[ "$(api_status POST /1.0/storage-pools/default/volumes/custom '{"name":"x","config":{"size":"900TiB"}}')" = 507 ]
	[ "$(api GET /1.0/storage-pools/default/volumes/custom | json '.metadata | length')" = 0 ]
}

@test "a volume holds its size, and more once it grew" {
	[ "$(api GET /1.0/storage-pools/default | json .metadata.driver)" = btrfs ] || skip "the pool is not btrfs"
	lxc storage volume create default held size=20MiB
	run inside dd if=/dev/urandom of="$(content held)/big" bs=1M count=40 status=none
	[ "$status" -ne 0 ]
	[ "$(inside stat -c %s "$(content held)/big")" -le $((20 << 20)) ]
	lxc storage volume set default held size=60MiB
	inside dd if=/dev/urandom of="$(content held)/big" bs=1M count=40 status=none
	inside sync -f "$(content held)"
	[ "$(api GET /1.0/storage-pools/default/volumes/custom/held/state | json .metadata.usage.total)" = $((60 << 20)) ]
	[ "$(api GET /1.0/storage-pools/default/volumes/custom/held/state | json .metadata.usage.used)" -ge $((40 << 20)) ]
	lxc storage volume delete default held
}

@test "snapshots are made, listed, restored, renamed, copied and deleted" {
	[ "$(api GET /1.0/storage-pools/default | json .metadata.driver)" = btrfs ] || skip "the pool is not btrfs"
	lxc storage volume create default s
	inside sh -c "echo one >$(content s)/file"
	lxc storage volume snapshot default s
	incus storage volume snapshot create default s named </dev/null
	inside sh -c "echo two >$(content s)/file"
	lxc storage volume restore default s snap0
	[ "$(inside cat "$(content s)/file")" = one ]
	lxc storage volume rename default s/named s/other
	run lxc storage volume list default -f csv
	[[ $output == *s/other* && $output == *s/snap0* && $output != *s/named* ]]
	lxc storage volume copy default/s/other default/copy
	[ "$(inside cat "$(content copy)/file")" = one ]
	lxc storage volume delete default s/snap0
	lxc storage volume delete default s
	lxc storage volume delete default copy
	[ -z "$(inside find "$BERTH_DIR/pools/default/mnt" -path '*/default/s*')" ]
}

@test "a backup is exported and holds the files" {
	lxc storage volume create default b
	[ "$(api GET /1.0/storage-pools/default | json .metadata.driver)" = btrfs ] || skip "the pool is not btrfs"
	inside sh -c "echo kept >$(content b)/file"
	lxc storage volume export default b "$BERTH_BASE/b.tar.gz"
	run tar -xOzf "$BERTH_BASE/b.tar.gz" backup/volume/file
	[ "$output" = kept ]
	run api_wait POST /1.0/storage-pools/default/volumes/custom "" -H 'Content-Type: application/octet-stream' \
		-H 'X-LXD-name: back' -T "$BERTH_BASE/b.tar.gz" -X POST
	[ "$status" -eq 0 ]
	[ "$(inside cat "$(content back)/file")" = kept ]
	api_wait POST /1.0/storage-pools/default/volumes/custom/b/backups '{"name":"stays"}' >/dev/null
	[ -s "$BERTH_DIR/backups/default/.volumes/default/b/stays" ]
	lxc storage volume delete default back
	lxc storage volume delete default b
	[ ! -e "$BERTH_DIR/backups/default/.volumes/default/b" ]
}

@test "a volume of bytes is made, shown, copied, kept and brought back, and is no directory of a container" {
	local url=/1.0/storage-pools/default/volumes/custom file
	lxc storage volume create default bytes --type=block size=8MiB
	[ "$(api GET $url/bytes | json .metadata.content_type)" = block ]
	[ "$(lxc storage volume list default -f csv | grep custom,bytes, | cut -d, -f4)" = block ]
	file=$(inside find "$BERTH_DIR/pools/default" -path '*bytes*' -type f -size 8192k)
	[ "$(inside stat -c %s "$file")" = $((8 << 20)) ]
	inside sh -c "printf one | dd of=$file conv=notrunc status=none"
	incus storage volume snapshot create default bytes s0 </dev/null
	[ "$(api GET $url/bytes/snapshots/s0 | json .metadata.content_type)" = block ]
	inside sh -c "printf two | dd of=$file conv=notrunc status=none"
	lxc storage volume copy default/bytes default/second
	[ "$(api GET $url/second | json .metadata.content_type)" = block ]
	[ "$(api_status POST $url '{"name":"third","content_type":"filesystem","source":{"type":"copy","name":"bytes"}}')" = 400 ]
	lxc storage volume restore default bytes s0
	file=$(inside find "$BERTH_DIR/pools/default" -path '*custom/*bytes*' -type f -size 8192k)
	[ "$(inside head -c 3 "$file")" = one ]
	lxc storage volume export default second "$BERTH_BASE/second.tar.gz"
	tar -tzf "$BERTH_BASE/second.tar.gz" | grep -qx backup/volume.img
	lxc storage volume delete default second
	lxc storage volume import default "$BERTH_BASE/second.tar.gz" third
	[ "$(api GET $url/third | json .metadata.content_type)" = block ]
	file=$(inside find "$BERTH_DIR/pools/default" -path '*third*' -type f -size 8192k)
	[ "$(inside head -c 3 "$file")" = two ]
	lxc storage volume set default third size=16MiB
	[ "$(inside stat -c %s "$file")" = $((16 << 20)) ]
	# An archive of an instance is none of a volume.
	mkdir -p "$BERTH_BASE/odd/backup"
	printf 'name: x\ntype: container\n' >"$BERTH_BASE/odd/backup/index.yaml"
	tar -C "$BERTH_BASE/odd" -cf "$BERTH_BASE/odd.tar" backup
	run lxc storage volume import default "$BERTH_BASE/odd.tar" fourth
	[ "$status" -ne 0 ]
	[[ $output == *"backup of an instance"* ]]
	lxc init --empty c -s default
	run lxc config device add c d disk pool=default source=bytes path=/d
	[ "$status" -ne 0 ]
	[[ $output == *'devices.d.source: the volume "bytes" is of content type block'* ]]
	run lxc config device add c d disk pool=default source=bytes
	[ "$status" -ne 0 ]
	[[ $output == *devices.d.path* ]]
	run lxc config device add c d disk pool=default source=nowhere path=/d
	[ "$status" -ne 0 ]
	[[ $output == *devices.d.source* ]]
	lxc delete c
	lxc storage volume delete default bytes
	lxc storage volume delete default third
	[ -z "$(ls "$BERTH_DIR/tmp")" ]
}

@test "a backup that is none leaves no volume" {
	echo nonsense >"$BERTH_BASE/nonsense"
	run api_wait POST /1.0/storage-pools/default/volumes/custom "" -H 'Content-Type: application/octet-stream' \
		-H 'X-LXD-name: none' -T "$BERTH_BASE/nonsense" -X POST
	[ "$status" -ne 0 ]
	eventually 5 eval '[ "$(api_status GET /1.0/storage-pools/default/volumes/custom/none)" = 404 ]'
}

@test "pools of each driver are made; volumes move between them; a pool in use stays" {
	lxc storage create p-loop loop
	lxc storage create p-dir dir
	lxc storage create p-btrfs btrfs size=512MiB volume.size=64MiB
	lxc storage volume create p-loop v size=32MiB
	run lxc storage volume create p-dir v size=32MiB
	[ "$status" -ne 0 ]
	[[ $output == *'project quotas'* ]]
	lxc storage volume create p-dir v
	lxc storage volume create p-btrfs v
	[ "$(lxc storage volume get p-btrfs v size)" = $((64 << 20)) ]
	echo text >"$BERTH_DIR/pools/p-dir/custom/default/v/file"
	lxc storage volume copy p-dir/v p-btrfs/moved
	[ "$(inside cat "$BERTH_DIR/pools/p-btrfs/mnt/custom/default/moved/file")" = text ]
	lxc storage volume copy p-btrfs/moved p-loop/again --config size=32MiB || lxc storage volume copy p-btrfs/moved p-loop/again
	run lxc storage delete p-loop
	[ "$status" -ne 0 ]
	[[ $output == *'in use'* ]]
	for pool in p-loop p-dir p-btrfs; do
		for volume in $(api GET "/1.0/storage-pools/$pool/volumes/custom?recursion=1" | json '.metadata[].name'); do
			lxc storage volume delete $pool "$volume"
		done
		lxc storage delete $pool
		[ ! -e "$BERTH_DIR/pools/$pool" ]
	done
	[ "$(api_status POST /1.0/storage-pools '{"name":"z","driver":"zfs"}')" = 400 ]
	[ "$(api_status POST /1.0/storage-pools '{"name":"../z","driver":"dir"}')" = 400 ]
}

@test "a pool grows" {
	lxc storage create grow btrfs size=300MiB
	local before
	before=$(api GET /1.0/storage-pools/grow/resources | json .metadata.space.total)
	lxc storage set grow size 600MiB
	[ "$(api GET /1.0/storage-pools/grow/resources | json .metadata.space.total)" -gt "$before" ]
	run lxc storage set grow size 300MiB
	[ "$status" -ne 0 ]
	lxc storage delete grow
}

@test "volumes are there again after a kill" {
	lxc storage volume create default kept size=32MiB
	lxc storage volume snapshot default kept s0
	berthd_restart KILL
	run lxc storage volume list default -f csv
	[[ $output == *custom,kept,* && $output == *kept/s0* ]]
	[ "$(losetup -l -n -O BACK-FILE | grep -c "$BERTH_DIR/pools/default/")" -le 1 ]
	lxc storage volume delete default kept
}

@test "what a running instance has mounted is not exchanged below it; profiles use pools, too" {
	load image
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	[[ "$(api GET /1.0/storage-pools/default | json '.metadata.used_by[]')" == */1.0/profiles/default* ]]
	api POST /1.0/profiles '{"name":"plain","devices":{"root":{"type":"disk","path":"/","pool":"default","size":"4MiB"}}}'
	lxc storage volume create default w size=20MiB
	lxc launch box c1 -p plain
	lxc storage volume attach default w c1 /w
	lxc exec c1 -- dd if=/dev/zero of=/w/f bs=1M count=19
	lxc exec c1 -- sh -c 'cat /dev/zero >>/w/f' || true
	lxc storage volume snapshot default w s
	run lxc storage volume restore default w s
	[ "$status" -ne 0 ]
	[[ $output == *'running instance "c1"'* ]]
	[ "$(lxc exec c1 -- stat -c %s /w/f)" -gt 19000000 ]
	lxc stop -f c1
	lxc storage volume restore default w s
	lxc start c1
	[ "$(lxc exec c1 -- stat -c %s /w/f)" -gt 19000000 ]
}

@test "an instance may have the name of a pool: their archives are kept apart" {
	lxc init box default -p plain
	api_wait POST /1.0/instances/default/backups '{"name":"b"}'
	api_wait POST /1.0/storage-pools/default/volumes/custom/w/backups '{"name":"of-w"}'
	lxc delete default
	[ "$(api_status GET /1.0/storage-pools/default/volumes/custom/w/backups/of-w/export)" = 200 ]
	api_wait DELETE /1.0/storage-pools/default/volumes/custom/w/backups/of-w
}

@test "a volume that is full goes to another pool, and an instance that is full into a backup and back" {
	lxc storage create more btrfs size=300MiB
	lxc storage volume copy default/w more/w
	[ "$(lxc storage volume get more w size)" = 20MiB ]
	lxc storage volume attach more w c1 more /more
	lxc exec c1 -- busybox cmp /w/f /more/f
	run lxc exec c1 -- sh -c 'head -c 2000000 /dev/zero >/more/g'
	[ "$status" -ne 0 ]
	lxc config device remove c1 more
	lxc storage volume delete more w
	lxc storage delete more
	# 4 MiB beyond its image: the archive holds both.
	lxc exec c1 -- sh -c 'head -c 3900000 /dev/urandom >/full'
	sum=$(lxc exec c1 -- busybox md5sum /full)
	lxc storage volume detach default w c1
	lxc storage volume delete default w
	lxc stop -f c1
	lxc export c1 "$BERTH_BASE/c1.tar.gz"
	lxc delete c1
	lxc import "$BERTH_BASE/c1.tar.gz"
	lxc start c1
	[ "$(lxc exec c1 -- busybox md5sum /full)" = "$sum" ]
	lxc delete -f c1
}

@test "in a pool of images instances are exported, published and copied elsewhere, running or not" {
	lxc storage create images loop
	lxc launch box l1 -p plain -s images
	lxc exec l1 -- sh -c 'echo kept >/kept; sync'
	lxc storage volume create images v size=16MiB
	lxc storage volume attach images v l1 /v
	lxc exec l1 -- sh -c 'echo kept >/v/kept; sync'
	lxc export l1 "$BERTH_BASE/l1.tar.gz"
	tar -xOzf "$BERTH_BASE/l1.tar.gz" backup/container/rootfs/kept | grep -x kept
	lxc storage volume copy images/v default/v
	[ "$(inside cat "$(content v)/kept")" = kept ]
	lxc stop -f l1
	lxc publish l1 --alias of-images
	lxc copy l1 l2 -s default
	lxc start l2
	[ "$(lxc exec l2 -- cat /kept)" = kept ]
	lxc delete -f l1 l2
	lxc image delete of-images
	lxc storage volume delete images v
	lxc storage volume delete default v
	lxc storage delete images
}
