/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp doctor`: what this machine can do for us, and what to type to get more. Each check
 * is one function that fills a finding; none changes anything.
 */
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <ifaddrs.h>
#include <json-c/json.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "exec/ctl.h"

enum health { FINE, ATTENTION, MISSING };	/* MISSING: nothing can be accelerated without it */

struct finding {
	enum health health;
	char text[256];
	char remedy[256];
};

printf_like(3, 4) static void found(struct finding *f, enum health h, const char *fmt, ...)
{
	va_list ap;

	f->health = h;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

printf_like(2, 3) static void advise(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(f->remedy, sizeof(f->remedy), fmt, ap);
	va_end(ap);
}

/* First line of a small file; false if it cannot be read. */
static bool read_line(const char *path, char *ret, size_t bytes)
{
	CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, ret, bytes - 1) : -1;

	if (n < 0)
		return false;
	ret[n] = 0;
	ret[strcspn(ret, "\n")] = 0;
	return true;
}

static void check_kernel(struct finding *f)
{
	struct utsname u;
	unsigned major = 0, minor = 0;

	uname(&u);
	if (sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	    (major > 6 || (major == 6 && minor >= 6))) {
		found(f, FINE, "Linux %s", u.release);
		return;
	}
	found(f, ATTENTION, "Linux %s: AF_XDP carries packets of more than one frame since 6.6 only", u.release);
	advise(f, "apt-get install -t bookworm-backports linux-image-amd64, or keep to MTU 1500");
}

static void check_af_xdp(struct finding *f)
{
	CLOSE_FD int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd >= 0 || errno == EPERM)
		found(f, FINE, "the kernel has AF_XDP sockets%s",
		      fd >= 0 ? "" : " (only root may make them: the agent does)");
	else {
		found(f, MISSING, "the kernel has no AF_XDP sockets: %s", strerror(errno));
		advise(f, "use a kernel built with CONFIG_XDP_SOCKETS=y");
	}
}

static void check_bpf(struct finding *f)
{
	union bpf_attr attr;
	char jit[16];

	memset(&attr, 0, sizeof(attr));
	/* An id that cannot be: EPERM, EINVAL or ENOENT all say that bpf(2) is there. */
	if (syscall(SYS_bpf, BPF_PROG_GET_NEXT_ID, &attr, sizeof(attr)) < 0 && errno == ENOSYS) {
		found(f, MISSING, "the kernel has no bpf(2)");
		advise(f, "use a kernel built with CONFIG_BPF_SYSCALL=y");
	} else if (read_line("/proc/sys/net/core/bpf_jit_enable", jit, sizeof(jit)) && jit[0] == '0') {
		found(f, ATTENTION, "BPF programs are interpreted, which is slow");
		advise(f, "sudo sysctl net.core.bpf_jit_enable=1");
	} else {
		found(f, FINE, "bpf(2) is there%s", geteuid() == 0 ? ", compiled just in time" : "");
	}
}

static void check_bpffs(struct finding *f)
{
	CLOSE_FD int ctl = agent_connect();
	struct statfs st;

	if (statfs("/sys/fs/bpf", &st) == 0 && st.f_type == BPF_FS_MAGIC) {
		found(f, FINE, "mounted at /sys/fs/bpf");
		return;
	}
	if (ctl >= 0) {
		found(f, FINE, "not mounted here; `onramp status` says what the agent could do about it");
		return;
	}
	found(f, ATTENTION, "not mounted; the agent tries to, because without it no other XDP program can share "
			    "an interface with ours");
	advise(f, "sudo mount -t bpf bpf /sys/fs/bpf");
}

static void check_memlock(struct finding *f)
{
	struct rlimit rl;

	getrlimit(RLIMIT_MEMLOCK, &rl);
	if (rl.rlim_cur == RLIM_INFINITY)
		found(f, FINE, "locked memory is not limited");
	else
		found(f, FINE, "limit %llu KiB; the agent accounts packet memory (%u MiB a stack), not you",
		      (unsigned long long)rl.rlim_cur / 1024, N_PKTS >> (20 - FRAME_SHIFT));
}

static void check_install(struct finding *f)
{
	static const char *const names[] = { "libonramp.so", "onrampd", "onramp-surrogate" };
	char path[PATH_MAX], lacking[96] = "";
	unsigned i;

	for (i = 0; i < n_elems(names); i++)
		if (own_path((enum own_file)i, path, sizeof(path)))
			snprintf(lacking + strlen(lacking), sizeof(lacking) - strlen(lacking), "%s%s",
				 lacking[0] ? ", " : "", names[i]);
	if (lacking[0]) {
		found(f, MISSING, "not found: %s", lacking);
		advise(f, "make, or install onramp again");
	} else {
		own_path(OWN_LIBRARY, path, sizeof(path));
		found(f, FINE, "library, agent and surrogate are in place (%.120s)", path);
	}
}

static void check_agent(struct finding *f)
{
	CLOSE_FD int ctl = agent_connect();

	if (ctl >= 0 && ctl_is_own(ctl))
		found(f, FINE, "your own runs in this network namespace: it serves connections within this host");
	else if (ctl >= 0)
		found(f, FINE, "the system's runs in this network namespace");
	else if (ctl == -ECONNREFUSED) {
		found(f, ATTENTION, "none runs in this network namespace; `onramp run` starts one for you, which "
		      "serves connections within this host");
		advise(f, "sudo onramp attach INTERFACE, for other hosts, too");
	} else if (ctl == -EPROTO) {
		found(f, MISSING, "the agent here is of another build");
		advise(f, "sudo onramp detach --all, then attach with this build");
	} else {
		found(f, MISSING, "the agent cannot be reached: %s", strerror(-ctl));
		advise(f, "sudo ss -xlp | grep onramp");
	}
}

/* A link that is up, has an address, and could be attached. */
static bool first_candidate(char ret[IFNAMSIZ])
{
	struct ifaddrs *all, *a;
	bool hit = false;

	if (getifaddrs(&all))
		return false;
	for (a = all; a && !hit; a = a->ifa_next) {
		if (!a->ifa_addr || (a->ifa_flags & IFF_LOOPBACK) || !(a->ifa_flags & IFF_UP) ||
		    (a->ifa_addr->sa_family != AF_INET && a->ifa_addr->sa_family != AF_INET6))
			continue;
		snprintf(ret, IFNAMSIZ, "%s", a->ifa_name);
		hit = true;
	}
	freeifaddrs(all);
	return hit;
}

static void check_links(struct finding *f)
{
	CLOSE_FD int ctl = agent_connect();
	struct ctl_status s;
	char name[IFNAMSIZ], list[160] = "";
	uint32_t i;

	for (i = 0; ctl >= 0 && i < N_LINKS && agent_link(ctl, i, &s) == 0; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s (%s)", i ? ", " : "",
			 s.name, s.mode == ATTACH_NATIVE ? "native" : "generic");
	if (list[0]) {
		found(f, FINE, "attached: %s", list);
		return;
	}
	found(f, ATTENTION, "none is attached: what goes to other hosts is on the kernel");
	if (first_candidate(name))
		advise(f, "sudo onramp attach %s", name);
	else
		advise(f, "give an interface an address first: no interface but loopback has one");
}

static void check_cpu(struct finding *f)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	const char *simd = "no vector unit that we use";

#ifdef __x86_64__
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2"))
		simd = "AVX2 checksums";
	else
		simd = "no AVX2: checksums by 64-bit words";
#endif
	found(f, n > 1 ? FINE : ATTENTION, "%ld online, %s", n, simd);
	if (n <= 1)
		advise(f, "use the default profile: with one CPU, spinning keeps the peer from running");
}

static void check_thp(struct finding *f)
{
	char line[128];

	if (!read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled", line, sizeof(line))) {
		found(f, FINE, "the kernel has none for shared memory");
		return;
	}
	if (strstr(line, "[never]") || strstr(line, "[deny]")) {
		found(f, FINE, "off for shared memory; stacks use small pages");
		advise(f, "optional: echo advise | sudo tee /sys/kernel/mm/transparent_hugepage/shmem_enabled");
		return;
	}
	found(f, FINE, "shared memory: %s", line);
}

static const struct check {
	const char *name;
	void (*run)(struct finding *f);
} checks[] = {
	{ "installation", check_install },
	{ "kernel", check_kernel },
	{ "AF_XDP", check_af_xdp },
	{ "BPF", check_bpf },
	{ "bpffs", check_bpffs },
	{ "locked memory", check_memlock },
	{ "agent", check_agent },
	{ "interfaces", check_links },
	{ "processors", check_cpu },
	{ "huge pages", check_thp },
};

static const char *health_word(enum health h)
{
	return h == FINE ? "ok" : h == ATTENTION ? "attention" : "missing";
}

static void print_one(const struct check *ch, const struct finding *f)
{
	enum colour col = f->health == FINE ? GOOD : WARN;

	printf("%-13s  %s%-9s%s  %s\n", ch->name, colour_on(col), health_word(f->health),
	       colour_off(col), f->text);
	if (f->remedy[0])
		printf("%-13s  %-9s  %s%s%s\n", "", "", colour_on(BOLD), f->remedy, colour_off(BOLD));
}

static void add_json(struct json_object *all, const struct check *ch, const struct finding *f)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "check", json_object_new_string(ch->name));
	json_object_object_add(o, "health", json_object_new_string(health_word(f->health)));
	json_object_object_add(o, "finding", json_object_new_string(f->text));
	json_object_object_add(o, "remedy", json_object_new_string(f->remedy));
	json_object_array_add(all, o);
}

static int run(const struct cmd *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct json_object *all = NULL;
	struct finding f;
	bool missing = false;
	unsigned i;
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":jh", longs, NULL)) != -1) {
		if (o == 'h')
			return print_help(c);
		if (o != 'j')
			return bad_option(c, argv);
		if (!all)
			all = json_object_new_array();
	}
	if (optind < argc)
		return misused(c, "'%s' is one word too many", argv[optind]);
	for (i = 0; i < n_elems(checks); i++) {
		f = (struct finding){ 0 };
		checks[i].run(&f);
		missing |= f.health == MISSING;
		if (all)
			add_json(all, &checks[i], &f);
		else
			print_one(&checks[i], &f);
	}
	if (all && json_out(all))
		return EXIT_FAILURE;
	return missing ? EXIT_FAILURE : EXIT_SUCCESS;
}

const struct cmd cmd_doctor = {
	.name = "doctor",
	.args = "[--json]",
	.summary = "Says what this machine can do, and what to type to get more.",
	.help =
	"      --json   for programs\n"
	"  -h, --help\n\n"
	"`ok` is as good as it gets; `attention` works, but could be better or is not set up yet;\n"
	"`missing` keeps everything on the kernel, and makes the exit code 1.\n",
	.run = run,
};
