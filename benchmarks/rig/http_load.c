/* HTTP clients by the dozen, in one thread: GET over connections that are kept open.
 *
 *   http_load SERVER NAME FILE CLIENTS BLADES REQUESTS CHECK
 *
 * Each client is at 10.77.0.(11 + its number modulo BLADES) and fetches NAME REQUESTS times from port 80, one after
 * the other; FILE is what it has to be. With CHECK 1 every byte is compared; with 0 the kernel throws the bodies away
 * and only their length is looked at, so that the client is not what is measured. Prints
 * {"seconds": …, "bytes": …} and exits with 1 where anything was wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 4096, PIECE = 1 << 20 };

struct client {
	int fd, number, left, head_len, has_head;
	size_t got;
	char head[HEAD + 1];
};

static const unsigned char *want;
static size_t want_len;
static char request[512];
static int check;
static unsigned char piece[PIECE];

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

static void ask(struct client *c)
{
	c->head_len = c->has_head = 0;
	c->got = 0;
	if (send(c->fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request))
		die("send", c->number);
}

/* The head, read without touching the body: looked at first, then taken. */
static int read_head(struct client *c)
{
	ssize_t n = recv(c->fd, c->head, HEAD, MSG_PEEK | MSG_DONTWAIT);
	if (n <= 0) {
		if (n < 0 && errno == EAGAIN)
			return 0;
		die("the connection ended before the head", c->number);
	}
	c->head[n] = 0;
	char *end = strstr(c->head, "\r\n\r\n"), *length;
	if (!end) {
		if (n == HEAD)
			die("a head without an end", c->number);
		return 0;
	}
	*end = 0;
	length = strcasestr(c->head, "\r\ncontent-length:");
	if (strncmp(c->head, "HTTP/1.1 200", 12) || !length || strtoull(length + 17, NULL, 10) != want_len)
		die(c->head, c->number);
	if (recv(c->fd, piece, end + 4 - c->head, 0) != end + 4 - c->head)
		die("the head", c->number);
	c->has_head = 1;
	return 1;
}

/* What has arrived; 1 when the last request of this client is answered. */
static int readable(struct client *c)
{
	if (!c->has_head && !read_head(c))
		return 0;
	for (int rounds = 0; rounds < 4; rounds++) {
		size_t room = want_len - c->got < PIECE ? want_len - c->got : PIECE;
		ssize_t n = recv(c->fd, piece, room, MSG_DONTWAIT | (check ? 0 : MSG_TRUNC));
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0)
			die("the connection ended in the body", c->number);
		if (check && memcmp(want + c->got, piece, n))
			die("the data is wrong", c->number);
		c->got += n;
		if (c->got < want_len)
			continue;
		if (--c->left == 0)
			return 1;
		ask(c);
		return 0;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr, "usage: see the top of http_load.c\n");
		return 2;
	}
	int count = atoi(argv[4]), blades = atoi(argv[5]), requests = atoi(argv[6]), left = count;
	check = atoi(argv[7]);
	snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\nHost: %s\r\n\r\n", argv[2], argv[1]);
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(80)};
	inet_pton(AF_INET, argv[1], &server.sin_addr);
	int file = open(argv[3], O_RDONLY);
	struct stat status;
	if (file < 0 || fstat(file, &status))
		die(argv[3], -1);
	want_len = status.st_size;
	want = mmap(NULL, want_len, PROT_READ, MAP_SHARED, file, 0);
	struct client *all = calloc(count, sizeof *all);
	int poll = epoll_create1(0);
	double began = now();
	for (int i = 0; i < count; i++) {
		struct client *c = &all[i];
		struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a4d000b + i % blades)};
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
		c->number = i, c->left = requests;
		c->fd = socket(AF_INET, SOCK_STREAM, 0);
		if (bind(c->fd, (struct sockaddr *)&own, sizeof own) || connect(c->fd, (struct sockaddr *)&server, sizeof server))
			die("connect", i);
		epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event);
		ask(c);
	}
	while (left > 0) {
		struct epoll_event events[64];
		int ready = epoll_wait(poll, events, 64, 60000);
		if (ready <= 0)
			die("nothing for a minute", -1);
		for (int i = 0; i < ready; i++) {
			struct client *c = events[i].data.ptr;
			if (readable(c)) {
				left--;
				close(c->fd);
			}
		}
	}
	printf("{\"seconds\": %.6f, \"bytes\": %zu}\n", now() - began, want_len * count * requests);
	return 0;
}
