#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What is written into a container before it starts: the templates of its image, and cloud-init's seed.

load common
load image

setup_file() {
	berthd_start
	busybox_image "$BERTH_BASE/image.tar"
	lxc image import "$BERTH_BASE/image.tar" --alias box
	template_image "$BERTH_BASE/templated.tar"
	lxc image import "$BERTH_BASE/templated.tar" --alias templated
}
teardown_file() { berthd_stop; }
teardown() { after_failure; }

# As the images of distributions have them.
template_image() {
	local folder=$BERTH_BASE/templated
	busybox_root "$folder/rootfs"
	mkdir "$folder/templates"
	cat >"$folder/metadata.yaml" <<-'YAML'
		architecture: x86_64
		creation_date: 1700000000
		templates:
		  /etc/hosts:
		    when: [create, copy, rename]
		    template: hosts.tpl
		  /etc/count:
		    when: [start]
		    template: count.tpl
		  /etc/once:
		    when: [create, copy]
		    create_only: true
		    template: once.tpl
		  /var/lib/cloud/seed/nocloud-net/user-data:
		    when: [create, copy]
		    template: user.tpl
		    properties:
		      default: |
		        #cloud-config
		        {}
	YAML
	printf '127.0.0.1 localhost\n127.0.1.1 {{ container.name }}\n' >"$folder/templates/hosts.tpl"
	printf '{{ trigger }} {{ config_get("user.count", "none") }} {{ instance.privileged }}' >"$folder/templates/count.tpl"
	printf 'first' >"$folder/templates/once.tpl"
	cat >"$folder/templates/user.tpl" <<-'TPL'
		{%- if config_get("cloud-init.user-data", "") == "" -%}
		{{ config_get("user.user-data", properties.default) }}
		{%- else -%}
		{{- config_get("cloud-init.user-data", "") }}
		{%- endif %}
	TPL
	tar -C "$folder" --numeric-owner --owner=0 --group=0 -cf "$1" metadata.yaml rootfs templates
}

@test "templates are filled in at create, copy, rename and start" {
	lxc launch templated t1 -c user.count=7
	[ "$(lxc exec t1 -- cat /etc/hosts | tail -n 1)" = '127.0.1.1 t1' ]
	[ "$(lxc exec t1 -- cat /etc/count)" = 'start 7 false' ]
	[ "$(lxc exec t1 -- cat /var/lib/cloud/seed/nocloud-net/user-data)" = $'#cloud-config\n{}' ]
	lxc exec t1 -- sh -c 'echo mine >/etc/hosts; echo mine >/etc/once'
	lxc config set t1 user.count=8
	lxc restart -f t1
	[ "$(lxc exec t1 -- cat /etc/hosts)" = mine ]
	[ "$(lxc exec t1 -- cat /etc/count)" = 'start 8 false' ]
	lxc stop -f t1
	lxc copy t1 t2
	lxc start t2
	[ "$(lxc exec t2 -- cat /etc/hosts | tail -n 1)" = '127.0.1.1 t2' ]
	[ "$(lxc exec t2 -- cat /etc/once)" = mine ]
	lxc move t1 t3
	lxc start t3
	[ "$(lxc exec t3 -- cat /etc/hosts | tail -n 1)" = '127.0.1.1 t3' ]
	lxc delete -f t2 t3
}

@test "an instance's own templates are shown, changed and taken away" {
	lxc init templated t4
	lxc config template list t4 | grep -q hosts.tpl
	[ "$(lxc config template show t4 once.tpl)" = first ]
	[ "$(lxc query /1.0/instances/t4 | json 'has("templates")')" = false ]
	[ "$(api_status POST '/1.0/instances/t4/metadata/templates?path=once.tpl' '{{ container.name }}!' \
		-H 'Content-Type: application/octet-stream')" = 200 ]
	run api POST '/1.0/instances/t4/metadata/templates?path=once.tpl' '{% for x in y %}' -H 'Content-Type: application/octet-stream'
	[[ $output == *'there is no tag'* ]]
	lxc start t4
	[ "$(lxc exec t4 -- cat /etc/once)" = 't4!' ]
	lxc config template delete t4 once.tpl
	run lxc config template show t4 once.tpl
	[ "$status" -ne 0 ]
	lxc delete -f t4
}

@test "an image whose template can't be filled in here is refused, with its name and line" {
	folder=$BERTH_BASE/templated
	printf 'x\n{{ container.name|md5 }}' >"$folder/templates/count.tpl"
	tar -C "$folder" --numeric-owner --owner=0 --group=0 -cf "$BERTH_BASE/bad.tar" metadata.yaml rootfs templates
	run lxc image import "$BERTH_BASE/bad.tar"
	[ "$status" -ne 0 ]
	[[ $output == *'templates./etc/count: line 2: there is no filter "md5"'* ]]
	rm "$folder/templates/count.tpl"
	ln -s /etc/passwd "$folder/templates/count.tpl"
	tar -C "$folder" --numeric-owner --owner=0 --group=0 -cf "$BERTH_BASE/bad.tar" metadata.yaml rootfs templates
	run lxc image import "$BERTH_BASE/bad.tar"
	[ "$status" -ne 0 ]
}

@test "cloud-init finds its seed, also one that changed" {
	lxc launch box n1 -c cloud-init.user-data=$'#cloud-config\npackages: [vim]' -c cloud-init.network-config='version: 2'
	seed() { lxc exec n1 -- cat "/var/lib/cloud/seed/nocloud-net/$1"; }
	[ "$(seed user-data)" = $'#cloud-config\npackages: [vim]' ]
	[ "$(seed network-config)" = 'version: 2' ]
	id=$(seed meta-data | sed -n 's/instance-id: //p')
	[ -n "$id" ]
	[[ $(seed meta-data) == *'local-hostname: n1'* ]]
	[ "$(lxc exec n1 -- stat -c %a /var/lib/cloud/seed/nocloud-net/user-data)" = 600 ]
	lxc config set n1 cloud-init.user-data='#cloud-config'
	lxc restart -f n1
	[ "$(seed user-data)" = '#cloud-config' ]
	[ "$(seed meta-data | sed -n 's/instance-id: //p')" != "$id" ]
	lxc delete -f n1
}

@test "what an image or a guest puts in the way of a file sends nothing elsewhere" {
	lxc launch templated t5
	lxc exec t5 -- sh -c 'rm -rf /etc/count; ln -s /../../../../../../tmp/berth-template /etc/count'
	lxc restart -f t5
	[ ! -e /tmp/berth-template ]
	lxc exec t5 -- sh -c 'rm -f /etc/count; mkdir /etc/count'
	lxc restart -f t5
	[ "$(lxc list t5 -f csv -c s)" = RUNNING ]
	lxc delete -f t5
}
