/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi.c - FACS, DSDT, FADT, MADT, MCFG, XSDT.
 */
#include "vmm/acpi.h"

#include <stdio.h>
#include <string.h>

#include "vmm/aml.h"
#include "vmm/hotplug.h"
#include "vmm/pci.h"
#include "vmm/power.h"

#define IOAPIC_AT 0xfec00000u
#define LAPIC_AT  0xfee00000u

struct table_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem[6];
	char oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
};
static_assert(sizeof(struct table_header) == 36, "layout");

/* Where a register is. */
struct __attribute__((__packed__)) address {
	uint8_t space; /* 0 memory, 1 ports */
	uint8_t bits, offset, access;
	uint64_t at;
};

struct __attribute__((__packed__)) fadt {
	struct table_header header;
	uint32_t facs, dsdt;
	uint8_t reserved, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0,
		gpe1;
	uint8_t pm1_event_bytes, pm1_control_bytes, pm2_control_bytes, pm_timer_bytes, gpe0_bytes,
		gpe1_bytes, gpe1_base, cst;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_flags;
	uint8_t reserved2;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_flags;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
		x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
	char hypervisor[8];
};
static_assert(sizeof(struct fadt) == 276, "layout");

#define FADT_WBINVD      (1u << 0)
#define FADT_C1          (1u << 2)
#define FADT_NO_SLEEP    (1u << 5)
#define FADT_NO_RTC_WAKE (1u << 6)
#define FADT_TIMER_32    (1u << 8)
#define FADT_RESET       (1u << 10)
#define BOOT_LEGACY      (1u << 0)
#define BOOT_NO_VGA      (1u << 2)

struct __attribute__((__packed__)) madt_lapic {
	uint8_t type, length, processor, id;
	uint32_t flags;
};

struct __attribute__((__packed__)) madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t at, first;
};

struct __attribute__((__packed__)) madt_override {
	uint8_t type, length, bus, source;
	uint32_t line;
	uint16_t flags;
};

struct __attribute__((__packed__)) madt_nmi {
	uint8_t type, length, processor;
	uint16_t flags;
	uint8_t input;
};

struct __attribute__((__packed__)) mcfg {
	uint8_t reserved[8];
	uint64_t at;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved2;
};

void acpi_done(struct acpi *acpi)
{
	free(acpi->data);
	*acpi = (struct acpi){};
}

static uint32_t append(struct acpi *acpi, const void *bytes, size_t count)
{
	size_t at = acpi->length;
	acpi->data = alloc_resize(acpi->data, at + count, 1);
	memcpy(acpi->data + at, bytes, count);
	acpi->length = at + count;
	return (uint32_t)at;
}

static struct table_header header(const char *signature, uint8_t revision, size_t length)
{
	struct table_header header = {
		.length = (uint32_t)length,
		.revision = revision,
		.oem_revision = 1,
		.creator_revision = 1,
	};
	memcpy(header.signature, signature, sizeof(header.signature));
	memcpy(header.oem, "BERTH ", sizeof(header.oem));
	memcpy(header.oem_table, "BERTHVMM", sizeof(header.oem_table));
	memcpy(header.creator, "BRTH", sizeof(header.creator));
	return header;
}

/* Adds a table of a header and `body`, aligned, and returns its offset. */
static uint32_t add_table(
	struct acpi *acpi, const char *signature, uint8_t revision, const void *body, size_t length)
{
	static const uint8_t nothing[16];
	append(acpi, nothing, -acpi->length & 15);
	struct table_header head = header(signature, revision, sizeof(head) + length);
	uint32_t offset = append(acpi, &head, sizeof(head));
	append(acpi, body, length);
	assert(acpi->table_count < ACPI_TABLES_MAX);
	acpi->tables[acpi->table_count++] =
		(struct acpi_table){ offset, (uint32_t)(sizeof(head) + length) };
	return offset;
}

static void fix(struct acpi *acpi, uint32_t offset, uint32_t bytes)
{
	assert(acpi->fix_count < ACPI_FIXES_MAX);
	acpi->fixes[acpi->fix_count++] = (struct acpi_fix){ offset, bytes };
}

static void add_routes(struct aml *aml)
{
	aml_name(aml, "_PRT");
	aml_package(aml, PCI_SLOTS);
	for (uint32_t slot = 0; slot < PCI_SLOTS; slot++) {
		aml_package(aml, 4);
		aml_number(aml, slot << 16 | 0xffff);
		aml_number(aml, 0);
		aml_number(aml, 0);
		aml_number(aml, PCI_LINE_GSI + pci_slot_line(slot));
		aml_end(aml);
	}
	aml_end(aml);
}

static void add_device(struct aml *aml, const char *name, const char *eisa, uint64_t uid,
	struct resources *resources)
{
	aml_device(aml, name);
	aml_name(aml, "_HID");
	aml_eisa(aml, eisa);
	aml_name(aml, "_UID");
	aml_number(aml, uid);
	if (resources)
		aml_resources(aml, resources);
	aml_end(aml);
}

/* Slots of machine_add(): bridges stay. */
static void add_slots(struct aml *aml)
{
	static const char *const registers[] = { "PCAM", "PCGO", "PCEJ" };
	char name[5];
	aml_port_region(aml, "HPIO", HOTPLUG_PORT, HOTPLUG_PORT_BYTES);
	aml_registers(aml, "HPIO", registers, ARRAY_SIZE(registers));
	for (uint32_t slot = PCI_PLUG_FIRST; slot <= PCI_PLUG_LAST; slot++) {
		snprintf(name, sizeof(name), "S%02X_", slot);
		aml_device(aml, name);
		aml_name(aml, "_ADR");
		aml_number(aml, slot << 16);
		aml_name(aml, "_SUN");
		aml_number(aml, slot);
		aml_method(aml, "_EJ0", 1);
		aml_store_number(aml, UINT32_C(1) << slot, "PCEJ");
		aml_end(aml);
		aml_end(aml);
	}
	aml_method(aml, "HPLG", 0);
	aml_store(aml, "PCAM", "Local0");
	aml_store(aml, "PCGO", "Local1");
	for (uint32_t slot = PCI_PLUG_FIRST; slot <= PCI_PLUG_LAST; slot++) {
		snprintf(name, sizeof(name), "S%02X_", slot);
		aml_if_bit(aml, "Local0", UINT32_C(1) << slot);
		aml_notify(aml, name, 1); /* look again */
		aml_end(aml);
		aml_if_bit(aml, "Local1", UINT32_C(1) << slot);
		aml_notify(aml, name, 3); /* it shall go */
		aml_end(aml);
	}
	aml_end(aml);
}

static void add_plug_event(struct aml *aml)
{
	char event[8];
	snprintf(event, sizeof(event), "_E%02X", POWER_GPE_HOTPLUG);
	aml_scope(aml, "\\_GPE");
	aml_method(aml, event, 0);
	aml_call(aml, "\\_SB.PCI0.HPLG");
	aml_end(aml);
	aml_end(aml);
}

static void add_pci(struct aml *aml, bool has_vga)
{
	struct resources windows = {}, serial = {}, clock = {};
	aml_device(aml, "PCI0");
	aml_name(aml, "_HID");
	aml_eisa(aml, "PNP0A08");
	aml_name(aml, "_CID");
	aml_eisa(aml, "PNP0A03");
	aml_name(aml, "_UID");
	aml_number(aml, 0);
	aml_name(aml, "_SEG");
	aml_number(aml, 0);
	aml_name(aml, "_BBN");
	aml_number(aml, 0);
	resources_bus_range(&windows, 0, 0);
	resources_ports(&windows, 0xcf8, 8);
	resources_port_range(&windows, 0, 0xcf7);
	resources_port_range(&windows, 0xd00, 0xffff);
	if (has_vga)
		resources_memory_range(&windows, 0xa0000, 0xbffff);
	resources_memory_range(&windows, (uint32_t)PCI_WINDOW_AT, (uint32_t)(PCI_WINDOW_END - 1));
	aml_resources(aml, &windows);
	add_routes(aml);
	add_slots(aml);
	resources_ports(&serial, 0x3f8, 8);
	resources_line(&serial, 4);
	add_device(aml, "COM1", "PNP0501", 1, &serial);
	resources_ports(&clock, 0x70, 2);
	resources_line(&clock, 8);
	add_device(aml, "RTC_", "PNP0B00", 0, &clock);
	aml_end(aml);
}

static void add_generation(struct aml *aml, uint64_t at)
{
	at += ACPI_GENERATION_OFFSET;
	aml_device(aml, "\\_SB.VGEN");
	aml_name(aml, "_HID");
	aml_text(aml, "BRTH0001");
	aml_name(aml, "_CID");
	aml_text(aml, "VM_Gen_Counter");
	aml_name(aml, "_DDN");
	aml_text(aml, "VM_Gen_Counter");
	aml_name(aml, "ADDR");
	aml_package(aml, 2);
	aml_number(aml, at & UINT32_MAX);
	aml_number(aml, at >> 32);
	aml_end(aml);
	aml_end(aml);
	char event[8];
	snprintf(event, sizeof(event), "_E%02X", POWER_GPE_GENERATION);
	aml_scope(aml, "\\_GPE");
	aml_method(aml, event, 0);
	aml_notify(aml, "\\_SB.VGEN", 0x80);
	aml_end(aml);
	aml_end(aml);
}

static void build_dsdt(struct aml *aml, const struct acpi_options *options)
{
	struct resources reserved = {};
	aml_scope(aml, "\\_SB");
	add_pci(aml, options->has_vga);
	/* Not for PCI devices: the configuration space and the power registers. */
	resources_memory(&reserved, (uint32_t)PCI_ECAM_AT, (uint32_t)PCI_ECAM_BYTES);
	resources_ports(&reserved, POWER_PORT, POWER_PORT_BYTES);
	resources_ports(&reserved, HOTPLUG_PORT, HOTPLUG_PORT_BYTES);
	add_device(aml, "SYSR", "PNP0C02", 1, &reserved);
	aml_end(aml);
	add_plug_event(aml);
	if (options->generation_at)
		add_generation(aml, options->generation_at);
	aml_name(aml, "\\_S5");
	aml_package(aml, 4);
	aml_number(aml, POWER_SLEEP_OFF);
	aml_number(aml, POWER_SLEEP_OFF);
	aml_number(aml, 0);
	aml_number(aml, 0);
	aml_end(aml);
}

static struct address port(uint16_t at, uint8_t bytes)
{
	return (struct address){
		.space = 1,
		.bits = (uint8_t)(bytes * 8),
		.access = bytes == 1 ? 1
			: bytes == 2 ? 2
				     : 3,
		.at = at,
	};
}

static uint32_t add_fadt(struct acpi *acpi, uint32_t facs, uint32_t dsdt, bool has_vga)
{
	struct fadt fadt = {
		.facs = facs,
		.dsdt = dsdt,
		.sci = POWER_SCI_LINE,
		.pm1a_event = POWER_PORT + POWER_PM1_EVENT,
		.pm1a_control = POWER_PORT + POWER_PM1_CONTROL,
		.pm_timer = POWER_PORT + POWER_TIMER,
		.gpe0 = POWER_PORT + POWER_GPE,
		.pm1_event_bytes = 4,
		.pm1_control_bytes = 2,
		.pm_timer_bytes = 4,
		.gpe0_bytes = POWER_GPE_BYTES,
		.c2_latency = 0xfff,
		.c3_latency = 0xfff,
		.century = 0x32,
		.boot_flags = (uint16_t)(BOOT_LEGACY | (has_vga ? 0 : BOOT_NO_VGA)),
		.flags = FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP | FADT_NO_RTC_WAKE | FADT_TIMER_32 |
			FADT_RESET,
		.reset = port(0xcf9, 1),
		.reset_value = 6,
		.minor = 3,
		.x_dsdt = dsdt,
		.x_pm1a_event = port(POWER_PORT + POWER_PM1_EVENT, 4),
		.x_pm1a_control = port(POWER_PORT + POWER_PM1_CONTROL, 2),
		.x_pm_timer = port(POWER_PORT + POWER_TIMER, 4),
		.x_gpe0 = port(POWER_PORT + POWER_GPE, POWER_GPE_BYTES),
	};
	uint32_t at = add_table(acpi, "FACP", 6, (uint8_t *)&fadt + sizeof(struct table_header),
		sizeof(fadt) - sizeof(struct table_header));
	fix(acpi, at + (uint32_t)offsetof(struct fadt, facs), 4);
	fix(acpi, at + (uint32_t)offsetof(struct fadt, dsdt), 4);
	fix(acpi, at + (uint32_t)offsetof(struct fadt, x_dsdt), 8);
	return at;
}

static uint32_t add_madt(struct acpi *acpi, uint32_t cpus)
{
	struct aml body = {};
	const uint32_t head[] = { LAPIC_AT, 1 /* there are PICs, too */ };
	aml_bytes(&body, head, sizeof(head));
	for (uint32_t i = 0; i < cpus; i++) {
		const struct madt_lapic lapic = { 0, sizeof(lapic), (uint8_t)i, (uint8_t)i, 1 };
		aml_bytes(&body, &lapic, sizeof(lapic));
	}
	const struct madt_ioapic ioapic = { 1, sizeof(ioapic), 0, 0, IOAPIC_AT, 0 };
	aml_bytes(&body, &ioapic, sizeof(ioapic));
	/* Active high, level. */
	const struct madt_override sci = { 2, sizeof(sci), 0, POWER_SCI_LINE, POWER_SCI_LINE,
		0x0d };
	aml_bytes(&body, &sci, sizeof(sci));
	const struct madt_nmi nmi = { 4, sizeof(nmi), 0xff, 0, 1 };
	aml_bytes(&body, &nmi, sizeof(nmi));
	uint32_t at = add_table(acpi, "APIC", 5, body.data, body.length);
	aml_done(&body);
	return at;
}

static uint32_t add_facs(struct acpi *acpi)
{
	uint8_t facs[64] = "FACS";
	facs[4] = sizeof(facs);
	facs[32] = 2;
	return append(acpi, facs, sizeof(facs));
}

void acpi_build(const struct acpi_options *options, struct acpi *ret)
{
	*ret = (struct acpi){};
	struct aml aml = {};
	build_dsdt(&aml, options);
	uint32_t facs = add_facs(ret);
	uint32_t dsdt = add_table(ret, "DSDT", 2, aml.data, aml.length);
	aml_done(&aml);
	const struct mcfg mcfg = { .at = PCI_ECAM_AT };
	uint64_t tables[] = {
		add_fadt(ret, facs, dsdt, options->has_vga),
		add_madt(ret, options->cpus),
		add_table(ret, "MCFG", 1, &mcfg, sizeof(mcfg)),
	};
	ret->xsdt_offset = add_table(ret, "XSDT", 1, tables, sizeof(tables));
	for (uint32_t i = 0; i < ARRAY_SIZE(tables); i++)
		fix(ret, ret->xsdt_offset + (uint32_t)sizeof(struct table_header) + 8 * i, 8);
}

static uint8_t checksum(const uint8_t *data, size_t length)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < length; i++)
		sum = (uint8_t)(sum + data[i]);
	return (uint8_t)-sum;
}

void acpi_place(struct acpi *acpi, uint64_t at)
{
	for (size_t i = 0; i < acpi->fix_count; i++) {
		uint64_t value = 0;
		uint8_t *where = acpi->data + acpi->fixes[i].offset;
		memcpy(&value, where, acpi->fixes[i].bytes);
		value += at;
		memcpy(where, &value, acpi->fixes[i].bytes);
	}
	for (size_t i = 0; i < acpi->table_count; i++) {
		uint8_t *table = acpi->data + acpi->tables[i].offset;
		uint8_t *sum = table + offsetof(struct table_header, checksum);
		*sum = 0;
		*sum = checksum(table, acpi->tables[i].length);
	}
}

void acpi_rsdp(uint8_t rsdp[ACPI_RSDP_BYTES], uint64_t xsdt_at, bool is_for_firmware)
{
	memset(rsdp, 0, ACPI_RSDP_BYTES);
	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, "BERTH ", 6);
	rsdp[15] = 2;
	rsdp[20] = ACPI_RSDP_BYTES;
	memcpy(rsdp + ACPI_RSDP_XSDT, &xsdt_at, sizeof(xsdt_at));
	if (is_for_firmware)
		return;
	rsdp[ACPI_RSDP_CHECKSUM] = checksum(rsdp, ACPI_RSDP_V1_BYTES);
	rsdp[ACPI_RSDP_CHECKSUM_2] = checksum(rsdp, ACPI_RSDP_BYTES);
}
