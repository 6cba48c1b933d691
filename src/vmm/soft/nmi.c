/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/soft/nmi.h"

void nmi_raise(struct cpu *cpu)
{
	uint32_t now = atomic_load(&cpu->nmi);
	while (!atomic_compare_exchange_weak(&cpu->nmi, &now, nmi_with_one_more(now)))
		;
	cpu_wake(cpu, ATTENTION_NMI);
}

bool nmi_take(struct cpu *cpu)
{
	uint32_t now = atomic_load(&cpu->nmi);
	do {
		if ((now & NMI_BLOCKED) || !(now & NMI_WAITING))
			return false;
	} while (!atomic_compare_exchange_weak(&cpu->nmi, &now, (now - NMI_ONE) | NMI_BLOCKED));
	return true;
}

void nmi_unblock(struct cpu *cpu)
{
	if (!(atomic_load(&cpu->nmi) & NMI_BLOCKED))
		return;
	atomic_fetch_and(&cpu->nmi, ~NMI_BLOCKED);
	cpu_call(cpu, ATTENTION_NMI);
}
