/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel does for a program behind its calls: signals of readiness, io_uring, asynchronous I/O by
 * libc and by number. A connection that was in use before goes on in it.
 */
#include "case.h"

#include <aio.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>

/* ---- SIGIO ---------------------------------------------------------------------------------------- */

static volatile sig_atomic_t n_sigio;

static void on_sigio(int sig)
{
	(void)sig;
	n_sigio = 1;
}

static void await_sigio(const char *name)
{
	for (int i = 0; i < 200 && !n_sigio; i++)
		usleep(10000);
	printf("%s: signal %s\n", name, n_sigio ? "came" : "did not come");
	n_sigio = 0;
}

static void hear(const char *name, int fd)
{
	char buf[32] = "";
	ssize_t r;

	wait_in(fd);
	r = recv(fd, buf, sizeof(buf) - 1, 0);
	printf("%s: read %zd %s\n", name, r, r > 0 ? buf : en(r));
}

static void catch_sigio(void)
{
	struct sigaction sa = { .sa_handler = on_sigio, .sa_flags = SA_RESTART };

	sigaction(SIGIO, &sa, NULL);
	n_sigio = 0;
}

static void ask_signals(const char *name, int fd)
{
	int r = fcntl(fd, F_SETOWN, getpid());

	printf("%s: own %s\n", name, en(r));
	r = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC);
	printf("%s: async %s, flag %d\n", name, en(r), !!(fcntl(fd, F_GETFL) & O_ASYNC));
}

static void t_sigio_in_use(void)
{
	int fd = dial("ECHO");

	catch_sigio();
	send(fd, "before", 6, 0);
	hear("sigio_in_use", fd);
	ask_signals("sigio_in_use", fd);
	send(fd, "after", 5, 0);
	await_sigio("sigio_in_use");
	hear("sigio_in_use", fd);
	close(fd);
}

static void t_sigio_before(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);

	catch_sigio();
	ask_signals("sigio_before", fd);
	printf("sigio_before: connect %s\n", en(connect(fd, (struct sockaddr *)&peer, peer_n)));
	n_sigio = 0;
	send(fd, "LATE 100 text\n", 14, 0);
	await_sigio("sigio_before");
	hear("sigio_before", fd);
	close(fd);
}

static void t_sigio_ioctl(void)
{
	int fd = dial("ECHO"), on = 1, owner = getpid();

	catch_sigio();
	printf("sigio_ioctl: owner %s\n", en(ioctl(fd, FIOSETOWN, &owner)));
	printf("sigio_ioctl: async %s\n", en(ioctl(fd, FIOASYNC, &on)));
	send(fd, "word", 4, 0);
	await_sigio("sigio_ioctl");
	hear("sigio_ioctl", fd);
	close(fd);
}

/* ---- io_uring, by number ---------------------------------------------------------------------------- */

struct ring {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static bool ring_make(struct ring *r)
{
	struct io_uring_params p = { 0 };
	char *sq, *cq;

	r->fd = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (r->fd < 0)
		return false;
	sq = mmap(NULL, p.sq_off.array + p.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		  IORING_OFF_SQ_RING);
	cq = mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		  r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd,
		       IORING_OFF_SQES);
	r->sq_tail = (void *)(sq + p.sq_off.tail);
	r->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	r->sq_array = (void *)(sq + p.sq_off.array);
	r->cq_head = (void *)(cq + p.cq_off.head);
	r->cq_tail = (void *)(cq + p.cq_off.tail);
	r->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	r->cqes = (void *)(cq + p.cq_off.cqes);
	return true;
}

/* Submits one, waits for it: what it answered. */
static int ring_do(struct ring *r, int op, int fd, void *p, unsigned n)
{
	unsigned tail = *r->sq_tail, i = tail & *r->sq_mask;
	int res;

	memset(&r->sqes[i], 0, sizeof(r->sqes[i]));
	r->sqes[i].opcode = (uint8_t)op;
	r->sqes[i].fd = fd;
	r->sqes[i].addr = (uintptr_t)p;
	r->sqes[i].len = n;
	r->sq_array[i] = i;
	__atomic_store_n(r->sq_tail, tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -errno;
	res = r->cqes[*r->cq_head & *r->cq_mask].res;
	__atomic_store_n(r->cq_head, *r->cq_head + 1, __ATOMIC_RELEASE);
	return res;
}

static void ring_echo(const char *name, struct ring *r, int fd)
{
	char buf[16] = "";
	int n;

	printf("%s: sent %d\n", name, ring_do(r, IORING_OP_SEND, fd, "ringing", 7));
	n = ring_do(r, IORING_OP_RECV, fd, buf, sizeof(buf) - 1);
	printf("%s: received %d %s\n", name, n, buf);
}

static void t_uring(void)
{
	int before = dial("ECHO"), after, l = socket(peer.ss_family, SOCK_STREAM, 0);
	struct ring r;

	send(before, "plain", 5, 0);
	hear("uring", before);
	if (!ring_make(&r)) {
		printf("uring: none here\n");
		close(before);
		close(l);
		return;
	}
	ring_echo("uring_before", &r, before);
	after = dial("ECHO");
	ring_echo("uring_after", &r, after);
	send(before, "again", 5, 0);
	hear("uring", before);
	close(l);
	close(after);
	close(before);
	close(r.fd);
}

/* ---- asynchronous I/O ----------------------------------------------------------------------------------- */

static void t_aio(void)
{
	char buf[16] = "", out[] = "asynchronous";
	struct aiocb cb = { .aio_buf = out, .aio_nbytes = 12 };
	const struct aiocb *one[1] = { &cb };
	int fd = dial("ECHO");

	cb.aio_fildes = fd;
	printf("aio: write %s", en(aio_write(&cb)));
	aio_suspend(one, 1, NULL);
	printf(" %d %zd\n", aio_error(&cb), aio_return(&cb));
	cb = (struct aiocb){ .aio_fildes = fd, .aio_buf = buf, .aio_nbytes = 12 };
	wait_in(fd);
	printf("aio: read %s", en(aio_read(&cb)));
	aio_suspend(one, 1, NULL);
	printf(" %d %zd %s\n", aio_error(&cb), aio_return(&cb), buf);
	close(fd);
}

static void t_aio_submit(void)
{
	aio_context_t ctx = 0;
	int fd = dial("ECHO");
	struct iocb cb = { .aio_fildes = (uint32_t)fd, .aio_lio_opcode = IOCB_CMD_PWRITE,
			   .aio_buf = (uintptr_t)"by number", .aio_nbytes = 9 }, *list[1] = { &cb };
	struct io_event e = { 0 };

	if (syscall(SYS_io_setup, 4, &ctx) < 0) {
		printf("aio_submit: none here\n");
		close(fd);
		return;
	}
	printf("aio_submit: %ld", syscall(SYS_io_submit, ctx, 1, list));
	printf(" %ld", syscall(SYS_io_getevents, ctx, 1, 1, &e, NULL));
	printf(" %lld\n", (long long)e.res);
	hear("aio_submit", fd);
	syscall(SYS_io_destroy, ctx);
	close(fd);
}

static const struct one_case cases[] = {
	{ "sigio_in_use", t_sigio_in_use }, { "sigio_before", t_sigio_before }, { "sigio_ioctl", t_sigio_ioctl },
	{ "aio", t_aio }, { "aio_submit", t_aio_submit }, { "uring", t_uring },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
