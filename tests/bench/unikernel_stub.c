/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unikernel_stub.c - the floor of a start: 64 MiB are mapped, a filter such as the tender's is put up, the end.
 */
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tender/filter.h"

int main(void)
{
	static struct filter filter;
	static const long calls[] = { SYS_read, SYS_write, SYS_writev, SYS_ppoll, SYS_mprotect,
		SYS_madvise, SYS_clock_gettime, SYS_arch_prctl, SYS_rt_sigreturn, SYS_exit_group,
		SYS_exit };
	void *memory = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	filter_begin(&filter);
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
		filter_allow(&filter, calls[i], NULL, 0);
	return memory == MAP_FAILED || filter_end(&filter, NULL) < 0 || filter_lock(&filter) < 0;
}
