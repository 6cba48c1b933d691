/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seed.c - the config drive of a virtual machine: a small FAT file system with the label CIDATA, as cloud-init's
 * data source NoCloud wants it, and on it the agent with what installs it.
 *
 * Our part of the vendor data is a boot hook: it runs at each boot before anything else of cloud-init, takes the
 * agent from the drive and starts it. An image without cloud-init may do the same by hand (install.sh).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/program.h"
#include "machine/machine.h"
#include "model/json.h"

#define DRIVE_BYTES (16 * MIB)
#define AGENT_BYTES (8 * MIB)
#define FOLDER      "seed"
#define BOUNDARY    "berth-vendor-data-part"

static const char hook[] = "#cloud-boothook\n"
			   "#!/bin/sh\n"
			   "# Installs berth's agent from the config drive.\n"
			   "mkdir -p /run/berth/drive || exit 1\n"
			   "drive=$(blkid -L CIDATA) || exit 1\n"
			   "mount -t vfat -o ro \"$drive\" /run/berth/drive || exit 1\n"
			   "sh /run/berth/drive/install.sh\n"
			   "umount /run/berth/drive\n";

static const char install[] =
	"#!/bin/sh\n"
	"# Takes the agent from the drive that this script is on and starts it.\n"
	"set -u\n"
	"here=$(dirname \"$0\")\n"
	"modprobe vmw_vsock_virtio_transport 2>/dev/null\n"
	"mkdir -p /var/lib/berth || exit 1\n"
	"if ! cmp -s \"$here/berth-agent\" /var/lib/berth/berth-agent; then\n"
	"\tcp \"$here/berth-agent\" /var/lib/berth/berth-agent.new || exit 1\n"
	"\tchmod 755 /var/lib/berth/berth-agent.new\n"
	"\tmv /var/lib/berth/berth-agent.new /var/lib/berth/berth-agent || exit 1\n"
	"fi\n"
	"if [ -d /run/systemd/system ]; then\n"
	"\tcp \"$here/berth-agent.service\" /run/systemd/system/berth-agent.service || exit 1\n"
	"\tsystemctl daemon-reload\n"
	"\tsystemctl start --no-block berth-agent.service\n"
	"else\n"
	"\tsetsid /var/lib/berth/berth-agent </dev/null >/dev/null 2>&1 &\n"
	"fi\n";

static const char unit[] = "[Unit]\n"
			   "Description=berth agent\n"
			   "DefaultDependencies=no\n"
			   "Before=shutdown.target\n"
			   "Conflicts=shutdown.target\n"
			   "[Service]\n"
			   "ExecStart=/var/lib/berth/berth-agent\n"
			   "Restart=always\n"
			   "RestartSec=1\n"
			   "KillMode=process\n"
			   "OOMPolicy=continue\n";

static int write_file(
	int folder, const char *name, const void *bytes, size_t count, struct error *e)
{
	cleanup(close) int fd =
		openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : file_write_all(fd, bytes, count);
	return r < 0 ? error_code(e, r, "write %s for the config drive", name) : 0;
}

static int write_text(int folder, const char *name, const char *text, struct error *e)
{
	return write_file(folder, name, text, strlen(text), e);
}

static char *meta_data(const json_t *plan, const json_t *seed)
{
	const char *more = json_text(seed, "meta-data");
	return alloc_printf("instance-id: %s\nlocal-hostname: %s\n%s%s",
		json_text(seed, "instance-id") ?: json_text(plan, "name"),
		json_text(plan, "hostname"), more ?: "", more ? "\n" : "");
}

static char *vendor_data(const json_t *seed)
{
	struct text text = {};
	const char *theirs = json_text(seed, "vendor-data");
	text_printf(&text,
		"Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n\n--%s\n"
		"Content-Type: text/cloud-boothook; charset=\"utf-8\"\n\n%s\n",
		BOUNDARY, BOUNDARY, hook);
	/* Its first line says what it is. */
	if (theirs)
		text_printf(&text, "--%s\nContent-Type: text/plain; charset=\"utf-8\"\n\n%s\n",
			BOUNDARY, theirs);
	text_printf(&text, "--%s--\n", BOUNDARY);
	return text_take(&text);
}

/* One card: known by its address, called as it was asked for. */
static json_t *card(const json_t *plan, const json_t *nic)
{
	const json_t *addresses = json_object_get(nic, "addresses");
	const json_t *gateways = json_object_get(nic, "gateways");
	const json_t *servers = json_object_get(json_object_get(plan, "resolver"), "nameservers");
	json_t *made = json_pack("{s:{s:s}, s:s}", "match", "macaddress", json_text(nic, "mac"),
		"set-name", json_text(nic, "name"));
	if (json_array_size(addresses) == 0) {
		json_object_set_new(made, "dhcp4", json_true());
		return made;
	}
	json_object_set(made, "addresses", json_mutable(addresses));
	json_t *routes = json_array();
	for (size_t i = 0; i < json_array_size(gateways); i++) {
		const char *via = json_string_value(json_array_get(gateways, i));
		json_array_append_new(routes,
			json_pack("{s:s, s:s}", "to", strchr(via, ':') ? "::/0" : "0.0.0.0/0",
				"via", via));
	}
	json_object_set_new(made, "routes", routes);
	if (json_array_size(servers))
		json_object_set_new(made, "nameservers", json_pack("{s:O}", "addresses", servers));
	return made;
}

/* JSON is YAML. */
static char *network_config(const json_t *plan, const json_t *seed)
{
	const char *theirs = json_text(seed, "network-config");
	size_t i;
	json_t *nic;
	if (theirs)
		return alloc_text(theirs);
	cleanup(json_decref) json_t *cards = json_object();
	json_array_foreach(json_object_get(plan, "nics"), i, nic)
		json_object_set_new(cards, json_text(nic, "name"), card(plan, nic));
	cleanup(json_decref) json_t *all =
		json_pack("{s:i, s:O}", "version", 2, "ethernets", cards);
	return json_dumps(all, JSON_INDENT(1));
}

static int fill_folder(const json_t *plan, const char *agent, int folder, struct error *e)
{
	const json_t *seed = json_object_get(plan, "seed");
	cleanup(free) char *meta = meta_data(plan, seed), *vendor = vendor_data(seed);
	cleanup(free) char *network = network_config(plan, seed), *program = NULL;
	size_t length;
	int r = file_read(AT_FDCWD, agent, AGENT_BYTES, &program, &length, e);
	if (r == 0)
		r = write_file(folder, "berth-agent", program, length, e);
	const struct {
		const char *name, *text;
	} files[] = {
		{ "meta-data", meta },
		{ "user-data", json_text(seed, "user-data") ?: "#cloud-config\n{}\n" },
		{ "vendor-data", vendor },
		{ "network-config", network },
		{ "install.sh", install },
		{ "berth-agent.service", unit },
	};
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
		r = write_text(folder, files[i].name, files[i].text, e);
	return r;
}

static int make_drive(int folder, int drive, struct error *e)
{
	static const char *const names[] = { "meta-data", "user-data", "vendor-data",
		"network-config", "install.sh", "berth-agent.service", "berth-agent" };
	char image[40], paths[ARRAY_SIZE(names)][80];
	snprintf(image, sizeof(image), "/proc/self/fd/%d", drive);
	if (!program_exists("mkfs.vfat") || !program_exists("mcopy"))
		return error_set(e, -EOPNOTSUPP,
			"the config drive needs mkfs.vfat and mcopy (packages dosfstools and mtools)");
	const char *const format[] = { "mkfs.vfat", "-n", "CIDATA", image, NULL };
	/* As execve(2): the words are only read. */
	int r = program_run((char *const *)(uintptr_t)format, -1, e);
	if (r < 0)
		return r;
	const char *copy[ARRAY_SIZE(names) + 6] = { "mcopy", "-i", image };
	size_t count = 3;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(paths[i], sizeof(paths[i]), "/proc/self/fd/%d/%s", folder, names[i]);
		copy[count++] = paths[i];
	}
	copy[count++] = "::/";
	return program_run((char *const *)(uintptr_t)copy, -1, e);
}

int seed_make(const json_t *plan, const char *agent, int dir, int *ret, struct error *e)
{
	(void)!file_remove_tree(dir, FOLDER);
	if (mkdirat(dir, FOLDER, 0700) < 0)
		return error_errno(e, "make a folder for the config drive");
	/* Both are the programs' to open by number. */
	cleanup(close) int folder = openat(dir, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	cleanup(close) int drive = memfd_create("seed", 0);
	int r = 0;
	if (folder < 0 || drive < 0 || ftruncate(drive, DRIVE_BYTES) < 0)
		r = error_errno(e, "make the config drive");
	if (r == 0)
		r = fill_folder(plan, agent, folder, e);
	if (r == 0)
		r = make_drive(folder, drive, e);
	(void)!file_remove_tree(dir, FOLDER);
	if (r == 0)
		*ret = TAKE_FD(drive);
	return r;
}
