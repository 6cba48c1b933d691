/* SPDX-License-Identifier: Apache-2.0 */
/*
 * match.c - looks through /sys for devices.
 */
#include "host/match.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"

#define DEVICES_MAX_FOUND 64
#define TEXT_MAX          256
#define PARENTS_MAX       10

struct search {
	int sys;
	const struct match_device *match;
	json_t *found;
};

static void add(struct search *search, const char *node, char type, bool is_optional)
{
	const struct match_device *match = search->match;
	if (json_array_size(search->found) >= DEVICES_MAX_FOUND)
		return;
	json_array_append_new(search->found,
		json_pack("{s:s, s:s, s:s, s:s%, s:i, s:i, s:i, s:b}", "device", match->device,
			"path", node, "source", node, "type", &type, (size_t)1, "mode",
			(int)match->mode, "uid", (int)match->uid, "gid", (int)match->gid,
			"optional", is_optional));
}

/* Calls for each name in a directory, in order. */
static void each(struct search *search, const char *path,
	void (*call)(struct search *search, const char *path, const char *name))
{
	struct dirent **entries;
	int count = scandirat(search->sys, path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.')
			call(search, path, entries[i]->d_name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* A word of /sys without "0x", "" if there is none. */
static const char *read_word(int dir, const char *path, char text[TEXT_MAX])
{
	text[0] = '\0';
	if (file_read_line(dir, path, text, TEXT_MAX) <= 0)
		return "";
	return text_starts(text, "0x") ? text + 2 : text;
}

static bool fits(int dir, const char *path, const char *wanted)
{
	char text[TEXT_MAX];
	return !wanted || strcasecmp(read_word(dir, path, text), wanted) == 0;
}

static bool fits_number(int dir, const char *path, uint32_t wanted)
{
	uint64_t number;
	return !wanted || (file_read_u64(dir, path, &number) == 0 && number == wanted);
}

static int open_dir(const struct search *search, const char *path, const char *name)
{
	cleanup(free) char *whole = alloc_printf("%s/%s", path, name);
	return openat(search->sys, whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* -- graphics ------------------------------------------------------------------------------------- */

static void add_drm(struct search *search, const char *path, const char *name)
{
	(void)path;
	cleanup(free) char *node = alloc_printf("/dev/dri/%s", name);
	if (text_starts(name, "card") || text_starts(name, "renderD"))
		add(search, node, 'c', false);
}

/* "card0", not its connectors "card0-HDMI-A-1". */
static void look_at_card(struct search *search, const char *path, const char *name)
{
	static const char *const nvidia[] = { "/dev/nvidiactl", "/dev/nvidia-uvm",
		"/dev/nvidia-uvm-tools", "/dev/nvidia-modeset" };
	const struct match_device *match = search->match;
	char link[TEXT_MAX * 4], text[TEXT_MAX];
	uint64_t number;
	if (!text_starts(name, "card") || text_to_u64(name + 4, &number) < 0)
		return;
	cleanup(close) int card = open_dir(search, path, name);
	cleanup(close) int device =
		card < 0 ? -1 : openat(card, "device", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (device < 0 || !fits(device, "vendor", match->vendor) ||
		!fits(device, "device", match->product) ||
		(match->card && !text_equal(match->card, name + 4)))
		return;
	ssize_t length = readlinkat(card, "device", link, sizeof(link) - 1);
	link[length > 0 ? length : 0] = '\0';
	const char *slash = strrchr(link, '/');
	if (match->pci && strcasecmp(match->pci, slash ? slash + 1 : link) != 0)
		return;
	bool is_nvidia = text_equal(read_word(device, "vendor", text), "10de");
	cleanup(free) char *nodes = alloc_printf("%s/%s/device/drm", path, name);
	each(search, nodes, add_drm);
	for (size_t i = 0; is_nvidia && i < ARRAY_SIZE(nvidia); i++)
		add(search, nvidia[i], 'c', true);
	cleanup(free) char *own = alloc_printf("/dev/nvidia%s", name + 4);
	if (is_nvidia)
		add(search, own, 'c', true);
}

/* -- USB ------------------------------------------------------------------------------------------ */

static void look_at_usb(struct search *search, const char *path, const char *name)
{
	const struct match_device *match = search->match;
	uint64_t bus, number;
	cleanup(close) int device = open_dir(search, path, name);
	if (device < 0 || !fits(device, "idVendor", match->vendor) ||
		!fits(device, "idProduct", match->product) ||
		!fits(device, "serial", match->serial) ||
		!fits_number(device, "busnum", match->bus) ||
		!fits_number(device, "devnum", match->number) ||
		file_read_u64(device, "busnum", &bus) < 0 ||
		file_read_u64(device, "devnum", &number) < 0 || bus > 999 || number > 999)
		return;
	char node[64];
	snprintf(node, sizeof(node), "/dev/bus/usb/%03u/%03u", (unsigned int)bus,
		(unsigned int)number);
	add(search, node, 'c', false);
}

/* -- others --------------------------------------------------------------------------------------- */

/* Whether the device, or the one that it belongs to, has the vendor and product. */
static bool is_of(const struct match_device *match, int device)
{
	int at = fcntl(device, F_DUPFD_CLOEXEC, 3);
	for (int i = 0; at >= 0 && i < PARENTS_MAX; i++) {
		if (faccessat(at, "idVendor", F_OK, 0) == 0) {
			bool is_ours = fits(at, "idVendor", match->vendor) &&
				fits(at, "idProduct", match->product);
			close(at);
			return is_ours;
		}
		int above = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = above;
	}
	if (at >= 0)
		close(at);
	return false;
}

static void look_at_node(struct search *search, const char *path, const char *name)
{
	cleanup(free) char *event = NULL;
	cleanup(close) int device = open_dir(search, path, name);
	if (device < 0 || !is_of(search->match, device) ||
		file_read(device, "uevent", 65536, &event, NULL, NULL) < 0)
		return;
	char *line, *rest = event;
	while ((line = strsep(&rest, "\n"))) {
		if (!text_starts(line, "DEVNAME=") || strstr(line, ".."))
			continue;
		const char *node_name = line + strlen("DEVNAME=");
		cleanup(free) char *node = text_starts(node_name, "/dev/")
			? alloc_text(node_name)
			: alloc_printf("/dev/%s", node_name);
		add(search, node, text_ends(path, "block") ? 'b' : 'c', false);
		return;
	}
}

int match_find(int sys, const struct match_device *match, json_t **ret, struct error *e)
{
	struct search search = { sys, match, json_array() };
	switch (match->kind) {
	case MATCH_GPU:
		each(&search, "class/drm", look_at_card);
		break;
	case MATCH_USB:
		each(&search, "bus/usb/devices", look_at_usb);
		break;
	case MATCH_HOTPLUG:
		each(&search, "dev/char", look_at_node);
		each(&search, "dev/block", look_at_node);
		break;
	}
	if (json_array_size(search.found) == 0 && match->is_required) {
		json_decref(search.found);
		bool is_any = !match->vendor && !match->product && !match->pci && !match->card &&
			!match->serial && !match->bus && !match->number;
		return error_set(e, -ENODEV, "devices.%s: this host has no %s%s", match->device,
			match->kind == MATCH_GPU           ? "GPU"
				: match->kind == MATCH_USB ? "USB device"
							   : "device",
			is_any ? "" : " like that");
	}
	*ret = search.found;
	return 0;
}
