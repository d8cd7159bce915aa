/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams whose every byte is known, kept up whatever dies at the other end. Ordinary sockets,
 * ordinary threads; a client reconnects for ever, a server serves for ever: both end by SIGKILL.
 *
 *   steady server ADDR PORT LEDGER
 *   steady client ADDR PORT LEDGER [WORKERS]	five workers a round, one of each kind
 *
 *   duplex	both sides send all they can, and check what they get
 *   echo	small questions and answers
 *   upload	the client only sends: the server must get all that send() took before a kill
 *   download	the same the other way
 *   churn	connect, a few bytes there and back, close
 *   guest	whatever comes is answered, nothing is checked (see scribble.c)
 *
 * LEDGER is a file that all map: it counts what moved, and what each stream's sender got rid of.
 * A side that sees a wrong byte, misses one, waits longer than PATIENCE_S in one call, or gets
 * an error that a dead peer does not explain says so in a line and exits with 3.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "test/apps/steady.h"
#include "test/bench/endpoint.h"

#define PATIENCE_S	10
#define CHUNK		(64 << 10)
#define MAX_JOBS	512
#define N_SENT		4096

static const char *const kind_names[] = { "duplex", "echo", "upload", "download", "churn", "guest" };

struct ledger {
	_Atomic uint64_t next_id;
	_Atomic uint64_t checked[2];	/* bytes that were right: at the client, at the server */
	_Atomic uint64_t opened[2];	/* streams on which something was heard */
	_Atomic uint64_t ended[2];	/* streams whose end was seen */
	_Atomic uint64_t broken[2];	/* of those, such as should not have ended, or so; and failed connects */
	_Atomic uint64_t sent[N_SENT];	/* by the sender of an upload or a download, by id */
};

/* One thread's call under way, for the watch. */
struct job {
	_Atomic uint64_t since;		/* 0: not in a call that must end */
	const char *_Atomic call;
	_Atomic bool used;
};

struct stream {
	int fd;
	struct hello h;
	struct job *job;
	uint64_t sent, got;		/* bytes after the hello */
};

static struct ledger *ledger;
static struct job jobs[MAX_JOBS];
static struct endpoint at;
static bool serving;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

__attribute__((format(printf, 1, 2))) static _Noreturn void complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("steady %s: ", serving ? "server" : "client");
	vprintf(fmt, ap);
	printf("\n");
	fflush(stdout);
	_exit(3);
}

/* ---- bytes -------------------------------------------------------------------------------------- */

static uint8_t byte_at(uint64_t key, uint64_t pos)
{
	return (uint8_t)(word_at(key, pos / 8) >> (pos % 8 * 8));
}

static void fill(uint8_t *buf, size_t n, uint64_t key, uint64_t pos)
{
	for (size_t i = 0; i < n; i++)
		buf[i] = byte_at(key, pos + i);
}

static uint64_t key_of(const struct stream *s, bool from_server)
{
	return s->h.id * 2 + from_server;
}

static void verify(const struct stream *s, const uint8_t *buf, size_t n, uint64_t key, uint64_t pos)
{
	for (size_t i = 0; i < n; i++)
		if (buf[i] != byte_at(key, pos + i))
			complain("WRONG %s %llu: byte %llu is %02x, not %02x", kind_names[s->h.kind],
				 (unsigned long long)s->h.id, (unsigned long long)(pos + i), buf[i],
				 byte_at(key, pos + i));
	ledger->checked[serving] += n;
}

/* ---- calls that must end ----------------------------------------------------------------------------- */

static struct job *job_get(void)
{
	for (int i = 0; i < MAX_JOBS; i++)
		if (!atomic_exchange(&jobs[i].used, true))
			return &jobs[i];
	complain("more than %d threads at once", MAX_JOBS);
}

static void enter(struct job *j, const char *call)
{
	j->call = call;
	j->since = now_ns();
}

static void leave(struct job *j)
{
	int err = errno;

	j->since = 0;
	errno = err;
}

static void *watch(void *arg)
{
	for (;; usleep(200000)) {
		uint64_t now = now_ns();

		for (int i = 0; i < MAX_JOBS; i++) {
			uint64_t since = jobs[i].since;

			if (since && now > since && now - since > PATIENCE_S * 1000000000ull)
				complain("HANG: %s() takes longer than %d s", jobs[i].call, PATIENCE_S);
		}
	}
	return arg;
}

static bool explained(int err)
{
	return err == ECONNRESET || err == EPIPE;
}

/* Sends some; false: the peer is gone. */
static bool put(struct stream *s, const uint8_t *buf, size_t n)
{
	while (n) {
		ssize_t r;

		if (s->h.kind != GUEST)
			enter(s->job, "send");
		r = send(s->fd, buf, n, MSG_NOSIGNAL);
		leave(s->job);
		if (r < 0 && s->h.kind != GUEST && !explained(errno))
			complain("ODD %s: send: %s", kind_names[s->h.kind], strerror(errno));
		if (r < 0)
			return false;
		s->sent += (uint64_t)r;
		buf += r;
		n -= (size_t)r;
	}
	return true;
}

/* What has come, at most n; 0: the peer is gone, or has ended its stream. */
static size_t get(struct stream *s, uint8_t *buf, size_t n)
{
	ssize_t r;

	if (s->h.kind != GUEST)
		enter(s->job, "recv");
	r = recv(s->fd, buf, n, 0);
	leave(s->job);
	if (r < 0 && s->h.kind != GUEST && !explained(errno))
		complain("ODD %s: recv: %s", kind_names[s->h.kind], strerror(errno));
	return r > 0 ? (size_t)r : 0;
}

static bool get_all(struct stream *s, uint8_t *buf, size_t n)
{
	size_t have = 0, r;

	while (have < n && (r = get(s, buf + have, n - have)))
		have += r;
	return have == n;
}

/* ---- the kinds: what a side sends, and what it checks --------------------------------------------------- */

static size_t some(uint64_t salt, uint64_t n)
{
	size_t r = (size_t)(word_at(salt, n) % CHUNK);

	return r % 4 ? r % 4096 + 1 : r + 1;
}

static void pour(struct stream *s)
{
	uint8_t *buf = malloc(CHUNK);
	uint64_t n = 0, key = key_of(s, serving);
	bool counted = s->h.kind == (serving ? DOWNLOAD : UPLOAD);
	size_t len;

	do {
		len = some(key, n++);
		fill(buf, len, key, s->sent);
		if (!put(s, buf, len))
			break;
		if (counted)
			ledger->sent[s->h.id % N_SENT] = s->sent;
	} while (true);
	free(buf);
}

static void drink(struct stream *s)
{
	uint8_t *buf = malloc(CHUNK);
	uint64_t n = 0, key = key_of(s, !serving), owed;
	size_t r;

	while ((r = get(s, buf, some(~key, n++)))) {
		verify(s, buf, r, key, s->got);
		s->got += r;
	}
	owed = ledger->sent[s->h.id % N_SENT];
	if (s->h.kind == (serving ? UPLOAD : DOWNLOAD) && s->got < owed)
		complain("LOST %s %llu: %llu bytes were sent, %llu came", kind_names[s->h.kind],
			 (unsigned long long)s->h.id, (unsigned long long)owed, (unsigned long long)s->got);
	free(buf);
}

static void *pour_thread(void *arg)
{
	struct stream *s = arg;

	pour(s);
	s->job->used = false;
	return NULL;
}

static void duplex(struct stream *s)
{
	struct stream out = *s;
	pthread_t th;

	out.job = job_get();
	if (pthread_create(&th, NULL, pour_thread, &out))
		complain("no thread");
	drink(s);
	shutdown(s->fd, SHUT_RDWR);	/* the writer, too */
	pthread_join(th, NULL);
}

static void ask(struct stream *s)
{
	uint8_t out[2048], in[2048];
	uint64_t n = 0, key = key_of(s, false);
	size_t len;

	for (;;) {
		len = some(key, n++) % sizeof(out) + 1;
		fill(out, len, key, s->got);
		if (!put(s, out, len) || !get_all(s, in, len))
			return;
		verify(s, in, len, key, s->got);
		s->got += len;
	}
}

static void answer(struct stream *s)
{
	uint8_t *buf = malloc(CHUNK);
	size_t r;

	while ((r = get(s, buf, CHUNK)) && put(s, buf, r))
		continue;
	free(buf);
}

static bool once(struct stream *s)
{
	uint8_t out[3000], in[3000];
	uint64_t key = key_of(s, false);
	size_t len = some(key, 0) % sizeof(out) + 1;

	fill(out, len, key, 0);
	if (!put(s, out, len) || shutdown(s->fd, SHUT_WR) || !get_all(s, in, len))
		return false;
	verify(s, in, len, key, 0);
	if (get(s, in, 1))
		complain("WRONG churn: a byte after the last");
	return true;
}

/* ---- the two sides -------------------------------------------------------------------------------------------- */

static void *serve_one(void *arg)
{
	struct stream s = { .fd = (int)(intptr_t)arg, .job = job_get(), .h = { .kind = GUEST } };
	struct hello h;

	if (get_all(&s, (uint8_t *)&h, sizeof(h)) && hello_is_good(&h)) {
		s.h = h;
		ledger->opened[1]++;
		if (h.kind == DUPLEX)
			duplex(&s);
		else if (h.kind == UPLOAD)
			drink(&s);
		else if (h.kind == DOWNLOAD)
			pour(&s);
		else
			answer(&s);
		ledger->ended[1]++;
		ledger->broken[1] += h.kind != GUEST && h.kind != CHURN;
	}
	close(s.fd);
	s.job->used = false;
	return NULL;
}

static void serve(void)
{
	int one = 1, fd = socket(at.addr.ss_family, SOCK_STREAM, 0), c;
	pthread_attr_t attr;
	pthread_t th;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&at.addr, at.n) || listen(fd, 64))
		complain("bind or listen: %s", strerror(errno));
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		c = accept(fd, NULL, NULL);
		if (c < 0 && errno != ECONNABORTED && errno != EINTR)
			complain("ODD accept: %s", strerror(errno));
		if (c >= 0 && pthread_create(&th, &attr, serve_one, (void *)(intptr_t)c))
			close(c);
	}
}

/* A connection that has said hello; false: nobody is there, or he went away meanwhile. */
static bool dial(struct stream *s, enum kind kind)
{
	int rc, err;

	s->h = hello_of(++ledger->next_id, kind);
	s->sent = s->got = 0;
	ledger->sent[s->h.id % N_SENT] = 0;
	s->fd = socket(at.addr.ss_family, SOCK_STREAM, 0);
	if (s->fd < 0)
		complain("socket: %s", strerror(errno));
	enter(s->job, "connect");
	rc = connect(s->fd, (void *)&at.addr, at.n);
	err = errno;
	leave(s->job);
	if (rc == 0) {
		rc = put(s, (void *)&s->h, sizeof(s->h)) ? 0 : -1;
		s->sent = 0;
		err = ECONNRESET;
	}
	if (rc == 0)
		return true;
	if (!explained(err) && err != ECONNREFUSED)
		complain("ODD connect: %s", strerror(err));
	close(s->fd);
	usleep(1000);
	return false;
}

static void *worker(void *arg)
{
	enum kind kind = (enum kind)((intptr_t)arg % N_KINDS);
	struct stream s = { .job = job_get() };

	for (;;) {
		bool whole = false;

		if (!dial(&s, kind)) {
			ledger->broken[0]++;
			continue;
		}
		ledger->opened[0]++;
		if (kind == DUPLEX)
			duplex(&s);
		else if (kind == ECHO)
			ask(&s);
		else if (kind == UPLOAD)
			pour(&s);
		else if (kind == DOWNLOAD)
			drink(&s);
		else
			whole = once(&s);
		ledger->ended[0]++;
		ledger->broken[0] += !whole;
		close(s.fd);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int fd, n, i;
	pthread_t th;

	if (argc < 5) {
		fprintf(stderr, "usage: steady server|client ADDR PORT LEDGER [WORKERS]\n");
		return 2;
	}
	serving = strcmp(argv[1], "server") == 0;
	at = endpoint(argv[2], argv[3]);
	fd = open(argv[4], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*ledger)) < 0)
		complain("%s: %s", argv[4], strerror(errno));
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ledger == MAP_FAILED)
		complain("mmap: %s", strerror(errno));
	close(fd);
	pthread_create(&th, NULL, watch, NULL);
	if (serving)
		serve();
	printf("ready\n");
	fflush(stdout);
	n = argc > 5 ? atoi(argv[5]) : N_KINDS;
	for (i = 0; i < n; i++)
		pthread_create(&th, NULL, worker, (void *)(intptr_t)i);
	pthread_join(th, NULL);
	return 0;
}
