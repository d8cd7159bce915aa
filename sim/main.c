/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp-sim: runs seeds. Workers are processes, one per job; each says in shared memory which
 * case it is on, so that one that crashes or loops names its case by dying. A case that fails
 * is run again alone with a recorder, since it will fail again in the same way.
 */
#include "sim/sim.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS	64
#define MAX_CPU_S	90	/* of one case: far more than any needs; a loop in the core ends here */
#define MAX_RECORDED	8	/* failures that leave files */
#define TWICE		8	/* every so many-th case is replayed and its digest compared */

struct item { const char *world; uint64_t seed; };

struct options {
	uint64_t first, last;
	const char *world, *out, *record, *pinned, *path;
	uint32_t jobs;
	bool trace, quiet, one, twice_all, paths, all;
};

struct report { uint32_t item, twice; struct sim_result r; };

struct tally {
	uint64_t n_run, n_failed, n_twice, n_bytes, n_frames, n_turns, n_talks, n_failed_talks, virtual_ns;
	uint64_t events[N_EVENTS];
};

static struct item *items;
static uint32_t n_items;
static uint32_t *current;	/* shared: item + 1 of each worker */

static void usage(FILE *f)
{
	fputs("usage: onramp-sim [--seeds A-B] [--seed N] [--world NAME] [--pinned FILE] [--jobs N]\n"
	      "                  [--trace] [--pcap FILE] [--out DIR] [--twice] [--quiet] [--list] [--help]\n"
	      "       onramp-sim --paths [--all] [--case NAME]\n"
	      "\n"
	      "Runs the stack in simulated worlds. Each seed is one history, always the same.\n"
	      "\n"
	      "  --seeds A-B   these seeds (default 1-100); the world of each follows from the seed\n"
	      "  --seed N      this one\n"
	      "  --world NAME  in this world (--list tells which there are)\n"
	      "  --pinned FILE the cases of a file: lines of WORLD SEED and why, # begins a comment\n"
	      "  --jobs N      processes (default: one per CPU)\n"
	      "  --trace       with --seed: print every event\n"
	      "  --pcap FILE   with --seed: write FILE.pcap and FILE.txt\n"
	      "  --out DIR     where failures leave WORLD-SEED.pcap and .txt (default build/sim)\n"
	      "  --twice       replay every case and compare digests (default: every 8th)\n"
	      "  --quiet       only failures and the closing line\n"
	      "  --paths       a table instead: what a connection gets out of one path after the other\n"
	      "  --all         the paths that take long, too\n"
	      "  --case NAME   those whose name begins so\n"
	      "\n"
	      "Exit status: 0 all held, 1 a seed failed, 2 wrong usage.\n", f);
}

static const char *world_of(uint64_t seed)
{
	uint32_t total = 0, x, i;

	for (i = 0; i < n_worlds; i++)
		total += worlds[i].share;
	x = (uint32_t)(seed % total);
	for (i = 0; x >= worlds[i].share; i++)
		x -= worlds[i].share;
	return worlds[i].name;
}

static void add_item(const char *world, uint64_t seed)
{
	if ((n_items & (n_items - 1)) == 0)
		items = realloc(items, (n_items ? 2 * (size_t)n_items : 1) * sizeof(*items));
	must(items);
	items[n_items++] = (struct item){ world ? world : world_of(seed), seed };
}

static bool read_pinned(const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512], name[64];
	unsigned long long seed;
	uint32_t i, n = 0;

	if (!f) {
		fprintf(stderr, "onramp-sim: %s: %s\n", path, strerror(errno));
		return false;
	}
	while (fgets(line, sizeof(line), f)) {
		n++;
		if (line[strspn(line, " \t\n")] == '#' || !line[strspn(line, " \t\n")])
			continue;
		for (i = 0; sscanf(line, "%63s %llu", name, &seed) == 2 && i < n_worlds; i++) {
			if (!strcmp(worlds[i].name, name))
				break;
		}
		if (i == n_worlds || sscanf(line, "%63s %llu", name, &seed) != 2) {
			fprintf(stderr, "onramp-sim: %s:%u: not a world and a seed\n", path, n);
			fclose(f);
			return false;
		}
		add_item(worlds[i].name, seed);
	}
	fclose(f);
	return true;
}

/* ---- one case -------------------------------------------------------------------------------- */

static void on_loop(int sig)
{
	static const char text[] = "onramp-sim: a case does not come to an end\n";

	(void)sig;
	(void)!write(2, text, sizeof(text) - 1);
	_exit(98);
}

static void arm_watch(void)
{
	struct itimerval v = { .it_value = { MAX_CPU_S, 0 } };

	signal(SIGPROF, on_loop);
	setitimer(ITIMER_PROF, &v, NULL);
}

static void run_item(const struct options *o, uint32_t i, struct report *ret)
{
	struct sim_result second;

	arm_watch();
	ret->item = i;
	ret->twice = o->twice_all || i % TWICE == 0;
	sim_run(items[i].world, items[i].seed, NULL, &ret->r);
	if (!ret->twice || ret->r.failed)
		return;
	sim_run(items[i].world, items[i].seed, NULL, &second);
	if (second.digest != ret->r.digest) {
		ret->r.failed = true;
		snprintf(ret->r.reason, sizeof(ret->r.reason), "not deterministic: digests %016llx and %016llx",
			 (unsigned long long)ret->r.digest, (unsigned long long)second.digest);
	}
}

static void worker(const struct options *o, uint32_t job, uint32_t from, int fd)
{
	for (uint32_t i = from; i < n_items; i += o->jobs) {
		struct report r;

		memset(&r, 0, sizeof(r));
		current[job] = i + 1;
		run_item(o, i, &r);
		if (write(fd, &r, sizeof(r)) != sizeof(r))
			_exit(97);
	}
	current[job] = 0;
	_exit(0);
}

/* ---- all cases ------------------------------------------------------------------------------- */

static pid_t start(const struct options *o, uint32_t job, uint32_t from, int fd)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		worker(o, job, from, fd);
	return pid;
}

static void failed(const struct options *o, uint32_t i, const char *reason, uint64_t nth)
{
	char prefix[400];
	struct sim_result r;
	pid_t pid;

	printf("FAILED  %s %llu: %s\n", items[i].world, (unsigned long long)items[i].seed, reason);
	if (nth > MAX_RECORDED)
		return;
	if (mkdir(o->out, 0755) && errno != EEXIST)
		fprintf(stderr, "onramp-sim: %s: %s\n", o->out, strerror(errno));
	snprintf(prefix, sizeof(prefix), "%s/%s-%llu", o->out, items[i].world, (unsigned long long)items[i].seed);
	printf("        see %s.txt, %s.pcap; again: onramp-sim --world %s --seed %llu --trace\n", prefix, prefix,
	       items[i].world, (unsigned long long)items[i].seed);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(97);
		arm_watch();
		sim_run(items[i].world, items[i].seed, prefix, &r);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static void add(struct tally *t, const struct report *r)
{
	t->n_run++;
	t->n_twice += r->twice;
	t->n_failed += r->r.failed;
	t->n_bytes += r->r.n_bytes;
	t->n_frames += r->r.n_frames;
	t->n_turns += r->r.n_turns;
	t->n_talks += r->r.n_talks;
	t->n_failed_talks += r->r.n_failed_talks;
	t->virtual_ns += r->r.virtual_ns;
	for (uint32_t i = 0; i < N_EVENTS; i++)
		t->events[i] += r->r.events[i];
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* A worker has gone before its share was done: the case it was on is to blame. */
static bool gone(const struct options *o, uint32_t job, int status, struct tally *t, uint32_t *ret_next)
{
	char why[100];
	uint32_t i = current[job];

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return false;
	if (WIFSIGNALED(status))
		snprintf(why, sizeof(why), "died of signal %d", WTERMSIG(status));
	else
		snprintf(why, sizeof(why), WEXITSTATUS(status) == 98 ? "does not come to an end" :
			 "died, exit status %d: a sanitizer's report is above", WEXITSTATUS(status));
	t->n_run++;
	t->n_failed++;
	failed(o, i - 1, why, t->n_failed);
	*ret_next = i - 1 + o->jobs;
	return true;
}

static void run_all(const struct options *o, struct tally *t)
{
	struct pollfd p[MAX_JOBS];
	pid_t pid[MAX_JOBS];
	int fd[2], status;
	double said = seconds();
	uint32_t live = o->jobs, next;

	for (uint32_t j = 0; j < o->jobs; j++) {
		if (pipe(fd)) {
			perror("onramp-sim: pipe");
			exit(1);
		}
		p[j] = (struct pollfd){ .fd = fd[0], .events = POLLIN };
		pid[j] = start(o, j, j, fd[1]);
		close(fd[1]);
	}
	while (live) {
		poll(p, o->jobs, 1000);
		for (uint32_t j = 0; j < o->jobs; j++) {
			struct report r;

			if (p[j].fd < 0 || !p[j].revents)
				continue;
			if (read(p[j].fd, &r, sizeof(r)) == sizeof(r)) {
				add(t, &r);
				if (r.r.failed)
					failed(o, r.item, r.r.reason, t->n_failed);
				continue;
			}
			close(p[j].fd);
			waitpid(pid[j], &status, 0);
			p[j].fd = -1;
			live--;
			if (gone(o, j, status, t, &next) && next < n_items && !pipe(fd)) {
				p[j].fd = fd[0];
				pid[j] = start(o, j, next, fd[1]);
				close(fd[1]);
				live++;
			}
		}
		if (!o->quiet && seconds() - said > 5) {
			said = seconds();
			printf("%llu of %u seeds, %llu failed\n", (unsigned long long)t->n_run, n_items,
			       (unsigned long long)t->n_failed);
			fflush(stdout);
		}
	}
}

/* What the core can count and no seed has met: where the worlds have a gap. */
static void tell_gaps(const struct tally *t)
{
	const char *sep = "never met: ";

	for (uint32_t i = 0; i < N_EVENTS; i++) {
		if (t->events[i])
			continue;
		printf("%s%s", sep, event_name((enum event)i));
		sep = ", ";
	}
	if (*sep == ',')
		putchar('\n');
}

static int run_one(const struct options *o)
{
	struct sim_result r;

	arm_watch();
	sim_run(items[0].world, items[0].seed, o->trace ? "-" : o->record, &r);
	printf("%s %llu: %s%s; digest %016llx, %llu bytes, %llu frames, %llu turns, %llu conversations, "
	       "%llu with an error\n",
	       items[0].world, (unsigned long long)items[0].seed, r.failed ? "FAILED: " : "held", r.reason,
	       (unsigned long long)r.digest, (unsigned long long)r.n_bytes, (unsigned long long)r.n_frames,
	       (unsigned long long)r.n_turns, (unsigned long long)r.n_talks, (unsigned long long)r.n_failed_talks);
	return r.failed;
}

static bool parse_seeds(const char *s, struct options *o)
{
	char *end;

	o->first = o->last = strtoull(s, &end, 10);
	if (end == s)
		return false;
	if (*end == '-')
		o->last = strtoull(end + 1, &end, 10);
	return !*end && o->last >= o->first && o->last - o->first < 100000000;
}

static int list(void)
{
	for (uint32_t i = 0; i < n_worlds; i++)
		printf("%-10s %3u %%  %s\n", worlds[i].name, worlds[i].share, worlds[i].about);
	return 0;
}

static bool known(const char *name)
{
	for (uint32_t i = 0; i < n_worlds; i++) {
		if (!strcmp(worlds[i].name, name))
			return true;
	}
	fprintf(stderr, "onramp-sim: no world is called %s; --list tells which there are\n", name);
	return false;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "seeds", 1, 0, 's' }, { "seed", 1, 0, 'n' }, { "world", 1, 0, 'w' }, { "pinned", 1, 0, 'f' },
		{ "jobs", 1, 0, 'j' }, { "paths", 0, 0, 'P' }, { "all", 0, 0, 'A' }, { "case", 1, 0, 'C' },
	 { "trace", 0, 0, 't' }, { "pcap", 1, 0, 'p' }, { "out", 1, 0, 'o' },
		{ "twice", 0, 0, '2' }, { "quiet", 0, 0, 'q' }, { "list", 0, 0, 'l' }, { "help", 0, 0, 'h' },
		{ 0, 0, 0, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (c) {
		case 's': case 'n':
			o->one = c == 'n';
			if (!parse_seeds(optarg, o)) {
				fprintf(stderr, "onramp-sim: %s is not a range of seeds\n", optarg);
				return 2;
			}
			break;
		case 'w': o->world = optarg; break;
		case 'f': o->pinned = optarg; break;
		case 'j': o->jobs = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 't': o->trace = true; break;
		case 'p': o->record = optarg; break;
		case 'o': o->out = optarg; break;
		case '2': o->twice_all = true; break;
		case 'q': o->quiet = true; break;
		case 'P': o->paths = true; break;
		case 'A': o->all = true; break;
		case 'C': o->path = optarg; break;
		case 'l': exit(list());
		case 'h': usage(stdout); exit(0);
		default: usage(stderr); return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}
	return o->world && !known(o->world) ? 2 : 0;
}

int main(int argc, char **argv)
{
	struct options o = { .first = 1, .last = 100, .out = "build/sim",
			     .jobs = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN) };
	struct tally t = { 0 };
	double began = seconds();
	int err = parse(argc, argv, &o);

	if (err)
		return err;
	if (o.paths)
		return path_table(o.path, o.all);
	if (o.pinned ? !read_pinned(o.pinned) : 0)
		return 2;
	for (uint64_t s = o.first; !o.pinned && s <= o.last; s++)
		add_item(o.world, s);
	if (o.one && (o.trace || o.record || o.first == o.last))
		return run_one(&o);
	o.jobs = o.jobs < 1 ? 1 : o.jobs > MAX_JOBS ? MAX_JOBS : o.jobs;
	current = mmap(NULL, MAX_JOBS * sizeof(*current), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (current == MAP_FAILED) {
		perror("onramp-sim: mmap");
		return 1;
	}
	run_all(&o, &t);
	if (!o.quiet)
		tell_gaps(&t);
	printf("onramp-sim: %llu seeds, %llu failed, %llu replayed alike; %llu conversations (%llu ended by an error "
	       "in order), %.1f MB byte-exact, %llu frames, %llu turns, %.0f s of virtual time in %.1f s\n",
	       (unsigned long long)t.n_run, (unsigned long long)t.n_failed, (unsigned long long)t.n_twice,
	       (unsigned long long)t.n_talks, (unsigned long long)t.n_failed_talks, (double)t.n_bytes / 1e6,
	       (unsigned long long)t.n_frames, (unsigned long long)t.n_turns, (double)t.virtual_ns / 1e9,
	       seconds() - began);
	return t.n_failed != 0;
}
