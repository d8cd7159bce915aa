/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stdio on sockets. libc's streams read and write by system calls that nobody can stand in
 * front of, so a stream on a socket that is accelerated, or may become so, is a cookie stream over
 * our own read and write; fileno() of it answers the descriptor, as programs expect.
 */
#include "preload/preload.h"

#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <unistd.h>

#define N_STREAMS 256	/* at once; beyond it fdopen() fails with EMFILE, as at FOPEN_MAX */

/* Writer: fdopen() takes a slot (NULL -> file), close gives it back. */
static struct { FILE *file; int fd; } streams[N_STREAMS];

static ssize_t cookie_read(void *cookie, char *p, size_t n)
{
	return wrap_read((int)(intptr_t)cookie - 1, p, n);
}

/* fwrite() wants all of it or an error. */
static ssize_t cookie_write(void *cookie, const char *p, size_t n)
{
	size_t done = 0;
	ssize_t r;

	while (done < n) {
		r = wrap_write((int)(intptr_t)cookie - 1, p + done, n - done);
		if (r < 0)
			return (ssize_t)done;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

static int cookie_close(void *cookie)
{
	int fd = (int)(intptr_t)cookie - 1;
	size_t i;

	for (i = 0; i < N_STREAMS; i++)
		if (streams[i].file && streams[i].fd == fd)
			streams[i].file = NULL;
	return wrap_close(fd);
}

static FILE *open_cookie(int fd, const char *mode)
{
	static const cookie_io_functions_t io = { cookie_read, cookie_write, NULL, cookie_close };
	FILE *f = fopencookie((void *)(intptr_t)(fd + 1), mode, io);
	size_t i;

	for (i = 0; f && i < N_STREAMS; i++) {
		FILE *none = NULL;

		streams[i].fd = streams[i].file ? streams[i].fd : fd;
		/* relaxed: slots are searched by the pointer of a stream that the caller has. */
		if (__atomic_compare_exchange_n(&streams[i].file, &none, f, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			streams[i].fd = fd;
			return f;
		}
	}
	if (f)
		errno = EMFILE;
	return NULL;
}

FILE *stream_open(int fd, const char *mode) symbol_name("fdopen");
exported FILE *stream_open(int fd, const char *mode)
{
	static void *libc;

	if (fd_is_data(fd) || (fd_is_any(fd) && sk_is_undecided(fd)) || chain_has(fd))
		return open_cookie(fd, mode);
	return ((FILE *(*)(int, const char *))libc_own(&libc, "fdopen"))(fd, mode);
}

/* What was printed and not sent, before the sockets go: libc flushes after that. As libc at exit, it does
 * not wait for a stream that a thread is reading. */
void stream_flush(void)
{
	size_t i;

	for (i = 0; i < N_STREAMS; i++) {
		FILE *f = streams[i].file;

		if (!f || !__fpending(f) || ftrylockfile(f))
			continue;
		(void)fflush_unlocked(f);
		funlockfile(f);
	}
}

static bool is_stream(int fd) { return fd_is_data(fd) || chain_has(fd); }

/* Standard streams that an exec left on sockets of ours: libc's own would talk to the kernel's below. */
void stream_standard(void)
{
	FILE *f;

	if (is_stream(STDIN_FILENO) && (f = open_cookie(STDIN_FILENO, "r")))
		stdin = f;
	if (is_stream(STDOUT_FILENO) && (f = open_cookie(STDOUT_FILENO, "w")))
		stdout = f;
	if (is_stream(STDERR_FILENO) && (f = open_cookie(STDERR_FILENO, "w"))) {
		(void)setvbuf(f, NULL, _IONBF, 0);
		stderr = f;
	}
}

/* The descriptor of a stream of ours, or -1. */
static int cookie_fd(FILE *f)
{
	size_t i;

	for (i = 0; i < N_STREAMS && f; i++)
		if (streams[i].file == f)
			return streams[i].fd;
	return -1;
}

int stream_fd(FILE *f) symbol_name("fileno");
exported int stream_fd(FILE *f)
{
	static void *libc;
	int fd = cookie_fd(f);

	return fd >= 0 ? fd : ((int (*)(FILE *))libc_own(&libc, "fileno"))(f);
}

int stream_fd_unlocked(FILE *f) symbol_name("fileno_unlocked");
exported int stream_fd_unlocked(FILE *f)
{
	static void *libc;
	int fd = cookie_fd(f);

	return fd >= 0 ? fd : ((int (*)(FILE *))libc_own(&libc, "fileno_unlocked"))(f);
}

/* ---- dprintf ------------------------------------------------------------------------------------ */

static int print_to(int fd, const char *format, va_list ap)
{
	static void *libc;
	char *text;
	int n;

	if (!fd_is_data(fd) && !chain_has(fd))
		return ((int (*)(int, const char *, va_list))libc_own(&libc, "vdprintf"))(fd, format, ap);
	n = vasprintf(&text, format, ap);
	if (n < 0)
		return n;
	if (cookie_write((void *)(intptr_t)(fd + 1), text, (size_t)n) != n)
		n = -1;
	free(text);
	return n;
}

int stream_vdprintf(int fd, const char *format, va_list ap) symbol_name("vdprintf");
exported printf_like(2, 0) int stream_vdprintf(int fd, const char *format, va_list ap)
{
	return print_to(fd, format, ap);
}

int stream_dprintf(int fd, const char *format, ...) symbol_name("dprintf");
exported printf_like(2, 3) int stream_dprintf(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = print_to(fd, format, ap);
	va_end(ap);
	return n;
}

int checked_vdprintf(int fd, int flag, const char *format, va_list ap) symbol_name("__vdprintf_chk");
exported printf_like(3, 0) int checked_vdprintf(int fd, int flag, const char *format, va_list ap)
{
	(void)flag;
	return print_to(fd, format, ap);
}

int checked_dprintf(int fd, int flag, const char *format, ...) symbol_name("__dprintf_chk");
exported printf_like(3, 4) int checked_dprintf(int fd, int flag, const char *format, ...)
{
	va_list ap;
	int n;

	(void)flag;
	va_start(ap, format);
	n = print_to(fd, format, ap);
	va_end(ap);
	return n;
}
