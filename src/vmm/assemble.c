/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assemble.c - opens what a plan names.
 */
#include "vmm/assemble.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "disk/disk.h"
#include "host/process.h"
#include "vmm/ahci/ahci.h"
#include "vmm/e1000/e1000.h"
#include "vmm/firmware.h"
#include "vmm/pflash.h"
#include "vmm/suspend.h"
#include "vmm/virtio/balloon.h"
#include "vmm/virtio/block.h"
#include "vmm/virtio/console.h"
#include "vmm/virtio/memory.h"
#include "vmm/virtio/net.h"
#include "vmm/virtio/rng.h"
#include "vmm/virtio/vsock.h"

#define QUEUES_MAX 8

/* Opens a path, or takes the descriptor of "fd:NAME". */
static int open_file(const char *file, int flags, struct error *e)
{
	int fd = text_starts(file, "fd:") ? process_named_fd(file + 3)
					  : open(file, flags | O_CLOEXEC | O_NOCTTY, 0600);
	if (fd < 0 && text_starts(file, "fd:"))
		return error_code(e, fd, "no descriptor called %s", file + 3);
	if (fd < 0)
		return error_errno(e, "open %s", file);
	return fd;
}

static int open_image(const char *file, int flags, struct image *ret, struct error *e)
{
	ret->fd = -1;
	if (!file)
		return 0;
	int fd = open_file(file, flags, e);
	if (fd < 0)
		return fd;
	int r = image_init(ret, fd, file, e);
	if (r < 0) {
		close(fd);
		ret->fd = -1;
	}
	return r;
}

static int read_firmware(struct assembly *assembly, struct error *e)
{
	struct image image;
	int r = open_image(assembly->plan.firmware, O_RDONLY, &image, e);
	if (r < 0 || image.fd < 0)
		return r;
	r = firmware_read(&image, &assembly->firmware, &assembly->firmware_bytes, e);
	close(image.fd);
	return r;
}

static int add_part(struct machine *machine, struct part *part, struct error *e)
{
	int r = machine_add_part(machine, part, e);
	if (r < 0)
		part->driver->free(part);
	return r;
}

static int add_variables(struct assembly *assembly, struct error *e)
{
	struct image file;
	int r = open_image(assembly->plan.firmware_vars, O_RDWR, &file, e);
	if (r < 0 || file.fd < 0)
		return r;
	struct pflash *pflash;
	r = pflash_new(&assembly->machine->bus, &file, LAYOUT_ABOVE_4G - assembly->firmware_bytes,
		&pflash, e);
	if (r < 0) {
		close(file.fd);
		return r;
	}
	return add_part(assembly->machine, &pflash->part, e);
}

static int add_shared_page(struct assembly *assembly, struct error *e)
{
	struct image file;
	int r = open_image(assembly->plan.shared_page, O_RDWR, &file, e);
	if (r < 0 || file.fd < 0)
		return r;
	r = guest_map(
		assembly->machine->guest, LAYOUT_SHARED, GUEST_PAGE, file.fd, GUEST_MAP_SHARED, e);
	close(file.fd);
	return r;
}

static int add_keep(struct assembly *assembly, struct error *e)
{
	struct machine *machine = assembly->machine;
	if (!assembly->plan.keep_port)
		return 0;
	int r = keep_new(&machine->bus, machine->cpus, machine->loop,
		(uint16_t)assembly->plan.keep_port, &assembly->keep, e);
	return r < 0 ? r : add_part(machine, &assembly->keep->part, e);
}

static int add_debug_port(struct assembly *assembly, struct error *e)
{
	const char *file = assembly->plan.firmware_log;
	if (!file)
		return 0;
	assembly->firmware_log = open_file(file, O_WRONLY | O_CREAT | O_APPEND, e);
	if (assembly->firmware_log < 0)
		return assembly->firmware_log;
	assembly->debug_port = alloc(struct debug_port);
	return debug_port_init(
		assembly->debug_port, &assembly->machine->bus, assembly->firmware_log, e);
}

static int open_files(struct assembly *assembly, struct error *e)
{
	const struct plan *plan = &assembly->plan;
	int r = open_image(plan->kernel, O_RDONLY, &assembly->kernel, e);
	if (r == 0)
		r = open_image(plan->initrd, O_RDONLY, &assembly->initrd, e);
	if (r == 0)
		r = read_firmware(assembly, e);
	if (r < 0 || !plan->cache)
		return r;
	r = file_make_dirs(AT_FDCWD, plan->cache, 0700);
	if (r < 0)
		return error_code(e, r, "make %s", plan->cache);
	assembly->cache.dir = open(plan->cache, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return assembly->cache.dir < 0 ? error_errno(e, "open %s", plan->cache) : 0;
}

int assembly_make_disk(struct assembly *assembly, const struct plan_disk *plan, int fd,
	struct virtio_device **ret, struct error *e)
{
	struct machine *machine = assembly->machine;
	struct disk *disk;
	int r = raw_open_fd(fd, plan->file, plan->read_only, &disk, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	uint32_t cpus = machine->cpus->count;
	const struct block_options options = {
		.id = plan->id,
		.queues = (uint16_t)(cpus < QUEUES_MAX ? cpus : QUEUES_MAX),
		.bytes_per_second = plan->bytes_per_second,
		.operations_per_second = plan->operations_per_second,
		.stalled = machine_stall,
		.data = machine,
	};
	r = block_new(machine->guest, machine->loop, &machine->bus, disk, &options, ret, e);
	if (r < 0)
		disk_close(disk);
	return r;
}

static int add_sata_disk(
	struct assembly *assembly, const struct plan_disk *plan, int fd, struct error *e)
{
	struct machine *machine = assembly->machine;
	struct disk *disk;
	uint32_t port;
	int r = raw_open_fd(fd, plan->file, plan->read_only, &disk, e);
	if (r < 0) {
		close(fd);
		return r;
	}
	if (!assembly->ahci) {
		r = ahci_new(&machine->pci, CHIPSET_LPC_SLOT, CHIPSET_SATA_FUNCTION, machine->guest,
			machine->loop, &machine->bus, &assembly->ahci, e);
		if (r == 0)
			r = add_part(machine, ahci_part(assembly->ahci), e);
	}
	const struct ahci_options options = {
		.id = plan->id,
		.is_cd = plan->is_cd,
		.bytes_per_second = plan->bytes_per_second,
		.operations_per_second = plan->operations_per_second,
		.stalled = machine_stall,
		.data = machine,
	};
	if (r == 0)
		r = ahci_add(assembly->ahci, disk, &options, &port, e);
	if (r < 0) {
		disk_close(disk);
		return r;
	}
	text_printf(&assembly->boot_order, "/pci@i0cf8/pci8086,2922@%x,%x/drive@%x/disk@0\n",
		CHIPSET_LPC_SLOT, CHIPSET_SATA_FUNCTION, port);
	return 0;
}

static int add_disk(struct assembly *assembly, uint32_t index, struct error *e)
{
	struct plan_disk *plan = &assembly->plan.disks[index];
	char id[24], name[MACHINE_NAME_BYTES];
	snprintf(id, sizeof(id), "disk%u", index);
	struct plan_disk named = *plan;
	if (!named.id)
		named.id = id;
	named.read_only = plan->read_only || plan->is_cd;
	int fd = open_file(plan->file, named.read_only ? O_RDONLY : O_RDWR, e);
	if (fd < 0)
		return fd;
	if (plan->is_sata)
		return add_sata_disk(assembly, &named, fd, e);
	struct virtio_device *device;
	int r = assembly_make_disk(assembly, &named, fd, &device, e);
	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "disk:%.60s", named.id);
	r = machine_add(assembly->machine, device, name, e);
	if (r < 0)
		device->driver->free(device);
	else
		text_printf(&assembly->boot_order, "/pci@i0cf8/scsi@%x/disk@0,0\n",
			assembly->machine->device_count + PCI_PLUG_FIRST - 1);
	return r;
}

static int add_plain(struct machine *machine, struct virtio_device *device, struct error *e)
{
	int r = machine_add(machine, device, NULL, e);
	if (r < 0)
		device->driver->free(device);
	return r;
}

/* A locally administered address that stays the same for the same tap. */
static void make_mac(const char *tap, uint8_t mac[6])
{
	uint32_t sum = 2166136261u;
	for (const char *c = tap; *c; c++)
		sum = (sum ^ (uint8_t)*c) * 16777619u;
	const uint8_t made[6] = { 0x02, 0xbe, (uint8_t)(sum >> 24), (uint8_t)(sum >> 16),
		(uint8_t)(sum >> 8), (uint8_t)sum };
	memcpy(mac, made, sizeof(made));
}

static int read_mac(const char *text, uint8_t mac[6], struct error *e)
{
	char plain[13] = "";
	if (strlen(text) == 17)
		for (int i = 0; i < 6; i++)
			memcpy(plain + (ptrdiff_t)i * 2, text + (ptrdiff_t)i * 3, 2);
	if (text_from_hex(plain, mac, 6) < 0 || (mac[0] & 1))
		return error_set(e, -EINVAL, "mac: \"%s\" is no address of a card", text);
	return 0;
}

int assembly_make_nic(struct assembly *assembly, const struct plan_nic *plan, int *taps,
	uint32_t pairs, struct virtio_device **ret, struct error *e)
{
	struct machine *machine = assembly->machine;
	struct net_options options = { .taps = taps, .pairs = pairs };
	int r = 0;
	if (plan->mac)
		r = read_mac(plan->mac, options.mac, e);
	else
		make_mac(plan->tap, options.mac);
	if (r == 0)
		r = net_new(machine->guest, machine->loop, &machine->bus, &options, ret, e);
	for (uint32_t i = 0; r < 0 && i < pairs; i++)
		close(taps[i]);
	return r;
}

static int add_e1000(
	struct assembly *assembly, const struct plan_nic *plan, int tap, struct error *e)
{
	struct machine *machine = assembly->machine;
	struct e1000_options options = {
		.tap = tap,
		.slot = PCI_FIXED_NICS,
		.function = (uint8_t)assembly->e1000_count,
	};
	struct part *part;
	int r = plan->queues > 1
		? error_set(e, -EINVAL, "an e1000 has one queue, not %u", plan->queues)
		: plan->mac ? read_mac(plan->mac, options.mac, e)
			    : 0;
	if (!plan->mac)
		make_mac(plan->tap, options.mac);
	if (r == 0)
		r = e1000_new(&machine->pci, machine->guest, machine->loop, &machine->bus, &options,
			&part, e);
	if (r < 0) {
		close(tap);
		return error_prefix(e, r, "%s", plan->tap);
	}
	assembly->e1000_count++;
	return add_part(machine, part, e);
}

static int add_nic(struct assembly *assembly, const struct plan_nic *plan, struct error *e)
{
	char name[MACHINE_NAME_BYTES];
	int taps[NET_PAIRS_MAX];
	uint32_t pairs = plan->queues && !plan->is_e1000 ? plan->queues : 1;
	int r = 0;
	if (text_starts(plan->tap, "fd:")) {
		pairs = 1;
		taps[0] = open_file(plan->tap, 0, e);
		r = taps[0] < 0 ? taps[0] : 0;
	} else {
		r = net_open_tap(plan->tap, pairs, taps, e);
	}
	if (r < 0)
		return r;
	if (plan->is_e1000)
		return add_e1000(assembly, plan, taps[0], e);
	struct virtio_device *device;
	r = assembly_make_nic(assembly, plan, taps, pairs, &device, e);
	if (r < 0)
		return error_prefix(e, r, "%s", plan->tap);
	snprintf(name, sizeof(name), "nic:%.60s", plan->id ?: plan->tap);
	r = machine_add(assembly->machine, device, name, e);
	if (r < 0)
		device->driver->free(device);
	return r;
}

static int add_vsock(struct assembly *assembly, struct error *e)
{
	const struct plan *plan = &assembly->plan;
	struct machine *machine = assembly->machine;
	struct virtio_device *device;
	int listener = text_starts(plan->vsock_dir, "fd:") ? open_file(plan->vsock_dir, 0, e)
							   : vsock_listen(plan->vsock_dir, e);
	if (listener < 0)
		return listener;
	int r = vsock_new(machine->guest, machine->loop, &machine->bus, plan->vsock_cid, listener,
		&device, e);
	if (r < 0) {
		close(listener);
		return r;
	}
	return add_plain(machine, device, e);
}

static int add_devices(struct assembly *assembly, struct error *e)
{
	const struct plan *plan = &assembly->plan;
	struct machine *machine = assembly->machine;
	struct guest *guest = machine->guest;
	struct bus *bus = &machine->bus;
	int r = 0;
	for (uint32_t i = 0; r == 0 && i < plan->disk_count; i++)
		r = add_disk(assembly, i, e);
	for (uint32_t i = 0; r == 0 && i < plan->nic_count; i++)
		r = add_nic(assembly, &plan->nics[i], e);
	if (r == 0 && plan->vsock_cid)
		r = add_vsock(assembly, e);
	if (r == 0 && plan->has_rng)
		r = add_plain(machine, rng_new(guest, machine->loop, bus), e);
	if (r == 0 && plan->has_balloon) {
		assembly->balloon = balloon_new(guest, machine->loop, bus);
		r = add_plain(machine, assembly->balloon, e);
	}
	if (r == 0 && machine->map.room_bytes) {
		assembly->memory = memory_new(
			guest, machine->loop, bus, machine->map.room_at, machine->map.room_bytes);
		r = add_plain(machine, assembly->memory, e);
	}
	if (r == 0) {
		assembly->console = virtio_console_new(guest, machine->loop, bus);
		r = add_plain(machine, assembly->console, e);
	}
	return r;
}

/* Devices that came and went while it ran have left it other places than the plan's order. */
static int expect_state(struct assembly *assembly, struct error *e)
{
	cleanup(state_done) struct state state = {};
	int fd = assembly->restore_fd = open_file(assembly->plan.restore, O_RDONLY, e);
	if (fd < 0)
		return fd;
	int r = assembly->keep ? keep_read_head(fd, &assembly->initrd, e) : 0;
	off_t begin = lseek(fd, 0, SEEK_CUR);
	if (r == 0)
		r = state_read(&state, fd, e);
	if (r == 0)
		r = machine_expect(assembly->machine, &state, e);
	if (r == 0 && lseek(fd, begin, SEEK_SET) < 0)
		r = error_errno(e, "seek");
	return r < 0 ? error_prefix(e, r, "%s", assembly->plan.restore) : 0;
}

/* Beside the monitor: in the build tree and in an installation. */
static char *unpack_program(void)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n <= 0)
		return alloc_text("berth-unpack");
	path[n] = '\0';
	char *slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	return alloc_printf("%s/berth-unpack", path);
}

int assembly_init(struct assembly *assembly, const struct plan *plan, const struct engine *engine,
	struct loop *loop, struct error *e)
{
	*assembly = (struct assembly){
		.plan = *plan,
		.kernel.fd = -1,
		.initrd.fd = -1,
		.cache.dir = -1,
		.unpacked_fd = -1,
		.restore_fd = -1,
		.firmware_log = -1,
	};
	int r = open_files(assembly, e);
	if (r < 0)
		return r;
	const struct machine_options options = {
		.engine = engine,
		.cpus = plan->cpus,
		.memory_bytes = plan->memory_bytes,
		.memory_max_bytes = plan->memory_max_bytes,
		.exit_port = (uint16_t)plan->exit_port,
		.has_test_device = plan->has_test_device,
		.firmware = assembly->firmware,
		.firmware_bytes = assembly->firmware_bytes,
	};
	r = machine_new(&options, loop, &assembly->machine, e);
	if (r == 0)
		r = add_shared_page(assembly, e);
	if (r == 0)
		r = add_keep(assembly, e);
	if (r == 0 && plan->restore)
		r = expect_state(assembly, e);
	if (r == 0)
		r = add_variables(assembly, e);
	if (r == 0)
		r = add_debug_port(assembly, e);
	if (r == 0)
		r = add_devices(assembly, e);
	if (r < 0)
		return r;
	if (assembly->boot_order.length)
		assembly->machine->boot_order = text_str(&assembly->boot_order);
	return machine_complete(assembly->machine, e);
}

void assembly_done(struct assembly *assembly)
{
	if (assembly->debug_port)
		debug_port_done(assembly->debug_port);
	free(assembly->debug_port);
	machine_free(assembly->machine);
	if (assembly->firmware_log >= 0)
		close(assembly->firmware_log);
	if (assembly->kernel.fd >= 0)
		close(assembly->kernel.fd);
	if (assembly->initrd.fd >= 0)
		close(assembly->initrd.fd);
	if (assembly->cache.dir >= 0)
		close(assembly->cache.dir);
	if (assembly->unpacked_fd >= 0)
		close(assembly->unpacked_fd);
	if (assembly->restore_fd >= 0)
		close(assembly->restore_fd);
	free(assembly->firmware);
	text_done(&assembly->boot_order);
}

/* Unpacks the kernel the first time; the file stays open, so that a reset needs no process. */
static int unpack(void *data, const struct image *kernel, uint64_t offset, uint64_t bytes,
	int *ret_fd, struct error *e)
{
	struct assembly *assembly = data;
	if (assembly->unpacked_fd < 0) {
		cleanup(free) char *program = unpack_program();
		assembly->cache.program = program;
		int r = kernel_cache_unpack(
			&assembly->cache, kernel, offset, bytes, &assembly->unpacked_fd, e);
		assembly->cache.program = NULL;
		if (r < 0)
			return r;
	}
	int fd = fcntl(assembly->unpacked_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return error_errno(e, "dup");
	*ret_fd = fd;
	return 0;
}

/* A guest that knows that it goes on elsewhere reads it again. */
static int tell_anew(const struct assembly *assembly, struct error *e)
{
	const char *line = assembly->plan.append;
	return guest_write(assembly->machine->guest, LAYOUT_COMMAND_LINE, line, strlen(line) + 1) <
			0
		? error_set(e, -EINVAL, "kernel command line: the guest has no memory for it")
		: 0;
}

int assembly_restore(struct assembly *assembly, struct error *e)
{
	cleanup(close) int fd = TAKE_FD(assembly->restore_fd);
	int r = suspend_read(assembly->machine, fd, e);
	if (r == 0 && assembly->keep)
		r = tell_anew(assembly, e);
	return r < 0 ? error_prefix(e, r, "%s", assembly->plan.restore) : 0;
}

int assembly_boot(struct assembly *assembly, struct error *e)
{
	struct machine *machine = assembly->machine;
	if (assembly->kernel.fd < 0)
		return 0;
	const struct boot_options options = {
		.kernel = assembly->kernel,
		.initrd = assembly->initrd,
		.is_initrd_mapped = assembly->plan.is_initrd_mapped,
		.command_line = assembly->plan.append,
		.map = &machine->map,
		.rsdp_at = machine->rsdp_at,
		.unpack = unpack,
		.unpack_data = assembly,
	};
	struct cpu_state *state = alloc(struct cpu_state);
	int r = boot_load(&options, machine->guest, state, e);
	if (r == 0)
		machine_set_boot(machine, state);
	free(state);
	return r;
}
