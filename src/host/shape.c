/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shape.c - holds an interface to a bandwidth in each direction, on the host's end of it.
 *
 * Theory of operation. An interface X with a limit on what comes out of it has a u32 filter at its ingress
 * that redirects everything to the shaper's egress. There stands an HTB whose class is found by a BPF
 * program of six instructions: the number of the interface that a packet came from, cut to 16 bits, is
 * the minor number of its class. A packet that has waited there goes on as if it had just come out of X.
 *
 * The bucket is 10 ms of the rate but holds at least one packet of the largest size that segmentation
 * offload makes, so that the kernel need not cut it; the queue is 50 ms. Both were found by measuring:
 * less loses rate at 10 Mbit/s, more lets too much through in a short test.
 */
#include "host/shape.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <string.h>
#include <sys/syscall.h>

#include "host/link.h"

#define LARGEST_PACKET_BYTES UINT64_C(66000)
#define BUCKET_NS            (10 * NS_PER_MS)
#define QUEUE_NS             (50 * NS_PER_MS)
#define QUEUE_MIN_BYTES      (4 * LARGEST_PACKET_BYTES)
#define NS_PER_TICK          64
#define HTB_VERSION          3
#define HTB_HANDLE           TC_H_MAKE(1U << 16, 0)
#define FILTER_PRIORITY      1U

/* The bytes that pass in `ns` at a rate, at least `least` and at most 32 bits. */
static uint32_t bytes_in(uint64_t bytes_per_second, uint64_t ns, uint64_t least)
{
	uint64_t bytes = bytes_per_second / 1000 * ns / NS_PER_MS;
	if (bytes < least)
		bytes = least;
	return bytes > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)bytes;
}

static uint32_t rate_low(uint64_t bytes_per_second)
{
	return bytes_per_second > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes_per_second;
}

/* The time that `bytes` take at the rate, in the scheduler's ticks. */
static uint32_t ticks_of(uint64_t bytes, uint64_t bytes_per_second)
{
	uint64_t ticks = bytes * NS_PER_SEC / bytes_per_second / NS_PER_TICK;
	return ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

/* The minor number of an interface's class; the BPF program computes the same. */
static uint32_t class_of(uint32_t link)
{
	uint32_t minor = link & 0xffff;
	return HTB_HANDLE | (minor ?: 0xffff);
}

static void tc_message(struct netlink *netlink, uint16_t type, uint16_t flags,
	const struct tcmsg *header, const char *kind)
{
	netlink_message(netlink, type, flags, header, sizeof(*header));
	if (kind)
		netlink_put_text(netlink, TCA_KIND, kind);
}

static int load_classifier(struct error *e)
{
	static const struct bpf_insn program[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W,
			.dst_reg = BPF_REG_0,
			.src_reg = BPF_REG_1,
			.off = offsetof(struct __sk_buff, ingress_ifindex) },
		{ .code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_0, .imm = 0xffff },
		{ .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = BPF_REG_0, .off = 1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0xffff },
		{ .code = BPF_ALU64 | BPF_OR | BPF_K,
			.dst_reg = BPF_REG_0,
			.imm = (int)HTB_HANDLE },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attributes = {
		.prog_type = BPF_PROG_TYPE_SCHED_CLS,
		.insn_cnt = ARRAY_SIZE(program),
		.insns = (uint64_t)(uintptr_t)program,
		.license = (uint64_t)(uintptr_t) "Apache-2.0",
		.prog_name = "berth_shape",
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
	if (fd < 0)
		return error_errno(e, "load the BPF program that tells interfaces apart");
	return fd;
}

static int make_ifb(struct netlink *netlink, const char *shaper, struct error *e)
{
	struct ifinfomsg header = { .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
	netlink_begin(netlink);
	netlink_message(netlink, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof(header));
	netlink_put_text(netlink, IFLA_IFNAME, shaper);
	size_t info = netlink_nest(netlink, IFLA_LINKINFO);
	netlink_put_text(netlink, IFLA_INFO_KIND, "ifb");
	netlink_nest_end(netlink, info);
	int r = netlink_send(netlink, e);
	if (r < 0 && r != -EEXIST)
		return error_prefix(e, r, "make the ifb device %s", shaper);
	return r;
}

static int fill_shaper(struct netlink *netlink, uint32_t index, struct error *e)
{
	cleanup(close) int program = load_classifier(e);
	if (program < 0)
		return program;
	struct tcmsg qdisc = {
		.tcm_ifindex = (int)index,
		.tcm_handle = HTB_HANDLE,
		.tcm_parent = TC_H_ROOT,
	};
	struct tc_htb_glob options = { .version = HTB_VERSION, .rate2quantum = 10 };
	netlink_begin(netlink);
	tc_message(netlink, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &qdisc, "htb");
	size_t nest = netlink_nest(netlink, TCA_OPTIONS);
	netlink_put(netlink, TCA_HTB_INIT, &options, sizeof(options));
	netlink_nest_end(netlink, nest);

	struct tcmsg filter = {
		.tcm_ifindex = (int)index,
		.tcm_handle = 1,
		.tcm_parent = HTB_HANDLE,
		.tcm_info = TC_H_MAKE(FILTER_PRIORITY << 16, htons(ETH_P_ALL)),
	};
	tc_message(netlink, RTM_NEWTFILTER, NLM_F_CREATE, &filter, "bpf");
	nest = netlink_nest(netlink, TCA_OPTIONS);
	netlink_put_u32(netlink, TCA_BPF_FD, (uint32_t)program);
	netlink_put_text(netlink, TCA_BPF_NAME, "berth_shape");
	netlink_nest_end(netlink, nest);
	return netlink_send(netlink, e);
}

static int delete_link(struct netlink *netlink, uint32_t index)
{
	struct ifinfomsg header = { .ifi_index = (int)index };
	netlink_begin(netlink);
	netlink_message(netlink, RTM_DELLINK, 0, &header, sizeof(header));
	return netlink_send(netlink, NULL);
}

int shape_add_shaper(struct netlink *netlink, const char *shaper, struct error *e)
{
	int r = make_ifb(netlink, shaper, e);
	if (r == -EEXIST)
		return 0;
	if (r < 0)
		return r;
	uint32_t index = 0;
	r = link_index(netlink, shaper, &index, e);
	if (r < 0)
		return r;
	r = fill_shaper(netlink, index, e);
	if (r < 0) {
		(void)!delete_link(netlink, index);
		return error_prefix(e, r, "set up the shaper %s", shaper);
	}
	return 0;
}

/* What the host sends into the interface: a token bucket at its root. */
static int limit_into(struct netlink *netlink, uint32_t link, uint64_t bits, struct error *e)
{
	struct tcmsg header = {
		.tcm_ifindex = (int)link,
		.tcm_handle = HTB_HANDLE,
		.tcm_parent = TC_H_ROOT,
	};
	netlink_begin(netlink);
	if (bits == 0) {
		tc_message(netlink, RTM_DELQDISC, 0, &header, NULL);
		int r = netlink_send(netlink, e);
		/* It had no limit. */
		return r == -ENOENT || r == -EINVAL ? 0 : r;
	}
	uint64_t rate = bits / 8;
	uint32_t burst = bytes_in(rate, BUCKET_NS, LARGEST_PACKET_BYTES);
	struct tc_tbf_qopt options = {
		.rate = { .rate = rate_low(rate), .linklayer = TC_LINKLAYER_ETHERNET },
		.limit = bytes_in(rate, QUEUE_NS, QUEUE_MIN_BYTES) + burst,
		.buffer = ticks_of(burst, rate),
	};
	tc_message(netlink, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &header, "tbf");
	size_t nest = netlink_nest(netlink, TCA_OPTIONS);
	netlink_put(netlink, TCA_TBF_PARMS, &options, sizeof(options));
	netlink_put_u32(netlink, TCA_TBF_BURST, burst);
	if (rate > UINT32_MAX)
		netlink_put_u64(netlink, TCA_TBF_RATE64, rate);
	netlink_nest_end(netlink, nest);
	return netlink_send(netlink, e);
}

/* The class of an interface on the shaper, and its queue. */
static void put_class(struct netlink *netlink, uint32_t shaper, uint32_t link, uint64_t bits)
{
	uint64_t rate = bits / 8;
	uint32_t ticks = ticks_of(bytes_in(rate, BUCKET_NS, LARGEST_PACKET_BYTES), rate);
	struct tc_htb_opt options = {
		.rate = { .rate = rate_low(rate), .linklayer = TC_LINKLAYER_ETHERNET },
		.ceil = { .rate = rate_low(rate), .linklayer = TC_LINKLAYER_ETHERNET },
		.buffer = ticks,
		.cbuffer = ticks,
		.quantum = (uint32_t)LARGEST_PACKET_BYTES,
	};
	struct tcmsg class = {
		.tcm_ifindex = (int)shaper,
		.tcm_handle = class_of(link),
		.tcm_parent = HTB_HANDLE,
	};
	tc_message(netlink, RTM_NEWTCLASS, NLM_F_CREATE, &class, "htb");
	size_t nest = netlink_nest(netlink, TCA_OPTIONS);
	netlink_put(netlink, TCA_HTB_PARMS, &options, sizeof(options));
	if (rate > UINT32_MAX) {
		netlink_put_u64(netlink, TCA_HTB_RATE64, rate);
		netlink_put_u64(netlink, TCA_HTB_CEIL64, rate);
	}
	netlink_nest_end(netlink, nest);

	struct tcmsg queue = { .tcm_ifindex = (int)shaper, .tcm_parent = class_of(link) };
	struct tc_fifo_qopt limit = { .limit = bytes_in(rate, QUEUE_NS, QUEUE_MIN_BYTES) };
	tc_message(netlink, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &queue, "bfifo");
	netlink_put(netlink, TCA_OPTIONS, &limit, sizeof(limit));
}

/* Sends all that comes out of the interface through the shaper. */
static void put_detour(struct netlink *netlink, uint32_t shaper, uint32_t link)
{
	struct tcmsg hook = {
		.tcm_ifindex = (int)link,
		.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0),
		.tcm_parent = TC_H_CLSACT,
	};
	tc_message(netlink, RTM_NEWQDISC, NLM_F_CREATE, &hook, "clsact");

	struct tcmsg filter = {
		.tcm_ifindex = (int)link,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		.tcm_info = TC_H_MAKE(FILTER_PRIORITY << 16, htons(ETH_P_ALL)),
	};
	struct {
		struct tc_u32_sel head;
		struct tc_u32_key key; /* no bit of it must match */
	} all = { .head = { .flags = TC_U32_TERMINAL, .nkeys = 1 } };
	struct tc_mirred redirect = {
		.action = TC_ACT_STOLEN,
		.eaction = TCA_EGRESS_REDIR,
		.ifindex = shaper,
	};
	tc_message(netlink, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &filter, "u32");
	size_t options = netlink_nest(netlink, TCA_OPTIONS);
	netlink_put(netlink, TCA_U32_SEL, &all, sizeof(all));
	size_t actions = netlink_nest(netlink, TCA_U32_ACT);
	size_t first = netlink_nest(netlink, 1);
	netlink_put_text(netlink, TCA_ACT_KIND, "mirred");
	size_t parameters = netlink_nest(netlink, TCA_ACT_OPTIONS);
	netlink_put(netlink, TCA_MIRRED_PARMS, &redirect, sizeof(redirect));
	netlink_nest_end(netlink, parameters);
	netlink_nest_end(netlink, first);
	netlink_nest_end(netlink, actions);
	netlink_nest_end(netlink, options);
}

static void put_delete_class(struct netlink *netlink, uint32_t shaper, uint32_t handle)
{
	struct tcmsg class = {
		.tcm_ifindex = (int)shaper,
		.tcm_handle = handle,
		.tcm_parent = HTB_HANDLE,
	};
	tc_message(netlink, RTM_DELTCLASS, 0, &class, NULL);
}

/* 1, 0 or a negative errno. Where one once was another stands, which the kernel says is not meant. */
static int has_detour(struct netlink *netlink, uint32_t link, struct error *e)
{
	struct tcmsg hook = { .tcm_ifindex = (int)link, .tcm_parent = TC_H_CLSACT };
	netlink_begin(netlink);
	tc_message(netlink, RTM_GETQDISC, 0, &hook, "clsact");
	int r = netlink_send(netlink, e);
	if (r == -ENOENT || r == -EINVAL)
		return 0;
	return r < 0 ? r : 1;
}

static void put_delete_detour(struct netlink *netlink, uint32_t link)
{
	struct tcmsg hook = { .tcm_ifindex = (int)link, .tcm_parent = TC_H_CLSACT };
	tc_message(netlink, RTM_DELQDISC, 0, &hook, "clsact");
}

static int limit_out_of(
	struct netlink *netlink, uint32_t link, const char *shaper, uint64_t bits, struct error *e)
{
	uint32_t index = 0;
	if (bits == 0 && !shaper)
		return 0;
	int r = link_index(netlink, shaper ?: "", &index, e);
	if (r < 0)
		return bits == 0 && r == -ENODEV ? 0 : r;
	int there = has_detour(netlink, link, e);
	if (there < 0 || (bits == 0 && !there))
		return there;
	netlink_begin(netlink);
	if (bits != 0) {
		/* The class first, so that nothing passes by it. */
		put_class(netlink, index, link, bits);
		if (!there)
			put_detour(netlink, index, link);
		r = netlink_send(netlink, e);
		if (r < 0 && !there) {
			netlink_begin(netlink);
			put_delete_detour(netlink, link);
			(void)!netlink_send(netlink, NULL);
		}
		return r;
	}
	put_delete_detour(netlink, link);
	put_delete_class(netlink, index, class_of(link));
	return netlink_send(netlink, e);
}

static int check_rate(uint64_t bits, struct error *e)
{
	if (bits != 0 && (bits < SHAPE_BITS_MIN || bits > SHAPE_BITS_MAX))
		return error_set(e, -EINVAL, "a limit is from 8kbit to 1Tbit");
	return 0;
}

int shape_set(struct netlink *netlink, const char *link, const char *shaper,
	const struct shape_rates *rates, struct error *e)
{
	int r = check_rate(rates->into_bits, e);
	if (r == 0)
		r = check_rate(rates->out_of_bits, e);
	if (r < 0)
		return r;
	uint32_t index = 0;
	r = link_index(netlink, link, &index, e);
	if (r == 0)
		r = limit_into(netlink, index, rates->into_bits, e);
	if (r == 0)
		r = limit_out_of(netlink, index, shaper, rates->out_of_bits, e);
	if (r < 0)
		return error_prefix(e, r, "limit interface %s", link);
	return 0;
}

#define CLASSES_PER_SWEEP 256

struct sweep {
	uint64_t alive[0x10000 / 64]; /* by minor number */
	uint32_t shaper;
	uint32_t handles[CLASSES_PER_SWEEP];
	size_t count;
};

static int note_alive(void *data, const struct link_info *link)
{
	struct sweep *sweep = data;
	uint32_t minor = TC_H_MIN(class_of((uint32_t)link->index));
	sweep->alive[minor / 64] |= UINT64_C(1) << minor % 64;
	return 0;
}

static int find_dead(void *data, uint16_t type, const void *message, size_t length)
{
	struct sweep *sweep = data;
	const struct tcmsg *header = message;
	if (type != RTM_NEWTCLASS || length < sizeof(*header) ||
		(uint32_t)header->tcm_ifindex != sweep->shaper || sweep->count == CLASSES_PER_SWEEP)
		return 0;
	uint32_t minor = TC_H_MIN(header->tcm_handle);
	if (!(sweep->alive[minor / 64] >> minor % 64 & 1))
		sweep->handles[sweep->count++] = header->tcm_handle;
	return 0;
}

static int sweep_some(struct netlink *netlink, struct sweep *sweep, struct error *e)
{
	struct tcmsg header = { .tcm_ifindex = (int)sweep->shaper };
	sweep->count = 0;
	netlink_begin(netlink);
	netlink_message(netlink, RTM_GETTCLASS, NLM_F_DUMP, &header, sizeof(header));
	int r = netlink_get(netlink, find_dead, sweep, e);
	if (r < 0)
		return r;
	netlink_begin(netlink);
	for (size_t i = 0; i < sweep->count; i++)
		put_delete_class(netlink, sweep->shaper, sweep->handles[i]);
	return netlink_send(netlink, e);
}

int shape_sweep(struct netlink *netlink, const char *shaper, struct error *e)
{
	cleanup(free) struct sweep *sweep = alloc(struct sweep);
	int r = link_index(netlink, shaper, &sweep->shaper, e);
	if (r < 0)
		return r == -ENODEV ? 0 : r;
	r = link_list(netlink, note_alive, sweep, e);
	if (r < 0)
		return r;
	do {
		r = sweep_some(netlink, sweep, e);
		if (r < 0)
			return error_prefix(e, r, "clear the shaper %s", shaper);
	} while (sweep->count == CLASSES_PER_SWEEP);
	return 0;
}
