/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile neighbour: becomes an ordinary client of a steady server, so that it shares memory
 * with it if both are accelerated, then writes garbage over everything of onramp's that it can
 * write to, while it goes on sending and connecting.
 *
 *   scribble ADDR PORT SECONDS SEED	ADDR PORT: of a steady server (steady.c), as its guest
 *
 * What it can write to is what /proc/self/maps says is writable and a memfd called onramp-*: its
 * own stack's segment and tables, the pairs, its front. With an odd SEED it spares what is its own
 * alone, so that its library lives on and goes on dealing with the peer. The garbage is a forked
 * child's work: it goes on when the parent has crashed over it, which is nobody's concern. Prints
 * "scribbles over N KiB in M mappings" when it starts.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "test/apps/steady.h"
#include "test/bench/endpoint.h"

#define MAX_REGIONS	256
#define N_CONNS		16

struct region {
	uint8_t *base;
	size_t n;
};

static struct region regions[MAX_REGIONS];
static size_t n_regions;
static struct endpoint at;
static uint64_t seed;

static uint64_t next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static int visit(void)
{
	const struct hello h = hello_of(0, GUEST);
	int fd = socket(at.addr.ss_family, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (void *)&at.addr, at.n) < 0 ||
	    send(fd, &h, sizeof(h), MSG_NOSIGNAL) != sizeof(h)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Conversation that goes on while the memory below it rots. */
static void *chat(void *arg)
{
	char buf[8192] = "garbage to come";
	int fds[N_CONNS], i = 0;

	for (i = 0; i < N_CONNS; i++)
		fds[i] = visit();
	for (;; i++) {
		int *fd = &fds[i % N_CONNS];
		ssize_t n = send(*fd, buf, (size_t)i * 97 % sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0 || errno == EAGAIN)
			n = recv(*fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (*fd < 0 || n == 0 || (n < 0 && errno != EAGAIN) || i % 1000 == 999) {
			close(*fd);
			*fd = visit();
		}
	}
	return arg;
}

static void find_regions(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], perms[8], *name;
	unsigned long from, to;

	while (f && fgets(line, sizeof(line), f) && n_regions < MAX_REGIONS) {
		name = strstr(line, "/memfd:onramp-");
		if (name && seed % 2 && (strstr(name, "onramp-seg") || strstr(name, "onramp-fds")))
			continue;
		if (!name || sscanf(line, "%lx-%lx %7s", &from, &to, perms) != 3 || perms[1] != 'w')
			continue;
		regions[n_regions++] = (struct region){ (uint8_t *)from, to - from };
	}
	if (f)
		fclose(f);
}

/* Somewhere, the beginnings far more often than the depths: there the heads and counters are. */
static uint8_t *somewhere(const struct region *r, uint64_t *s, size_t bytes)
{
	uint64_t off = next(s) % (r->n - bytes + 1);

	off >>= next(s) % 20;
	return r->base + (off & ~(uint64_t)(next(s) % 4 ? 3 : 0));
}

static void one_stroke(uint64_t *s)
{
	const struct region *r = &regions[next(s) % n_regions];
	const struct region *from = &regions[next(s) % n_regions];
	uint8_t *p = somewhere(r, s, 4096);	/* a page: no region is less */
	uint32_t word;

	switch (next(s) % 6) {
	case 0:		/* a word of anything */
		word = (uint32_t)next(s);
		memcpy(p, &word, 4);
		break;
	case 1:		/* a small number: more likely to be believed */
		word = (uint32_t)(next(s) % 8);
		memcpy(p, &word, 4);
		break;
	case 2:		/* a bit */
		*p ^= (uint8_t)(1u << next(s) % 8);
		break;
	case 3:		/* a little more or less than it was */
		memcpy(&word, p, 4);
		word += (uint32_t)(next(s) % 65) - 32;
		memcpy(p, &word, 4);
		break;
	case 4:		/* something true, but elsewhere */
		memmove(p, somewhere(from, s, 4096), next(s) % 256);
		break;
	default:	/* a line, or a page */
		memset(p, (int)next(s), next(s) % 8 ? 64 : 4096);
	}
}

/* In a child: no call of the library's, only memory. */
static _Noreturn void scribble(unsigned seconds)
{
	uint64_t s = seed * 0x9e3779b97f4a7c15u + 1;

	alarm(seconds);
	for (;;)
		one_stroke(&s);
}

int main(int argc, char **argv)
{
	struct timespec pause = { 0, 50000000 };
	size_t kib = 0, i;
	pthread_t th;

	if (argc < 5) {
		fprintf(stderr, "usage: scribble ADDR PORT SECONDS SEED\n");
		return 2;
	}
	at = endpoint(argv[1], argv[2]);
	seed = strtoull(argv[4], NULL, 10);
	alarm((unsigned)atoi(argv[3]));
	pthread_create(&th, NULL, chat, NULL);
	nanosleep(&pause, NULL);
	find_regions();
	for (i = 0; i < n_regions; i++)
		kib += regions[i].n >> 10;
	printf("scribbles over %zu KiB in %zu mappings\n", kib, n_regions);
	fflush(stdout);
	if (n_regions && fork() == 0)
		scribble((unsigned)atoi(argv[3]));
	pthread_join(th, NULL);
	return 0;
}
