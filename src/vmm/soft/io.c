/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.c - who answers an access to a port or a device.
 */
#include "vmm/soft/io.h"

#include <unistd.h>

#include "vmm/soft/apic.h"
#include "vmm/soft/ioapic.h"
#include "vmm/soft/pic.h"
#include "vmm/soft/pit.h"
#include "vmm/soft/shared.h"

/* The answer of the run before, if this access was made then. */
static struct io_done *answered(struct cpu *cpu, uint64_t at, bool is_write)
{
	if (cpu->io_next >= cpu->io_count)
		return NULL;
	struct io_done *done = &cpu->io[cpu->io_next];
	if (done->at != at || done->is_write != is_write)
		return NULL;
	cpu->io_next++;
	return done;
}

static _Noreturn void leave(
	struct cpu *cpu, const struct op *op, const struct io_done *access, uint64_t value)
{
	cpu->io_count = cpu->io_next;
	cpu->io[cpu->io_count++] = *access;
	cpu->io_waits = !access->is_write;
	*cpu->exit = (struct cpu_exit){
		.why = access->is_port ? CPU_PORT : CPU_MMIO,
		.is_write = access->is_write,
		.bytes = access->bytes,
		.at = access->at,
		.value = value,
	};
	cpu_leave(cpu, op);
}

static bool is_chip_port(uint64_t at)
{
	return (at & ~UINT64_C(0x81)) == 0x20 || (at & ~UINT64_C(3)) == 0x40 || at == 0x61 ||
		at == 0x4d0 || at == 0x4d1;
}

static bool is_lapic(const struct cpu *cpu, uint64_t at)
{
	return (cpu->lapic.base & (LAPIC_BASE_ENABLED | LAPIC_BASE_X2)) == LAPIC_BASE_ENABLED &&
		(at & ~UINT64_C(0xfff)) == (cpu->lapic.base & LAPIC_BASE_ADDRESS);
}

static uint64_t port_read(struct soft *soft, uint64_t at, uint32_t bytes)
{
	uint64_t value = 0;
	pthread_mutex_lock(&soft->lock);
	for (uint32_t i = 0; i < bytes; i++) {
		uint32_t port = (uint32_t)at + i;
		uint8_t byte = 0xff;
		if (port == 0x61 || (port & ~3u) == 0x40)
			byte = pit_read(soft, port);
		else if (is_chip_port(port))
			byte = pic_read(soft, port);
		value |= (uint64_t)byte << (8 * i);
	}
	pthread_mutex_unlock(&soft->lock);
	return value;
}

static void port_write(struct soft *soft, uint64_t at, uint32_t bytes, uint64_t value)
{
	pthread_mutex_lock(&soft->lock);
	for (uint32_t i = 0; i < bytes; i++) {
		uint32_t port = (uint32_t)at + i;
		uint8_t byte = (uint8_t)(value >> (8 * i));
		if (port == 0x61 || (port & ~3u) == 0x40)
			pit_write(soft, port, byte);
		else if (is_chip_port(port))
			pic_write(soft, port, byte);
	}
	pthread_mutex_unlock(&soft->lock);
}

static bool rings_doorbell(struct soft *soft, uint64_t at)
{
	uint32_t count = atomic_load(&soft->doorbell_count);
	if (count == 0)
		return false;
	bool rings = false;
	pthread_mutex_lock(&soft->lock);
	for (uint32_t i = 0; i < soft->doorbell_count && !rings; i++) {
		if (soft->doorbells[i].at != at)
			continue;
		uint64_t one = 1;
		/* A full counter is as good as a written one: its reader has not looked yet. */
		rings = write(soft->doorbells[i].event_fd, &one, sizeof(one)) != 0;
	}
	pthread_mutex_unlock(&soft->lock);
	return rings;
}

uint64_t io_read(struct cpu *cpu, const struct op *op, uint64_t at, uint32_t bytes, bool is_port)
{
	if (is_port && is_chip_port(at))
		return port_read(cpu->soft, at, bytes);
	if (!is_port && is_lapic(cpu, at))
		return lapic_read(cpu, (uint32_t)at & 0xfff) >> (8 * (at & 3));
	if (!is_port && (at & ~UINT64_C(0xfff)) == IOAPIC_AT)
		return ioapic_read(cpu->soft, (uint32_t)at & 0xfff);
	const struct io_done *done = answered(cpu, at, false);
	if (done)
		return done->value & mask_of(bytes);
	if (cpu->io_next >= IO_MAX)
		return UINT64_MAX & mask_of(bytes);
	leave(cpu, op, &(struct io_done){ .at = at, .bytes = (uint8_t)bytes, .is_port = is_port },
		0);
}

void io_write(struct cpu *cpu, const struct op *op, uint64_t at, uint32_t bytes, uint64_t value,
	bool is_port)
{
	value &= mask_of(bytes);
	if (is_port && is_chip_port(at)) {
		port_write(cpu->soft, at, bytes, value);
		return;
	}
	if (!is_port && is_lapic(cpu, at)) {
		lapic_write(cpu, (uint32_t)at & 0xfff, (uint32_t)value);
		return;
	}
	if (!is_port && (at & ~UINT64_C(0xfff)) == IOAPIC_AT) {
		ioapic_write(cpu->soft, (uint32_t)at & 0xfff, (uint32_t)value);
		return;
	}
	if (answered(cpu, at, true) || (!is_port && rings_doorbell(cpu->soft, at)) ||
		cpu->io_next >= IO_MAX)
		return;
	leave(cpu, op,
		&(struct io_done){
			.at = at, .bytes = (uint8_t)bytes, .is_write = true, .is_port = is_port },
		value);
}
