/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What calls between a connection and another file answer: splice, tee, vmsplice, sendfile,
 * copy_file_range; vectors with positions and flags; and calls by number. One line per behaviour.
 */
#include "case.h"

#include <sys/syscall.h>
#include <sys/socket.h>

#define BIG 300000

static unsigned char block[BIG];

static void fill(void)
{
	for (size_t i = 0; i < BIG; i++)
		block[i] = pattern(i);
}

static ssize_t read_all(int fd, unsigned char *p, size_t n)
{
	size_t got = 0;
	ssize_t r;

	while (got < n && (r = read(fd, p + got, n - got)) > 0)
		got += (size_t)r;
	return (ssize_t)got;
}

static void *feed(void *arg)
{
	int fd = *(int *)arg;
	size_t at = 0;
	ssize_t r;

	while (at < BIG && (r = write(fd, block + at, BIG - at)) > 0)
		at += (size_t)r;
	close(fd);
	return NULL;
}

static void t_splice_out(void)
{
	int fd = dial("ECHO"), p[2], n;
	char buf[16] = "";
	loff_t at = 0;
	ssize_t r;

	(void)!pipe(p);
	(void)!write(p[1], "hello", 5);
	r = splice(p[0], NULL, fd, NULL, 100, 0);
	printf("splice_out: %zd %zd", r, read(fd, buf, 16));
	printf(" %.5s\n", buf);
	r = splice(p[0], NULL, fd, NULL, 100, SPLICE_F_NONBLOCK);
	printf("splice_out_empty: %s\n", en(r));
	(void)!write(p[1], "hello", 5);
	r = splice(p[0], NULL, fd, NULL, 2, SPLICE_F_MOVE);
	ioctl(p[0], FIONREAD, &n);
	printf("splice_out_part: %zd, left %d\n", r, n);
	r = splice(p[0], NULL, fd, NULL, 0, 0);
	printf("splice_out_0: %zd\n", r);
	r = splice(p[0], NULL, fd, &at, 2, 0);
	printf("splice_out_offset: %s\n", en(r));
	r = splice(p[0], &at, fd, NULL, 2, 0);
	printf("splice_pipe_offset: %s\n", en(r));
	r = splice(p[0], NULL, fd, NULL, 2, 0x80);
	printf("splice_bad_flag: %s\n", en(r));
	r = splice(p[0], NULL, fd, NULL, 2, SPLICE_F_MORE);
	printf("splice_more: %zd\n", r);
	r = splice(p[0], NULL, fd, NULL, 9, 0);
	printf("splice_rest: %zd", r);
	printf(" %zd\n", read_all(fd, (void *)buf, 5));
	close(p[1]);
	r = splice(p[0], NULL, fd, NULL, 9, 0);
	printf("splice_out_end: %zd\n", r);
	close(p[0]);
	close(fd);
}

static void t_splice_in(void)
{
	int fd = dial("ECHO"), p[2], q;
	char buf[16] = "";
	loff_t at = 0;
	ssize_t r;

	(void)!pipe(p);
	(void)!write(fd, "hello", 5);
	wait_in(fd);
	r = splice(fd, NULL, p[1], NULL, 2, 0);
	ioctl(fd, FIONREAD, &q);
	printf("splice_in_part: %zd, left %d\n", r, q);
	r = splice(fd, NULL, p[1], NULL, 100, 0);
	printf("splice_in: %zd %zd", r, read(p[0], buf, 16));
	printf(" %.5s\n", buf);
	nonblock(fd, true);
	r = splice(fd, NULL, p[1], NULL, 100, 0);
	printf("splice_in_dry: %s\n", en(r));
	nonblock(fd, false);
	r = splice(fd, &at, p[1], NULL, 2, 0);
	printf("splice_in_offset: %s\n", en(r));
	r = splice(fd, NULL, fd, NULL, 2, 0);
	printf("splice_no_pipe: %s\n", en(r));
	shutdown(fd, SHUT_WR);
	r = splice(fd, NULL, p[1], NULL, 100, 0);
	printf("splice_in_end: %zd\n", r);
	close(p[0]);
	close(fd);
	fd = dial("SOURCE 10");
	wait_in(fd);
	signal(SIGPIPE, SIG_IGN);
	r = splice(fd, NULL, p[1], NULL, 100, 0);
	ioctl(fd, FIONREAD, &q);
	printf("splice_in_broken_pipe: %s, left %d\n", en(r), q);
	signal(SIGPIPE, SIG_DFL);
	close(p[1]);
	close(fd);
}

static void t_splice_full(void)
{
	int fd = dial("SOURCE 300000"), p[2], q, n = 0;
	unsigned char *got = malloc(BIG);
	ssize_t r, sum = 0;

	(void)!pipe(p);
	fcntl(p[1], F_SETPIPE_SZ, 4096);
	wait_in(fd);
	usleep(50000);
	r = splice(fd, NULL, p[1], NULL, BIG, SPLICE_F_NONBLOCK);
	ioctl(p[0], FIONREAD, &q);
	printf("splice_in_to_full_pipe: %d\n", r == q && r > 0);
	(void)!read_all(p[0], got, (size_t)q);
	sum = q;
	while (sum < 4096 && (r = splice(fd, NULL, p[1], NULL, (size_t)(4096 - q), SPLICE_F_NONBLOCK)) > 0)
		sum += read_all(p[0], got + sum, (size_t)r);
	while ((r = write(p[1], block, 4096)) == 4096 && ++n < 1)
		;
	r = splice(fd, NULL, p[1], NULL, BIG, SPLICE_F_NONBLOCK);
	printf("splice_in_pipe_is_full: %s\n", en(r));
	(void)!read_all(p[0], got + sum, 4096);
	while (sum < BIG && (r = splice(fd, NULL, p[1], NULL, BIG, 0)) > 0)
		sum += read_all(p[0], got + sum, (size_t)r);
	printf("splice_in_all: %zd %d\n", sum, memcmp(got, block, BIG));
	free(got);
	close(p[0]);
	close(p[1]);
	close(fd);
}

static void t_splice_through(void)
{
	int fd = dial("ECHO"), p[2], back[2];
	unsigned char *got = malloc(BIG);
	ssize_t r, out = 0, in = 0;
	pthread_t th;

	(void)!pipe(p);
	(void)!pipe(back);
	pthread_create(&th, NULL, feed, &p[1]);
	while (in < BIG) {
		r = out < BIG ? splice(p[0], NULL, fd, NULL, 8000, 0) : 0;
		if (r < 0)
			break;
		out += r;
		while (in < out) {
			r = splice(fd, NULL, back[1], NULL, (size_t)(out - in), 0);
			if (r <= 0)
				break;
			in += read_all(back[0], got + in, (size_t)r);
		}
	}
	pthread_join(th, NULL);
	printf("splice_through: %zd %zd %d\n", out, in, memcmp(got, block, BIG));
	free(got);
	close(p[0]);
	close(back[0]);
	close(back[1]);
	close(fd);
}

static void t_splice_ends(void)
{
	int fd = dial("RESET"), p[2];
	ssize_t r;

	(void)!pipe(p);
	(void)!write(p[1], "hello", 5);
	usleep(100000);
	r = splice(fd, NULL, p[1], NULL, 5, 0);
	printf("splice_from_reset: %s\n", en(r));
	signal(SIGPIPE, SIG_IGN);
	r = splice(p[0], NULL, fd, NULL, 5, 0);
	printf("splice_to_reset: %s\n", en(r));
	close(fd);
	fd = dial("ECHO");
	shutdown(fd, SHUT_WR);
	r = splice(p[0], NULL, fd, NULL, 5, 0);
	printf("splice_to_shut: %s\n", en(r));
	signal(SIGPIPE, SIG_DFL);
	close(fd);
	fd = socket(peer.ss_family, SOCK_STREAM, 0);
	r = splice(fd, NULL, p[1], NULL, 5, 0);
	printf("splice_unconnected: %s\n", en(r));
	close(fd);
	close(p[0]);
	close(p[1]);
}

static void t_splice_dgram(void)
{
	int fd = socket(peer.ss_family, SOCK_DGRAM, 0), p[2];
	char buf[16] = "";
	ssize_t r;

	(void)!pipe(p);
	(void)!connect(fd, (void *)&peer, peer_n);
	(void)!write(p[1], "hello", 5);
	r = splice(p[0], NULL, fd, NULL, 5, 0);
	printf("splice_dgram_out: %zd\n", r);
	wait_in(fd);
	r = splice(fd, NULL, p[1], NULL, 100, 0);
	printf("splice_dgram_in: %zd", r);
	printf(" %zd", r > 0 ? read(p[0], buf, 16) : 0);
	printf(" %.5s\n", buf);
	close(fd);
	close(p[0]);
	close(p[1]);
}

static void t_refused(void)
{
	int fd = dial("ECHO"), p[2], file = memfd_create("x", 0);
	struct iovec v = { "abc", 3 };
	loff_t at = 0;

	(void)!pipe(p);
	(void)!write(p[1], "hello", 5);
	(void)!write(file, "0123456789", 10);
	printf("tee_to_socket: %s\n", en(tee(p[0], fd, 5, 0)));
	printf("tee_from_socket: %s\n", en(tee(fd, p[1], 5, SPLICE_F_NONBLOCK)));
	printf("vmsplice_socket: %s\n", en(vmsplice(fd, &v, 1, 0)));
	printf("copy_file_range_in: %s\n", en(copy_file_range(fd, NULL, file, NULL, 5, 0)));
	printf("copy_file_range_out: %s\n", en(copy_file_range(file, NULL, fd, NULL, 5, 0)));
	printf("pread: %s\n", en(pread(fd, &at, 4, 0)));
	printf("pwrite: %s\n", en(pwrite(fd, &at, 4, 0)));
	printf("preadv: %s\n", en(preadv(fd, &v, 1, 0)));
	printf("lseek: %s\n", en(lseek(fd, 0, SEEK_SET)));
	printf("ftruncate: %s\n", en(ftruncate(fd, 0)));
	printf("fsync: %s\n", en(fsync(fd)));
	printf("mmap: %s\n", mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? en(-1) : "ok");
	printf("fallocate: %s\n", en(fallocate(fd, 0, 0, 10)));
	(void)!write(fd, "hello", 5);
	wait_in(fd);
	printf("sendfile_from_socket: %s\n", en(sendfile(p[1], fd, NULL, 2)));
	printf("sendfile_socket_to_file: %s\n", en(sendfile(file, fd, NULL, 2)));
	printf("sendfile_to_itself: %s\n", en(sendfile(fd, fd, NULL, 1)));
	printf("sendfile_from_pipe: %s\n", en(sendfile(fd, p[0], NULL, 5)));
	at = 4;
	printf("sendfile_offset: %zd", sendfile(fd, file, &at, 3));
	printf(" at %lld pos %lld\n", (long long)at, (long long)lseek(file, 0, SEEK_CUR));
	lseek(file, 8, SEEK_SET);
	printf("sendfile_position: %zd", sendfile(fd, file, NULL, 100));
	printf(" pos %lld\n", (long long)lseek(file, 0, SEEK_CUR));
	printf("sendfile_at_end: %zd\n", sendfile(fd, file, NULL, 100));
	at = -1;
	printf("sendfile_negative: %s\n", en(sendfile(fd, file, &at, 3)));
	close(file);
	printf("sendfile_bad_in: %s\n", en(sendfile(fd, file, NULL, 3)));
	close(p[0]);
	close(p[1]);
	close(fd);
}

static void t_positions(void)
{
	int fd = dial("ECHO");
	char buf[16] = "";
	struct iovec out = { "hello", 5 }, in = { buf, 16 };
	volatile int minus = -1, many = 1025;
	ssize_t r;

	r = pwritev2(fd, &out, 1, -1, 0);
	wait_in(fd);
	printf("pwritev2: %zd", r);
	r = preadv2(fd, &in, 1, -1, 0);
	printf(" preadv2 %zd %.5s\n", r, buf);
	printf("preadv2_nowait: %s\n", en(preadv2(fd, &in, 1, -1, RWF_NOWAIT)));
	printf("preadv2_position: %s\n", en(preadv2(fd, &in, 1, 0, 0)));
	printf("pwritev2_position: %s\n", en(pwritev2(fd, &out, 1, 0, 0)));
	printf("preadv2_bad_flag: %s\n", en(preadv2(fd, &in, 1, -1, 0x40000000)));
	printf("pwritev2_nowait: %zd\n", pwritev2(fd, &out, 1, -1, RWF_NOWAIT));
	printf("readv_negative: %s\n", en(readv(fd, &in, minus)));
	printf("readv_too_many: %s\n", en(readv(fd, &in, many)));
	printf("readv_none: %s\n", en(readv(fd, &in, 0)));
	close(fd);
}

static void t_numbers(void)
{
	int fd = (int)syscall(SYS_socket, peer.ss_family, SOCK_STREAM, 0), q = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct iovec v[2] = { { "he", 2 }, { "llo", 3 } };
	struct timespec to = { 5, 0 };
	char buf[16] = "";
	fd_set rd;

	printf("number_connect: %s\n", en(syscall(SYS_connect, fd, &peer, peer_n)));
	printf("number_write: %ld\n", syscall(SYS_write, fd, "ECHO\n", 5l));
	printf("number_writev: %ld\n", syscall(SYS_writev, fd, v, 2l));
	printf("number_ppoll: %ld", syscall(SYS_ppoll, &p, 1l, &to, NULL, 8l));
	printf(" %x\n", p.revents);
	FD_ZERO(&rd);
	FD_SET(fd, &rd);
	printf("number_pselect: %ld\n", syscall(SYS_pselect6, fd + 1l, &rd, NULL, NULL, &to, NULL));
	usleep(50000);
	printf("number_ioctl: %ld", syscall(SYS_ioctl, fd, FIONREAD, &q));
	printf(" %d\n", q);
	printf("number_recvfrom: %ld", syscall(SYS_recvfrom, fd, buf, 3l, MSG_PEEK, NULL, NULL));
	printf(" %.3s\n", buf);
	printf("number_read: %ld", syscall(SYS_read, fd, buf, 16l));
	printf(" %.5s\n", buf);
	printf("number_error: %s\n", en(syscall(SYS_recvfrom, fd, buf, 16l, MSG_DONTWAIT, NULL, NULL)));
	printf("number_close: %ld\n", syscall(SYS_close, fd));
	printf("number_closed: %s\n", en(syscall(SYS_read, fd, buf, 16l)));
}

static const struct one_case cases[] = {
	{ "splice_out", t_splice_out }, { "splice_in", t_splice_in }, { "splice_full", t_splice_full },
	{ "splice_through", t_splice_through }, { "splice_ends", t_splice_ends }, { "splice_dgram", t_splice_dgram },
	{ "refused", t_refused }, { "positions", t_positions }, { "numbers", t_numbers },
};

int main(int argc, char **argv)
{
	fill();
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
