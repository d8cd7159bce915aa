// SPDX-License-Identifier: BSD-2-Clause
/*
 * The keeper: a second process of onrampd that keeps the privileges which attaching an XDP
 * program through libxdp needs (it opens other programs and pins by id: CAP_SYS_ADMIN), so
 * that the process which talks to clients need not. It understands two requests, attach and
 * detach of one interface, from its parent alone, over a socket pair; it reads nothing else.
 *
 * If the agent goes away without a word (killed), the keeper exits and leaves all attached:
 * traffic goes on, and the next agent takes the old programs off before it starts anew.
 *
 * Mode. On veth, tun and the like generic mode is faster and takes 64 KB super-frames whole;
 * elsewhere native mode is tried first. libxdp's dispatcher lets other XDP programs share the
 * interface; where it cannot be had, our program is attached alone, and the note says so.
 */
#include "agent/agent.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include "bpf/onramp.skel.h"

#define BPFFS "/sys/fs/bpf"
#define NIC_PROG "xdp_nic"

enum { KEEPER_ATTACH = 1, KEEPER_DETACH = 2, KEEPER_STOP = 3 };

struct keeper_msg {
	uint32_t op, ifindex, mode;
	int32_t	 err;
	char	 note[128];
};

/* One attachment, in the keeper only. */
struct hold {
	uint32_t ifindex;	/* 0: unused */
	uint32_t flags;		/* XDP_FLAGS_*_MODE */
	struct xdp_program *prog;	/* NULL: attached alone, without the dispatcher */
};

static struct hold holds[N_VIS];
static struct onramp_bpf *bpf;
static bool mounted_bpffs;
static char last_words[96];	/* what libxdp or libbpf last complained of */

static int remember(const char *fmt, va_list ap)
{
	(void)vsnprintf(last_words, sizeof(last_words), fmt, ap);
	last_words[strcspn(last_words, "\n")] = 0;
	return 0;
}

static int on_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? remember(fmt, ap) : 0;
}

static int on_libxdp(enum libxdp_print_level level, const char *fmt, va_list ap)
{
	return level == LIBXDP_WARN ? remember(fmt, ap) : 0;
}

/* ---- bpffs ---- */

static bool have_bpffs(void)
{
	struct statfs fs;

	return !statfs(BPFFS, &fs) && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static void mount_bpffs(void)
{
	if (have_bpffs())
		return;
	mounted_bpffs = !mount("bpf", BPFFS, "bpf", 0, "mode=0700");
}

static void unmount_bpffs(void)
{
	/* libxdp's directory stays behind in it; another's pins keep it busy, and mounted. */
	(void)rmdir(BPFFS "/xdp");
	if (mounted_bpffs && !access(BPFFS "/xdp", F_OK))
		return;
	if (mounted_bpffs)
		(void)umount2(BPFFS, 0);
	mounted_bpffs = false;
}

/* ---- what an earlier agent left ---- */

static bool prog_name(uint32_t id, char *ret, size_t n)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	bool ok;

	if (fd < 0)
		return false;
	ok = !bpf_obj_get_info_by_fd(fd, &info, &len);
	(void)close(fd);
	(void)snprintf(ret, n, "%.*s", BPF_OBJ_NAME_LEN, info.name);
	return ok;
}

/* True if some link still extends this dispatcher: then it serves somebody. */
static bool dispatcher_serves(uint32_t prog_id)
{
	struct bpf_link_info info;
	uint32_t id = 0, len;
	int fd, err;

	while (!bpf_link_get_next_id(id, &id)) {
		fd = bpf_link_get_fd_by_id(id);
		if (fd < 0)
			continue;
		memset(&info, 0, sizeof(info));
		len = sizeof(info);
		err = bpf_obj_get_info_by_fd(fd, &info, &len);
		(void)close(fd);
		if (!err && info.type == BPF_LINK_TYPE_TRACING &&
		    info.tracing.target_obj_id == prog_id)
			return true;
	}
	return false;
}

static int clean_dispatcher(int ifindex)
{
	struct xdp_multiprog *mp = xdp_multiprog__get_from_ifindex(ifindex);
	struct xdp_program *p = NULL, *ours[8];
	uint32_t n = 0;
	int err;

	if (libxdp_get_error(mp))
		return (int)libxdp_get_error(mp);
	while (n < n_elems(ours) && (p = xdp_multiprog__next_prog(p, mp)))
		if (!strcmp(xdp_program__name(p), NIC_PROG))
			ours[n++] = p;
	if (n && (int)n == xdp_multiprog__program_count(mp))
		err = xdp_multiprog__detach(mp);
	else
		err = n ? xdp_program__detach_multi(ours, n, ifindex,
						    xdp_multiprog__attach_mode(mp), 0) : 0;
	xdp_multiprog__close(mp);
	return err;
}

static void clean_link(int ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);
	char name[BPF_OBJ_NAME_LEN + 1];
	uint32_t flags;

	if (bpf_xdp_query(ifindex, 0, &q) || !q.prog_id ||
	    !prog_name(q.prog_id, name, sizeof(name)))
		return;
	flags = q.attach_mode == XDP_ATTACHED_SKB ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	if (!strcmp(name, NIC_PROG))
		(void)bpf_xdp_detach(ifindex, flags, NULL);
	else if (!strcmp(name, "xdp_dispatcher") && clean_dispatcher(ifindex) &&
		 !dispatcher_serves(q.prog_id))
		(void)bpf_xdp_detach(ifindex, flags, NULL);
}

static void clean_stale(void)
{
	struct if_nameindex *all = if_nameindex(), *i;

	for (i = all; i && i->if_index; i++)
		clean_link((int)i->if_index);
	if (all)
		if_freenameindex(all);
	(void)libxdp_clean_references(0);
}

/* ---- attaching ---- */

static bool prefers_generic(uint32_t ifindex, char *driver, size_t n)
{
	static const char *const soft[] = { "veth", "tun", "bridge", "dummy", "ipvlan", "macvlan" };
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq ifr = { .ifr_data = (void *)&info };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	size_t i;

	if (fd >= 0 && if_indextoname(ifindex, ifr.ifr_name))
		(void)ioctl(fd, SIOCETHTOOL, &ifr);
	if (fd >= 0)
		(void)close(fd);
	(void)snprintf(driver, n, "%.31s", info.driver[0] ? info.driver : "this device");
	for (i = 0; i < n_elems(soft); i++)
		if (!strcmp(info.driver, soft[i]))
			return true;
	return false;
}

/* A fresh object over the shared maps, of which only the interface's program is loaded. */
static struct xdp_program *open_program(void)
{
	struct bpf_program *prog;
	struct bpf_object *obj;
	struct bpf_map *map;
	struct xdp_program *ret;
	size_t bytes;
	const void *elf = onramp_bpf__elf_bytes(&bytes);
	/* Named alike, for the map of global variables (n_exact) bears the object's name: it
	 * must be the same one, or this program never looks for exact flows. */
	LIBBPF_OPTS(bpf_object_open_opts, open, .object_name = bpf_object__name(bpf->obj));

	obj = bpf_object__open_mem(elf, bytes, &open);
	if (!obj)
		return NULL;
	bpf_object__for_each_map(map, obj) {
		struct bpf_map *from = bpf_object__find_map_by_name(bpf->obj, bpf_map__name(map));

		if (from && bpf_map__reuse_fd(map, bpf_map__fd(from))) {
			bpf_object__close(obj);
			return NULL;
		}
	}
	bpf_object__for_each_program(prog, obj)
		(void)bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), NIC_PROG));
	DECLARE_LIBXDP_OPTS(xdp_program_opts, opts, .obj = obj, .prog_name = NIC_PROG);
	ret = xdp_program__create(&opts);
	if (libxdp_get_error(ret)) {
		bpf_object__close(obj);
		return NULL;
	}
	return ret;
}

/* libxdp itself attaches a program alone where the kernel refuses to extend its dispatcher,
 * and does not say so. */
static bool is_alone(const struct hold *h)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	return !bpf_xdp_query((int)h->ifindex, 0, &q) && q.prog_id == xdp_program__id(h->prog);
}

/* Through the dispatcher; where that fails, alone. */
static int attach_mode(struct hold *h, uint32_t flags, bool *ret_alone)
{
	enum xdp_attach_mode mode = flags == XDP_FLAGS_DRV_MODE ? XDP_MODE_NATIVE : XDP_MODE_SKB;
	struct xdp_program *p = have_bpffs() ? open_program() : NULL;

	h->flags = flags;
	if (p && !xdp_program__attach(p, (int)h->ifindex, mode, 0)) {
		h->prog = p;
		*ret_alone = is_alone(h);
		return 0;
	}
	if (p)
		xdp_program__close(p);
	h->prog = NULL;
	*ret_alone = true;
	return bpf_xdp_attach((int)h->ifindex, bpf_program__fd(bpf->progs.xdp_nic),
			      flags | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);
}

/* Another's program decides the mode: one interface runs one mode. */
static uint32_t mode_in_force(uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);

	if (bpf_xdp_query((int)ifindex, 0, &q) || !q.prog_id)
		return ATTACH_AUTO;
	return q.attach_mode == XDP_ATTACHED_SKB ? ATTACH_GENERIC : ATTACH_NATIVE;
}

static void attach(struct hold *h, struct keeper_msg *m)
{
	char driver[32];
	bool soft = prefers_generic(m->ifindex, driver, sizeof(driver)), alone = false;
	uint32_t wish = m->mode, others = mode_in_force(m->ifindex);
	const char *why = "as asked";

	h->ifindex = m->ifindex;
	last_words[0] = 0;
	if (wish == ATTACH_AUTO && others != ATTACH_AUTO) {
		wish = others;
		why = "like the XDP program already there";
	} else if (wish == ATTACH_AUTO && soft) {
		wish = ATTACH_GENERIC;
		why = "faster there, and takes super-frames";
	}
	if (wish != ATTACH_GENERIC) {
		m->err = attach_mode(h, XDP_FLAGS_DRV_MODE, &alone);
		if (!m->err || wish == ATTACH_NATIVE)
			goto out;
		why = "its driver refused native mode";
	} else {
		m->err = -EINVAL;
	}
	if (m->err)
		m->err = attach_mode(h, XDP_FLAGS_SKB_MODE, &alone);
out:
	if (m->err) {
		h->ifindex = 0;
		return;
	}
	m->mode = h->flags == XDP_FLAGS_DRV_MODE ? ATTACH_NATIVE : ATTACH_GENERIC;
	if (m->mode == ATTACH_NATIVE && wish == ATTACH_AUTO)
		why = "its driver has it";
	(void)snprintf(m->note, sizeof(m->note), "%s mode on %s (%s)%s",
		       m->mode == ATTACH_NATIVE ? "native" : "generic", driver, why,
		       alone ? "; alone: no libxdp dispatcher here" :
			       "; shared by libxdp's dispatcher");
}

static int detach(struct hold *h)
{
	int err;

	if (h->prog) {
		err = xdp_program__detach(h->prog, (int)h->ifindex,
					  h->flags == XDP_FLAGS_DRV_MODE ? XDP_MODE_NATIVE :
									   XDP_MODE_SKB, 0);
		xdp_program__close(h->prog);
		if (err)	/* the interface is gone: so are its programs, but not the pins */
			(void)libxdp_clean_references((int)h->ifindex);
	} else {
		err = bpf_xdp_detach((int)h->ifindex, h->flags, NULL);
	}
	*h = (struct hold){ 0 };
	return err;
}

static struct hold *hold_of(uint32_t ifindex)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++)
		if (holds[i].ifindex == ifindex)
			return &holds[i];
	return NULL;
}

static void obey(struct keeper_msg *m)
{
	struct hold *h = hold_of(m->op == KEEPER_ATTACH ? 0 : m->ifindex);

	m->err = h ? 0 : -ENOENT;
	if (h && m->op == KEEPER_ATTACH)
		attach(h, m);
	else if (h && m->op == KEEPER_DETACH)
		m->err = detach(h);
	if (m->err && last_words[0])
		(void)snprintf(m->note, sizeof(m->note), "%s", last_words);
}

noreturn_fn static void keeper_main(int fd, int ready_fd)
{
	struct keeper_msg m;
	uint32_t i;
	ssize_t n;

	if (ready_fd >= 0)
		(void)close(ready_fd);	/* only the agent says when it is ready */
	(void)prctl(PR_SET_NAME, "onrampd-keeper", 0, 0, 0);
	(void)libbpf_set_print(on_libbpf);
	(void)libxdp_set_print(on_libxdp);
	mount_bpffs();
	clean_stale();
	m = (struct keeper_msg){ .op = 0 };
	(void)send(fd, &m, sizeof(m), MSG_NOSIGNAL);	/* started */
	for (;;) {
		n = recv(fd, &m, sizeof(m), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof(m))
			_exit(0);	/* the agent was killed: leave all as it is */
		if (m.op == KEEPER_STOP)
			break;
		m.note[0] = 0;
		obey(&m);
		(void)send(fd, &m, sizeof(m), MSG_NOSIGNAL);
	}
	for (i = 0; i < N_VIS; i++)
		if (holds[i].ifindex)
			(void)detach(&holds[i]);
	unmount_bpffs();
	_exit(0);
}

/* ---- the agent's side ---- */

static int ask(struct agent *a, struct keeper_msg *m)
{
	ssize_t n;

	if (a->keeper_fd < 0)
		return -EPIPE;
	if (m->op && send(a->keeper_fd, m, sizeof(*m), MSG_NOSIGNAL) < 0)
		return -errno;
	do {
		n = recv(a->keeper_fd, m, sizeof(*m), 0);
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(*m))
		return -EPIPE;
	return m->err;
}

/* Forks the keeper; returns when it has cleaned up after an earlier agent. The BPF objects
 * must be open already: it inherits them. */
int keeper_start(struct agent *a)
{
	struct keeper_msg m = { .op = 0 };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	a->keeper_pid = fork();
	if (a->keeper_pid < 0)
		return -errno;
	if (!a->keeper_pid) {
		(void)close(pair[0]);
		(void)close(a->listen_fd);
		bpf = a->bpf;
		keeper_main(pair[1], a->ready_fd);
	}
	(void)close(pair[1]);
	a->keeper_fd = pair[0];
	return ask(a, &m);
}

int keeper_attach(struct agent *a, uint32_t ifindex, uint32_t mode, uint32_t *ret_mode,
		  char *note, size_t note_bytes)
{
	struct keeper_msg m = { .op = KEEPER_ATTACH, .ifindex = ifindex, .mode = mode };
	int err = ask(a, &m);

	*ret_mode = m.mode;
	(void)snprintf(note, note_bytes, "%s", m.note);
	return err;
}

int keeper_detach(struct agent *a, uint32_t ifindex)
{
	struct keeper_msg m = { .op = KEEPER_DETACH, .ifindex = ifindex };

	return ask(a, &m);
}

void keeper_stop(struct agent *a)
{
	struct keeper_msg m = { .op = KEEPER_STOP };

	if (a->keeper_fd < 0)
		return;
	(void)send(a->keeper_fd, &m, sizeof(m), MSG_NOSIGNAL);
	(void)close(a->keeper_fd);
	a->keeper_fd = -1;
	while (waitpid(a->keeper_pid, NULL, 0) < 0 && errno == EINTR)
		;
}
