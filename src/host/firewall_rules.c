/* SPDX-License-Identifier: Apache-2.0 */
/*
 * firewall_rules.c - the rules of the two tables that firewall.c loads, in nft's language.
 */
#include "host/firewall_rules.h"

/*
 * forward: answers, and what was redirected on purpose, pass first; `same` has each bridge with itself.
 * input: what was let in goes on; each packet to the host would else be looked up four times. Not what is related to it:
 * an error of ICMP that names somebody else's connection can come from any network, and ends it.
 * postrouting: an instance that reaches a network of ours by a forward must see the answers come from there.
 * By its address, because bridge netfilter, where it is on, calls this chain without the interface.
 */
const char firewall_rules_inet[] =
	"set bridges { type ifname; }\n"
	"set same { type ifname . ifname; }\n"
	"set nat4 { type ifname; }\n"
	"set nat6 { type ifname; }\n"
	"map snat4 { type ifname : ipv4_addr; }\n"
	"map snat6 { type ifname : ipv6_addr; }\n"
	"set closed4 { type ifname; }\n"
	"set closed6 { type ifname; }\n"
	"set gateways4 { type ipv4_addr; }\n"
	"set gateways6 { type ipv6_addr; }\n"
	"set gateway4 { type ifname . ipv4_addr; }\n"
	"set gateway6 { type ifname . ipv6_addr; }\n"
	"set nets4 { type ipv4_addr; flags interval; }\n"
	"set nets6 { type ipv6_addr; flags interval; }\n"
	"map forward4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
	"map forward6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }\n"
	"map all4 { type ipv4_addr : ipv4_addr; }\n"
	"map all6 { type ipv6_addr : ipv6_addr; }\n"
	"map metadata { type ifname : inet_service; }\n"
	"set metadata_ports { type ifname . inet_service; }\n"
	"chain forward {\n"
	"type filter hook forward priority filter; policy accept;\n"
	"iifname @bridges ip daddr " FIREWALL_METADATA_ADDRESS " drop\n"
	"ct state established,related accept\n"
	"ct status dnat accept\n"
	"iifname @bridges oifname @bridges iifname . oifname != @same drop\n"
	"meta nfproto ipv4 iifname @closed4 oifname != @bridges drop\n"
	"meta nfproto ipv4 oifname @closed4 iifname != @bridges drop\n"
	"meta nfproto ipv6 iifname @closed6 oifname != @bridges drop\n"
	"meta nfproto ipv6 oifname @closed6 iifname != @bridges drop\n"
	"}\n"
	"chain input {\n"
	"type filter hook input priority filter; policy accept;\n"
	"ct state established accept\n"
	"iifname @bridges ip daddr @gateways4 iifname . ip daddr != @gateway4 drop\n"
	"iifname @bridges ip6 daddr @gateways6 iifname . ip6 daddr != @gateway6 drop\n"
	"iifname . tcp dport @metadata_ports ct original ip daddr != " FIREWALL_METADATA_ADDRESS
	" drop\n"
	"}\n"
	"chain to_instances {\n"
	"dnat ip to ip daddr . meta l4proto . th dport map @forward4\n"
	"dnat ip6 to ip6 daddr . meta l4proto . th dport map @forward6\n"
	"dnat ip to ip daddr map @all4\n"
	"dnat ip6 to ip6 daddr map @all6\n"
	"}\n"
	"chain prerouting {\n"
	"type nat hook prerouting priority dstnat; policy accept;\n"
	"ip daddr " FIREWALL_METADATA_ADDRESS " tcp dport 80 redirect to : iifname map @metadata\n"
	"jump to_instances\n"
	"}\n"
	"chain output {\n"
	"type nat hook output priority -100; policy accept;\n"
	"jump to_instances\n"
	"}\n"
	"chain postrouting {\n"
	"type nat hook postrouting priority srcnat; policy accept;\n"
	"ct status dnat oifname @bridges ip saddr @nets4 masquerade\n"
	"ct status dnat oifname @bridges ip6 saddr @nets6 masquerade\n"
	"oifname @bridges return\n"
	"meta nfproto ipv4 snat ip to iifname map @snat4\n"
	"meta nfproto ipv6 snat ip6 to iifname map @snat6\n"
	"meta nfproto ipv4 iifname @nat4 masquerade\n"
	"meta nfproto ipv6 iifname @nat6 masquerade\n"
	"}\n";

/*
 * The metadata service knows who asks by the address: what is sent to it must come from the port whose address it is,
 * what it answers leaves by that port only, and no port speaks as the service.
 *
 * `known4` and `known6` have what all the chains below let pass, in one key: a segment of TCP between sender and port
 * that are both its own. Most frames are, and are looked up once. (The type is read from the frame, so that one with a VLAN's
 * tag is none of them.)
 *
 * `targets` is `v6` once more: nft 1.0.6 has no word for the target of a neighbour advertisement, and raw
 * bytes are no address to it.
 */
const char firewall_rules_bridge[] =
	"map ports { type ifname : verdict; }\n"
	"set macs { type ifname . ether_addr; }\n"
	"set v4 { type ifname . ipv4_addr; }\n"
	"set v6 { type ifname . ipv6_addr; }\n"
	"set known4 { type ifname . ether_addr . ipv4_addr; }\n"
	"set known6 { type ifname . ether_addr . ipv6_addr; }\n"
	"set targets { typeof iifname . @th,64,128; }\n"
	"set metadata_links { type ifname; }\n"
	"set metadata { type ifname . ipv4_addr; }\n"
	"chain ports_in {\n"
	"type filter hook prerouting priority -300; policy accept;\n"
	"ether type ip ip protocol tcp ip daddr != " FIREWALL_METADATA_ADDRESS
	" ip saddr != " FIREWALL_METADATA_ADDRESS
	" iifname . ether saddr . ip saddr @known4 accept\n"
	"ether type ip6 ip6 nexthdr tcp iifname . ether saddr . ip6 saddr @known6 accept\n"
	"ip daddr " FIREWALL_METADATA_ADDRESS
	" iifname @metadata_links iifname . ip saddr != @metadata drop\n"
	"ip saddr " FIREWALL_METADATA_ADDRESS " iifname @metadata_links drop\n"
	"iifname vmap @ports\n"
	"}\n"
	"chain ports_out {\n"
	"type filter hook output priority filter; policy accept;\n"
	"ip saddr " FIREWALL_METADATA_ADDRESS
	" oifname @metadata_links oifname . ip daddr != @metadata drop\n"
	"}\n"
	"chain unconfigured4 {\n"
	"ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 return\n"
	"drop\n"
	"}\n"
	"chain unconfigured6 {\n"
	"ip6 saddr != :: drop\n"
	"icmpv6 type nd-neighbor-solicit iifname . @th,64,128 @targets return\n"
	"icmpv6 type { nd-router-solicit, mld2-listener-report, mld-listener-report, mld-listener-done } return\n"
	"drop\n"
	"}\n"
	"chain check_mac {\n"
	"iifname . ether saddr != @macs drop\n"
	"ether type arp iifname . arp saddr ether != @macs drop\n"
	"}\n"
	"chain check_ip4 {\n"
	"ether type arp arp saddr ip != 0.0.0.0 iifname . arp saddr ip != @v4 drop\n"
	"ether type ip iifname . ip saddr != @v4 jump unconfigured4\n"
	"ether type ip udp sport 67 drop\n"
	"}\n"
	"chain check_ip6 {\n"
	"ether type ip6 iifname . ip6 saddr != @v6 jump unconfigured6\n"
	"icmpv6 type { nd-router-advert, nd-redirect } drop\n"
	"icmpv6 type nd-neighbor-advert iifname . @th,64,128 != @targets drop\n"
	"ether type ip6 udp sport 547 drop\n"
	"}\n"
	"chain mac { jump check_mac; }\n"
	"chain mac_ip4 { jump check_mac; jump check_ip4; }\n"
	"chain mac_ip6 { jump check_mac; jump check_ip6; }\n"
	"chain mac_ip4_ip6 {\n"
	"ether type != { arp, ip, ip6 } drop\n"
	"jump check_mac; jump check_ip4; jump check_ip6;\n"
	"}\n";
