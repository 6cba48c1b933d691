/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.c - CPUs by KVM, with its LAPIC, IOAPIC, PIC and PIT.
 *
 * A kick sets immediate_exit in the page shared with KVM and sends the CPU's thread a signal whose
 * handler does nothing: either the next KVM_RUN returns at once or the present one is interrupted.
 */
#include "vmm/cpu/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmm/cpu/kvm_cpuid.h"
#include "vmm/cpu/kvm_state.h"

#define KICK_SIGNAL SIGUSR1
/* Four pages that KVM needs on some CPUs, below the largest firmware. */
#define IDENTITY_ADDRESS UINT64_C(0xfeffc000)
#define TSS_ADDRESS      0xfeffd000ul
#define DOORBELLS_MAX    512

struct vcpu {
	int fd;
	struct kvm_run *run;
	uint32_t port_index; /* of a string instruction: how many were handed out */
	_Atomic bool has_thread;
	pthread_t thread;
};

struct doorbell {
	guest_addr at;
	int event_fd;
};

struct kvm {
	struct cpus cpus;
	int kvm_fd, vm_fd;
	size_t run_bytes;
	struct vcpu vcpus[CPUS_MAX];
	pthread_mutex_t lock;
	struct doorbell doorbells[DOORBELLS_MAX];
	size_t doorbell_count;
};

static struct kvm *kvm_of(struct cpus *cpus)
{
	return container_of(cpus, struct kvm, cpus);
}

static const struct capability {
	int number;
	const char *name;
} capabilities[] = {
	{ KVM_CAP_IRQCHIP, "interrupt controllers" },
	{ KVM_CAP_USER_MEMORY, "memory" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd of any length" },
	{ KVM_CAP_SIGNAL_MSI, "message-signalled interrupts" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate exit" },
	{ KVM_CAP_XSAVE, "xsave" },
	{ KVM_CAP_PIT2, "a timer" },
};

static int open_kvm(int *ret, struct error *e)
{
	cleanup(close) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return error_errno(e, "open /dev/kvm");
	if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return error_set(e, -ENOTSUP, "/dev/kvm speaks another version");
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, capabilities[i].number) <= 0)
			return error_set(
				e, -ENOTSUP, "this host's KVM has no %s", capabilities[i].name);
	*ret = TAKE_FD(fd);
	return 0;
}

static int kvm_probe(struct error *e)
{
	cleanup(close) int fd = -1;
	return open_kvm(&fd, e);
}

static void ignore(int signal)
{
	(void)signal;
}

static void kvm_close(struct cpus *cpus)
{
	struct kvm *kvm = kvm_of(cpus);
	for (uint32_t i = 0; i < cpus->count; i++) {
		if (kvm->vcpus[i].run)
			munmap(kvm->vcpus[i].run, kvm->run_bytes);
		if (kvm->vcpus[i].fd >= 0)
			close(kvm->vcpus[i].fd);
	}
	if (kvm->vm_fd >= 0)
		close(kvm->vm_fd);
	if (kvm->kvm_fd >= 0)
		close(kvm->kvm_fd);
	pthread_mutex_destroy(&kvm->lock);
	free(kvm);
}

static int add_memory(struct kvm *kvm, struct error *e)
{
	const struct guest *guest = kvm->cpus.guest;
	for (uint32_t i = 0; i < guest->region_count; i++) {
		const struct guest_region *region = &guest->regions[i];
		struct kvm_userspace_memory_region memory = {
			.slot = i,
			.flags = region->access == GUEST_ROM ? KVM_MEM_READONLY : 0,
			.guest_phys_addr = region->at,
			.memory_size = region->bytes,
			.userspace_addr = (uint64_t)(uintptr_t)region->host,
		};
		if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &memory) < 0)
			return error_errno(e, "KVM: memory at 0x%jx", (uintmax_t)region->at);
	}
	return 0;
}

static int add_chips(struct kvm *kvm, struct error *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = IDENTITY_ADDRESS;
	if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return error_errno(e, "KVM: set the address of the identity map");
	if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
		return error_errno(e, "KVM: set the TSS address");
	if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return error_errno(e, "KVM: create the interrupt controllers");
	if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
		return error_errno(e, "KVM: create the timer");
	return 0;
}

static int add_cpu(struct kvm *kvm, uint32_t cpu, struct error *e)
{
	struct vcpu *vcpu = &kvm->vcpus[cpu];
	vcpu->fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, cpu);
	if (vcpu->fd < 0)
		return error_errno(e, "KVM: create CPU %u", cpu);
	void *run = mmap(NULL, kvm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (run == MAP_FAILED)
		return error_errno(e, "KVM: map CPU %u", cpu);
	vcpu->run = run;
	int r = kvm_set_cpuid(kvm->kvm_fd, vcpu->fd, cpu, kvm->cpus.count);
	return r < 0 ? error_code(e, r, "KVM: CPUID of CPU %u", cpu) : 0;
}

static int set_up(struct kvm *kvm, struct error *e)
{
	int r = open_kvm(&kvm->kvm_fd, e);
	if (r < 0)
		return r;
	int bytes = ioctl(kvm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return error_errno(e, "KVM: size of a CPU");
	kvm->run_bytes = (size_t)bytes;
	kvm->vm_fd = ioctl(kvm->kvm_fd, KVM_CREATE_VM, 0);
	if (kvm->vm_fd < 0)
		return error_errno(e, "KVM: create a machine");
	r = add_chips(kvm, e);
	if (r == 0)
		r = add_memory(kvm, e);
	for (uint32_t i = 0; r == 0 && i < kvm->cpus.count; i++)
		r = add_cpu(kvm, i, e);
	return r;
}

static int kvm_open(struct guest *guest, uint32_t count, struct cpus **ret, struct error *e)
{
	if (count == 0 || count > CPUS_MAX)
		return error_set(e, -EINVAL, "cpus: 1 to %d, not %u", CPUS_MAX, count);
	struct sigaction action = { .sa_handler = ignore };
	if (sigaction(KICK_SIGNAL, &action, NULL) < 0)
		return error_errno(e, "set a signal handler");
	struct kvm *kvm = alloc(struct kvm);
	kvm->cpus = (struct cpus){ .engine = &kvm_engine, .guest = guest, .count = count };
	kvm->kvm_fd = kvm->vm_fd = -1;
	pthread_mutex_init(&kvm->lock, NULL);
	for (uint32_t i = 0; i < count; i++)
		kvm->vcpus[i].fd = -1;
	int r = set_up(kvm, e);
	if (r < 0) {
		kvm_close(&kvm->cpus);
		return r;
	}
	*ret = &kvm->cpus;
	return 0;
}

/* The kernel does it all. */
static void kvm_prepare(struct cpus *cpus, uint32_t cpu)
{
	(void)cpus;
	(void)cpu;
}

static int kvm_start(struct cpus *cpus, void (*prepare)(void *data), void *data)
{
	(void)cpus;
	(void)prepare;
	(void)data;
	return 0;
}

/* Where KVM keeps what goes through the port, of the element that is next. */
static uint8_t *port_data(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	return (uint8_t *)run + run->io.data_offset + (size_t)vcpu->port_index * run->io.size;
}

static void port_exit(struct vcpu *vcpu, struct cpu_exit *exit)
{
	const struct kvm_run *run = vcpu->run;
	*exit = (struct cpu_exit){
		.why = CPU_PORT,
		.is_write = run->io.direction == KVM_EXIT_IO_OUT,
		.bytes = run->io.size,
		.at = run->io.port,
	};
	if (exit->is_write)
		memcpy(&exit->value, port_data(vcpu), run->io.size);
}

static void mmio_exit(const struct kvm_run *run, struct cpu_exit *exit)
{
	*exit = (struct cpu_exit){
		.why = CPU_MMIO,
		.is_write = run->mmio.is_write,
		.bytes = (uint8_t)run->mmio.len,
		.at = run->mmio.phys_addr,
	};
	if (exit->is_write)
		memcpy(&exit->value, run->mmio.data, run->mmio.len <= 8 ? run->mmio.len : 8);
}

/* Takes the answer to the last exit; true if a string instruction has another element. */
static bool finish_exit(struct vcpu *vcpu, struct cpu_exit *exit)
{
	struct kvm_run *run = vcpu->run;
	if (exit->why == CPU_MMIO && !exit->is_write)
		memcpy(run->mmio.data, &exit->value, exit->bytes);
	if (exit->why != CPU_PORT || run->exit_reason != KVM_EXIT_IO)
		return false;
	if (!exit->is_write)
		memcpy(port_data(vcpu), &exit->value, exit->bytes);
	if (++vcpu->port_index >= run->io.count)
		return false;
	port_exit(vcpu, exit);
	return true;
}

static int run_once(struct vcpu *vcpu, struct cpu_exit *exit)
{
	struct kvm_run *run = vcpu->run;
	vcpu->port_index = 0;
	if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
		if (errno != EINTR && errno != EAGAIN)
			return -EIO;
		__atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		*exit = (struct cpu_exit){ .why = CPU_KICKED };
		return 0;
	}
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		port_exit(vcpu, exit);
		return 0;
	case KVM_EXIT_MMIO:
		mmio_exit(run, exit);
		return 0;
	case KVM_EXIT_SHUTDOWN:
		*exit = (struct cpu_exit){ .why = CPU_SHUTDOWN };
		return 0;
	case KVM_EXIT_INTR:
		*exit = (struct cpu_exit){ .why = CPU_KICKED };
		return 0;
	default:
		return -EIO;
	}
}

static int kvm_run_cpu(struct cpus *cpus, uint32_t cpu, struct cpu_exit *exit)
{
	struct vcpu *vcpu = &kvm_of(cpus)->vcpus[cpu];
	if (!vcpu->has_thread) {
		vcpu->thread = pthread_self();
		vcpu->has_thread = true;
	}
	if (finish_exit(vcpu, exit))
		return 0;
	return run_once(vcpu, exit);
}

static void kvm_kick(struct cpus *cpus, uint32_t cpu)
{
	struct vcpu *vcpu = &kvm_of(cpus)->vcpus[cpu];
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (vcpu->has_thread)
		pthread_kill(vcpu->thread, KICK_SIGNAL);
}

static void kvm_irq(struct cpus *cpus, uint32_t line, bool level)
{
	struct kvm_irq_level irq = { .irq = line, .level = level };
	ioctl(kvm_of(cpus)->vm_fd, KVM_IRQ_LINE, &irq);
}

static void kvm_msi(struct cpus *cpus, guest_addr at, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)at,
		.address_hi = (uint32_t)(at >> 32),
		.data = data,
	};
	ioctl(kvm_of(cpus)->vm_fd, KVM_SIGNAL_MSI, &msi);
}

static void kvm_nmi(struct cpus *cpus, uint32_t cpu)
{
	ioctl(kvm_of(cpus)->vcpus[cpu].fd, KVM_NMI, 0);
}

static int set_doorbell(struct kvm *kvm, guest_addr at, int event_fd, bool on)
{
	struct kvm_ioeventfd bell = {
		.addr = at,
		.fd = event_fd,
		.flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};
	return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &bell) < 0 ? -errno : 0;
}

static int kvm_doorbell_locked(struct kvm *kvm, guest_addr at, int event_fd)
{
	for (size_t i = 0; i < kvm->doorbell_count; i++) {
		struct doorbell *doorbell = &kvm->doorbells[i];
		if (doorbell->at != at)
			continue;
		int r = set_doorbell(kvm, at, doorbell->event_fd, false);
		*doorbell = kvm->doorbells[--kvm->doorbell_count];
		if (event_fd < 0 || r < 0)
			return r;
		break;
	}
	if (event_fd < 0)
		return -ENOENT;
	if (kvm->doorbell_count == DOORBELLS_MAX)
		return -ENOSPC;
	int r = set_doorbell(kvm, at, event_fd, true);
	if (r == 0)
		kvm->doorbells[kvm->doorbell_count++] = (struct doorbell){ at, event_fd };
	return r;
}

static int kvm_doorbell(struct cpus *cpus, guest_addr at, int event_fd)
{
	struct kvm *kvm = kvm_of(cpus);
	pthread_mutex_lock(&kvm->lock);
	int r = kvm_doorbell_locked(kvm, at, event_fd);
	pthread_mutex_unlock(&kvm->lock);
	return r;
}

static int kvm_load(struct cpus *cpus, uint32_t cpu, const struct cpu_state *state)
{
	return kvm_load_cpu(kvm_of(cpus)->vcpus[cpu].fd, state);
}

static int kvm_save(struct cpus *cpus, uint32_t cpu, struct cpu_state *state)
{
	return kvm_save_cpu(kvm_of(cpus)->vcpus[cpu].fd, state);
}

static int kvm_load_chips_of(struct cpus *cpus, const struct chips_state *state)
{
	return kvm_load_chips(kvm_of(cpus)->vm_fd, state);
}

static int kvm_save_chips_of(struct cpus *cpus, struct chips_state *state)
{
	return kvm_save_chips(kvm_of(cpus)->vm_fd, state);
}

const struct engine kvm_engine = {
	.name = "kvm",
	.probe = kvm_probe,
	.open = kvm_open,
	.start = kvm_start,
	.prepare = kvm_prepare,
	.close = kvm_close,
	.run = kvm_run_cpu,
	.kick = kvm_kick,
	.irq = kvm_irq,
	.msi = kvm_msi,
	.nmi = kvm_nmi,
	.doorbell = kvm_doorbell,
	.load = kvm_load,
	.save = kvm_save,
	.load_chips = kvm_load_chips_of,
	.save_chips = kvm_save_chips_of,
};
