/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.c - the platform by calls to a tender.
 */
#include "unikernel/machine/host.h"

#include <sys/uio.h>

#include "unikernel/machine/pages.h"
#include "unikernel/machine/port.h"

bool host_is_there, host_has_header;

static struct machine_call call;

int64_t host_call(uint32_t operation, uint64_t first, uint64_t second, uint64_t third)
{
	call = (struct machine_call){ .operation = operation,
		.arguments = { first, second, third } };
	port_write32(MACHINE_PORT, (uint32_t)pages_physical(&call));
	return call.result;
}

void host_start(bool has_header)
{
	host_has_header = has_header;
	host_is_there = true;
	(void)host_call(
		MACHINE_START, pages_physical((const void *)(uintptr_t)&platform_signals), 0, 0);
}

int64_t host_transfer(uint32_t operation, uint64_t first, void *data, uint64_t size, bool is_filled)
{
	uint64_t done = 0;
	bool has_offset = operation == MACHINE_VOLUME_READ || operation == MACHINE_VOLUME_WRITE;
	do {
		uint64_t physical = 0;
		uint64_t bytes = size == 0
			? 0
			: pages_piece(address_of(data) + done, size - done, is_filled, &physical);
		if (size && !bytes)
			return done ? (int64_t)done : -EFAULT;
		int64_t r = operation == MACHINE_CONSOLE_READ || operation == MACHINE_NET_RECEIVE
			? host_call(operation, physical, bytes, 0)
			: host_call(operation, has_offset ? first + done : first, physical, bytes);
		if (r < 0)
			return done ? (int64_t)done : r;
		done += (uint64_t)r;
		if ((uint64_t)r < bytes)
			break;
	} while (done < size);
	return (int64_t)done;
}

int64_t host_send(const struct iovec *parts, int count)
{
	static struct machine_part pieces[MACHINE_PARTS_MOST];
	uint64_t piece_count = 0;
	for (int i = 0; i < count; i++) {
		uint64_t done = 0;
		while (done < parts[i].iov_len) {
			if (piece_count == MACHINE_PARTS_MOST)
				return -EMSGSIZE;
			struct machine_part *piece = &pieces[piece_count++];
			piece->bytes = pages_piece(address_of(parts[i].iov_base) + done,
				parts[i].iov_len - done, false, &piece->at);
			if (!piece->bytes)
				return -EFAULT;
			done += piece->bytes;
		}
	}
	return host_call(MACHINE_NET_SEND, pages_physical(pieces), piece_count, 0);
}
