/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lwipopts.h - which parts of lwIP there are, and how large.
 *
 * Callbacks only: sockets, threads and timers are the library OS's own. Memory comes from its heap.
 */
#pragma once

#define NO_SYS                         1
#define SYS_LIGHTWEIGHT_PROT           0
#define LWIP_NETCONN                   0
#define LWIP_SOCKET                    0
#define LWIP_TIMERS                    1
#define LWIP_TIMERS_CUSTOM             1 /* net/clock.c calls them, so that an idle instance sleeps */
#define LWIP_STATS                     0
#define LWIP_NOASSERT                  1
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1

void *net_alloc(unsigned long bytes);
void *net_alloc_zeroed(unsigned long count, unsigned long bytes);
void net_free(void *pointer);

#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_ALIGNMENT   8
#define mem_clib_malloc net_alloc
#define mem_clib_calloc net_alloc_zeroed
#define mem_clib_free   net_free

/* Of a few bytes, whose number is known when this is compiled: moves, no call. */
#define SMEMCPY(to, from, size) __builtin_memcpy(to, from, size)

#define LWIP_IPV4     1
#define LWIP_IPV6     1
#define LWIP_ARP      1
#define LWIP_ETHERNET 1
#define LWIP_ICMP     1
#define LWIP_ICMP6    1
#define LWIP_RAW      1
#define LWIP_UDP      1
#define LWIP_TCP      1
#define LWIP_DHCP     1
#define LWIP_IGMP     1
#define LWIP_IPV6_MLD 1
#define LWIP_DNS \
	1 /* keeps the servers that leases and routers name; the program's libc asks them */
#define DNS_MAX_SERVERS      2
#define LWIP_IPV6_AUTOCONFIG 1
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS \
	0 /* who gave the address has seen to that, and it costs a second */
#define LWIP_IPV6_DHCP6                0
#define LWIP_ND6_NUM_DESTINATIONS      64
#define LWIP_ND6_NUM_NEIGHBORS         64
#define MEMP_NUM_ND6_QUEUE             64
#define LWIP_IPV6_FORWARD              0
#define ARP_TABLE_SIZE                 64
#define ARP_QUEUEING                   1
#define ETHARP_SUPPORT_STATIC_ENTRIES  0
#define DHCP_DOES_ARP_CHECK            0
#define LWIP_DHCP_MAX_DNS_SERVERS      2
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 2
#define LWIP_ND6_ALLOW_RA_UPDATES      1
#define LWIP_MULTICAST_TX_OPTIONS      1

#define LWIP_NETIF_HOSTNAME                1
#define LWIP_NETIF_STATUS_CALLBACK         0
#define LWIP_NETIF_LOOPBACK                1
#define LWIP_HAVE_LOOPIF                   1
#define LWIP_LOOPBACK_MAX_PBUFS            0
#define LWIP_NETIF_LOOPBACK_MULTITHREADING 0
#define LWIP_CHECKSUM_CTRL_PER_NETIF       1
#define LWIP_CHECKSUM_ON_COPY              0

#define SO_REUSE           1
#define SO_REUSE_RXTOALL   1
#define IP_SOF_BROADCAST   1
#define LWIP_TCP_KEEPALIVE 1

#define TCP_MSS                    1460
#define TCP_WND                    (512 * 1024)
#define LWIP_WND_SCALE             1
#define TCP_RCV_SCALE              4
#define TCP_WND_UPDATE_THRESHOLD   (TCP_WND_MAX(pcb) / 4) /* 64 KiB / 4 if it is not scaled */
#define TCP_SND_BUF                (512 * 1024)
#define TCP_SND_QUEUELEN           2048
#define TCP_SNDLOWAT               (64 * 1024)
#define TCP_SNDQUEUELOWAT          256
#define TCP_QUEUE_OOSEQ            1
#define TCP_OOSEQ_MAX_BYTES        (512 * 1024)
#define TCP_OOSEQ_MAX_PBUFS        512
#define TCP_OVERSIZE               TCP_MSS
#define LWIP_TCP_SACK_OUT          1
#define LWIP_TCP_TIMESTAMPS        0
#define TCP_LISTEN_BACKLOG         1
#define TCP_DEFAULT_LISTEN_BACKLOG 0xff
#define TCP_TMR_INTERVAL           50 /* ms; times are counted in twice that, and a delayed ACK waits one */
#define TCP_MSL \
	1000UL /* a short TIME_WAIT: thousands of them are looked through for each segment */
#define LWIP_TCP_MAX_SACK_NUM     4
#define LWIP_TCP_PCB_NUM_EXT_ARGS 2 /* tcp_table.c */

#define DEFAULT_RAW_RECVMBOX_SIZE 0

struct netif;
struct ip6_addr;
const struct ip6_addr *net_gateway6(struct netif *netif, const struct ip6_addr *to);
#define LWIP_HOOK_ND6_GET_GW(netif, to) net_gateway6(netif, to)

struct tcp_pcb;
signed char net_takes_packet(const struct tcp_pcb *pcb);
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, length, first, second, packet) \
	((pcb)->state == LISTEN ? net_takes_packet(pcb) : ERR_OK)

struct pbuf;
int net_sees_packet(const struct pbuf *p);
#define LWIP_HOOK_IP4_INPUT(p, netif) net_sees_packet(p)
#define LWIP_HOOK_IP6_INPUT(p, netif) net_sees_packet(p)

unsigned int net_first_sequence(void);
#define LWIP_HOOK_TCP_ISN(local_ip, local_port, remote_ip, remote_port) net_first_sequence()
