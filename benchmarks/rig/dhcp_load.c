/* DHCP clients by the thousand, in one thread, as PXE firmware is: DISCOVER, OFFER, REQUEST, ACK (RFC 2131).
 *
 *   dhcp_load INTERFACE CLIENTS MAC
 *
 * Client n has the network card MAC + n and is heard on INTERFACE, as if it were a machine behind it; all DISCOVER at
 * once. A client that hears nothing says its last word again after 4, 8, 16 and 32 s (PXE 2.1, section 2.2.3). Prints
 * {"seconds": [one a client, from its first DISCOVER to its ACK], "resent": …, "refused": …, "addresses": …}: words said
 * again, NAKs (after which a client begins anew), and how many different addresses there are. Clients that have no
 * lease after a minute are left out.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6, MAGIC = 0x63825363, XID = 0x4c420000, LONGEST_S = 60 };

struct __attribute__((packed)) frame {
	struct ether_header ether;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	uint32_t ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16], sname[64], file[128];
	uint32_t magic;
	uint8_t options[1200];
};

struct client {
	uint8_t mac[6];
	int state; /* the message that was said last, or ACK */
	int tries;
	double began, due, leased;
	uint32_t address, server;
};

static int sock;
static struct sockaddr_ll link_to = {.sll_family = AF_PACKET, .sll_halen = 6, .sll_addr = {255, 255, 255, 255, 255, 255}};
static unsigned long resent, refused;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	fprintf(stderr, "%s (errno: %s)\n", what, strerror(errno));
	exit(1);
}

static uint16_t checksum(const void *data, int len)
{
	const uint8_t *p = data;
	uint32_t sum = 0;
	for (int i = 0; i < len; i += 2)
		sum += p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static uint8_t *put(uint8_t *at, uint8_t code, int len, const void *data)
{
	*at++ = code, *at++ = len;
	memcpy(at, data, len);
	return at + len;
}

static void say(struct client *c, int number)
{
	static const uint8_t wanted[] = {1, 3, 6, 12, 15, 43, 54, 60, 66, 67};
	struct frame f = {0};
	uint8_t *at = f.options, type = c->state, uuid[17] = {0};
	at = put(at, 53, 1, &type);
	if (c->state == REQUEST) {
		at = put(at, 50, 4, &c->address);
		at = put(at, 54, 4, &c->server);
	}
	at = put(at, 55, sizeof wanted, wanted);
	at = put(at, 57, 2, "\x05\xc0");
	at = put(at, 60, 32, "PXEClient:Arch:00000:UNDI:002001");
	at = put(at, 93, 2, "\0\0");
	at = put(at, 94, 3, "\x01\x02\x01");
	memcpy(uuid + 11, c->mac, 6);
	at = put(at, 97, 17, uuid);
	*at++ = 255;
	int len = at - (uint8_t *)&f;
	memset(f.ether.ether_dhost, 255, 6);
	memcpy(f.ether.ether_shost, c->mac, 6);
	f.ether.ether_type = htons(ETHERTYPE_IP);
	f.ip = (struct iphdr){.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .daddr = 0xffffffff};
	f.ip.tot_len = htons(len - sizeof f.ether);
	f.ip.check = checksum(&f.ip, sizeof f.ip);
	f.udp.source = htons(68), f.udp.dest = htons(67);
	f.udp.len = htons(len - sizeof f.ether - sizeof f.ip);
	f.op = 1, f.htype = 1, f.hlen = 6;
	f.xid = htonl(XID + number), f.flags = htons(0x8000), f.magic = htonl(MAGIC);
	f.secs = htons((uint16_t)(now() - c->began));
	memcpy(f.chaddr, c->mac, 6);
	while (sendto(sock, &f, len, 0, (struct sockaddr *)&link_to, sizeof link_to) < 0)
		if (errno != ENOBUFS && errno != EAGAIN)
			die("send");
	c->due = now() + (4 << (c->tries < 3 ? c->tries : 3));
}

/* A frame that came; 1 when it is the ACK that a client waits for. */
static int heard(struct client *all, int count, const struct frame *f, int len)
{
	if (len < (int)(offsetof(struct frame, options)) || f->ether.ether_type != htons(ETHERTYPE_IP))
		return 0;
	if (f->ip.protocol != IPPROTO_UDP || f->udp.dest != htons(68) || f->op != 2 || f->magic != htonl(MAGIC))
		return 0;
	uint32_t number = ntohl(f->xid) - XID;
	if (number >= (uint32_t)count || memcmp(f->chaddr, all[number].mac, 6))
		return 0;
	struct client *c = &all[number];
	int type = 0;
	uint32_t server = 0;
	for (const uint8_t *at = f->options; at + 1 < (const uint8_t *)f + len && *at != 255; at += *at ? at[1] + 2 : 1) {
		if (*at == 53)
			type = at[2];
		if (*at == 54)
			memcpy(&server, at + 2, 4);
	}
	if (type == OFFER && c->state == DISCOVER) {
		c->address = f->yiaddr, c->server = server, c->state = REQUEST, c->tries = 0;
		say(c, number);
	} else if (type == NAK && c->state == REQUEST) {
		c->state = DISCOVER, c->tries = 0, refused++;
		say(c, number);
	} else if (type == ACK && c->state == REQUEST && f->yiaddr == c->address) {
		c->state = ACK, c->leased = now();
		return 1;
	}
	return 0;
}

static int order(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;
	return (one > other) - (one < other);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: see the top of dhcp_load.c\n");
		return 2;
	}
	int count = atoi(argv[2]), left = count, room = 64 << 20;
	uint64_t mac = 0;
	for (const char *p = argv[3]; *p; p++)
		if (*p != ':')
			mac = mac << 4 | strtoul((char[]){*p, 0}, NULL, 16);
	link_to.sll_ifindex = if_nametoindex(argv[1]);
	struct sockaddr_ll own = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = link_to.sll_ifindex};
	sock = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_IP));
	setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	setsockopt(sock, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
	if (bind(sock, (struct sockaddr *)&own, sizeof own))
		die(argv[1]);
	struct client *all = calloc(count, sizeof *all);
	double began = now();
	for (int i = 0; i < count; i++) {
		for (int byte = 0; byte < 6; byte++)
			all[i].mac[byte] = (mac + i) >> (40 - 8 * byte);
		all[i].state = DISCOVER, all[i].began = now();
		say(&all[i], i);
	}
	while (left > 0 && now() - began < LONGEST_S) {
		struct pollfd one = {.fd = sock, .events = POLLIN};
		static struct frame f;
		int len;
		poll(&one, 1, 50);
		while ((len = recv(sock, &f, sizeof f, 0)) > 0)
			left -= heard(all, count, &f, len);
		double moment = now();
		for (int i = 0; i < count; i++)
			if (all[i].state != ACK && all[i].due <= moment) {
				all[i].tries++;
				resent++;
				say(&all[i], i);
			}
	}
	uint32_t *addresses = calloc(count, sizeof *addresses);
	int leased = 0, different = left < count;
	printf("{\"seconds\": [");
	for (int i = 0; i < count; i++) {
		if (all[i].state != ACK)
			continue;
		printf("%s%.6f", leased ? ", " : "", all[i].leased - all[i].began);
		addresses[leased++] = all[i].address;
	}
	qsort(addresses, leased, sizeof *addresses, order);
	for (int i = 1; i < leased; i++)
		different += addresses[i] != addresses[i - 1];
	printf("], \"resent\": %lu, \"refused\": %lu, \"addresses\": %d}\n", resent, refused, different);
	return 0;
}
