/* TFTP clients by the dozen, in one thread: RFC 1350, 2347, 2348 and 7440, every block compared with the file.
 *
 *   tftp_load SERVER NAME FILE CLIENTS BLADES BLKSIZE WINDOW LOSS TIMER_MS SEED
 *
 * Each client is at 10.77.0.(11 + its number modulo BLADES) and fetches NAME once; FILE is what it has to be.
 * LOSS is the probability that a packet is thrown away, in either direction. A client that hears nothing for
 * TIMER_MS says its last word again. Prints {"seconds": …, "bytes": …, "resent": …, "lost": …} and exits with 1
 * where a byte was wrong or a transfer failed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, PACKET = 65536 };

struct client {
	int fd, connected, done, number;
	uint32_t got;       /* blocks received in order */
	uint32_t told;      /* the last block acknowledged */
	int gap;            /* a gap was told, and nothing in order has come since */
	unsigned blksize, window;
	unsigned char word[600]; /* what was said last */
	int word_len;
	double due;
};

static struct sockaddr_in server;
static const unsigned char *want;
static size_t want_len;
static double loss;
static unsigned asked_blksize, asked_window;
static unsigned long resent, lost;
static uint64_t seed;
static double timer_s;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what, int number)
{
	fprintf(stderr, "client %d: %s (errno: %s)\n", number, what, strerror(errno));
	exit(1);
}

static int is_lost(void)
{
	if (loss == 0)
		return 0;
	seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17; /* xorshift64 */
	if ((seed >> 11) * 0x1.0p-53 >= loss)
		return 0;
	lost++;
	return 1;
}

static void say(struct client *c)
{
	c->due = now() + timer_s;
	if (is_lost())
		return;
	ssize_t sent = c->connected ? send(c->fd, c->word, c->word_len, 0)
		: sendto(c->fd, c->word, c->word_len, 0, (struct sockaddr *)&server, sizeof server);
	if (sent < 0 && errno != EAGAIN && errno != ECONNREFUSED)
		die("send", c->number);
}

static void acknowledge(struct client *c)
{
	c->word[0] = 0, c->word[1] = 4, c->word[2] = c->got >> 8, c->word[3] = c->got;
	c->word_len = 4;
	c->told = c->got;
	say(c);
}

static void ask(struct client *c, const char *name)
{
	int n = 2;
	c->word[0] = 0, c->word[1] = 1;
	n += snprintf((char *)c->word + n, sizeof c->word - n, "%s", name) + 1;
	n += snprintf((char *)c->word + n, sizeof c->word - n, "octet") + 1;
	n += snprintf((char *)c->word + n, sizeof c->word - n, "blksize") + 1;
	n += snprintf((char *)c->word + n, sizeof c->word - n, "%u", asked_blksize) + 1;
	if (asked_window > 1) {
		n += snprintf((char *)c->word + n, sizeof c->word - n, "windowsize") + 1;
		n += snprintf((char *)c->word + n, sizeof c->word - n, "%u", asked_window) + 1;
	}
	c->word_len = n;
	say(c);
}

static void options(struct client *c, unsigned char *p, int len)
{
	const char *at = (char *)p + 2, *end = (char *)p + len;
	c->blksize = 512, c->window = 1;
	while (at < end) {
		const char *value = at + strlen(at) + 1;
		if (!strcasecmp(at, "blksize"))
			c->blksize = atoi(value);
		if (!strcasecmp(at, "windowsize"))
			c->window = atoi(value);
		at = value + strlen(value) + 1;
	}
	if (c->got == 0)
		acknowledge(c);
}

/* One packet from the server; 1 when the file is complete. */
static int heard(struct client *c, unsigned char *p, int len)
{
	if (is_lost() || len < 4)
		return 0;
	if (p[1] == 6) {
		p[len < PACKET ? len : PACKET - 1] = 0;
		options(c, p, len);
		return 0;
	}
	if (p[1] != 3) {
		p[len < PACKET ? len : PACKET - 1] = 0;
		die(p[1] == 5 ? (char *)p + 4 : "not a packet to expect", c->number);
	}
	uint16_t block = p[2] << 8 | p[3];
	if (block != (uint16_t)(c->got + 1)) {
		if ((uint16_t)(block - c->got - 1) < 0x8000 && c->window > 1 && !c->gap) {
			c->gap = 1; /* RFC 7440 section 4: say once where to go on */
			acknowledge(c);
		} else if (block == (uint16_t)c->got && c->got) {
			acknowledge(c); /* a resend: our word was lost (RFC 1350 section 2) */
		}
		return 0;
	}
	size_t at = (size_t)c->got * c->blksize, size = len - 4;
	if (at + size > want_len || memcmp(want + at, p + 4, size))
		die("the data is wrong", c->number);
	c->gap = 0;
	c->got++;
	if (size < c->blksize) {
		if (at + size != want_len)
			die("the file is too short", c->number);
		acknowledge(c);
		return 1;
	}
	if (c->got - c->told >= c->window)
		acknowledge(c);
	return 0;
}

static unsigned char space[BATCH][PACKET];

static int readable(struct client *c)
{
	static struct mmsghdr many[BATCH];
	static struct iovec parts[BATCH];
	struct sockaddr_in from;
	int count = 1, len = 0;
	if (c->window > 1) {
		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){space[i], PACKET};
			many[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
		}
		count = recvmmsg(c->fd, many, c->window < BATCH ? c->window : BATCH, MSG_DONTWAIT, NULL);
	} else if (c->connected) {
		len = recv(c->fd, space[0], PACKET, 0);
		count = len < 0 ? -1 : 1;
	} else {
		socklen_t from_len = sizeof from;
		len = recvfrom(c->fd, space[0], PACKET, 0, (struct sockaddr *)&from, &from_len);
		count = len < 0 ? -1 : 1;
		if (count == 1) {
			if (connect(c->fd, (struct sockaddr *)&from, sizeof from))
				die("connect", c->number);
			c->connected = 1;
		}
	}
	if (count < 0) {
		if (errno == EAGAIN || errno == ECONNREFUSED)
			return 0;
		die("receive", c->number);
	}
	for (int i = 0; i < count && !c->done; i++)
		c->done = heard(c, space[i], c->window > 1 ? (int)many[i].msg_len : len);
	return c->done;
}

int main(int argc, char **argv)
{
	if (argc != 11) {
		fprintf(stderr, "usage: see the top of tftp_load.c\n");
		return 2;
	}
	const char *name = argv[2];
	int count = atoi(argv[4]), blades = atoi(argv[5]), left = count;
	asked_blksize = atoi(argv[6]), asked_window = atoi(argv[7]);
	loss = atof(argv[8]), timer_s = atof(argv[9]) / 1e3, seed = strtoull(argv[10], NULL, 10) * 2654435761u + 1;
	server.sin_family = AF_INET, server.sin_port = htons(69);
	inet_pton(AF_INET, argv[1], &server.sin_addr);
	int file = open(argv[3], O_RDONLY);
	struct stat status;
	if (file < 0 || fstat(file, &status))
		die(argv[3], -1);
	want_len = status.st_size;
	want = mmap(NULL, want_len, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	struct client *all = calloc(count, sizeof *all);
	int poll = epoll_create1(0);
	for (int i = 0; i < count; i++) {
		struct client *c = &all[i];
		struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a4d000b + i % blades)};
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
		int room = 1 << 20;
		c->number = i, c->blksize = 512, c->window = 1;
		c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
		if (bind(c->fd, (struct sockaddr *)&own, sizeof own) || epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event))
			die("bind", i);
	}
	double began = now(), next = began + 0.02;
	for (int i = 0; i < count; i++)
		ask(&all[i], name);
	while (left > 0) {
		struct epoll_event events[64];
		int ready = epoll_wait(poll, events, 64, 20);
		for (int i = 0; i < ready; i++) {
			struct client *c = events[i].data.ptr;
			if (c->done || !readable(c))
				continue;
			left--;
			epoll_ctl(poll, EPOLL_CTL_DEL, c->fd, NULL);
		}
		double moment = now();
		if (moment < next)
			continue;
		next = moment + 0.02;
		for (int i = 0; i < count; i++)
			if (!all[i].done && all[i].due <= moment) {
				resent++;
				say(&all[i]);
			}
		if (moment - began > 300)
			die("five minutes are over", -1);
	}
	printf("{\"seconds\": %.6f, \"bytes\": %zu, \"resent\": %lu, \"lost\": %lu}\n", now() - began, want_len * count, resent, lost);
	return 0;
}
