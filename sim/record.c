/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a failing seed leaves: PREFIX.pcap with each frame as it left its host, and PREFIX.txt
 * with the trace records of every turn between the simulator's own remarks, so that the tail
 * of the text tells what led to the end.
 */
#include "sim/sim.h"

#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdlib.h>

struct recorder {
	FILE *text;
	pcap_t *pcap;
	pcap_dumper_t *dump;
	bool want_text;
};

struct recorder *record_open(const char *prefix)
{
	struct recorder *r = calloc(1, sizeof(*r));
	char path[512];

	must(r);
	if (!strcmp(prefix, "-")) {
		r->text = stdout;
		return r;
	}
	snprintf(path, sizeof(path), "%s.txt", prefix);
	r->text = fopen(path, "w");
	snprintf(path, sizeof(path), "%s.pcap", prefix);
	r->pcap = pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 262144, PCAP_TSTAMP_PRECISION_NANO);
	if (r->pcap)
		r->dump = pcap_dump_open(r->pcap, path);
	if (!r->text || !r->dump)
		fprintf(stderr, "onramp-sim: cannot write %s\n", path);
	return r;
}

void record_close(struct recorder *r)
{
	if (!r)
		return;
	if (r->dump)
		pcap_dump_close(r->dump);
	if (r->pcap)
		pcap_close(r->pcap);
	if (r->text && r->text != stdout)
		fclose(r->text);
	free(r);
}

void record_frame(struct sim *w, const struct sim_frame *f)
{
	struct pcap_pkthdr h = { .caplen = f->len, .len = f->len };

	if (!w->rec || !w->rec->dump)
		return;
	h.ts.tv_sec = (time_t)(w->now / NS_PER_S);
	h.ts.tv_usec = (suseconds_t)(w->now % NS_PER_S);	/* nanoseconds, as the file's head says */
	pcap_dump((u_char *)w->rec->dump, &h, f->data);
	pcap_dump_flush(w->rec->dump);
}

static void stamp(struct sim *w, uint64_t at)
{
	fprintf(w->rec->text, "%5llu.%09llu ", (unsigned long long)(at / NS_PER_S),
		(unsigned long long)(at % NS_PER_S));
}

void record_text(struct sim *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->rec || !w->rec->text)
		return;
	stamp(w, w->now);
	va_start(ap, fmt);
	vfprintf(w->rec->text, fmt, ap);
	va_end(ap);
	fputc('\n', w->rec->text);
	fflush(w->rec->text);
}

void record_turn(struct sim *w, struct sim_stack *s, struct turn *t)
{
	static const char *const who[] = { "-", "app", "surrogate", "sim", "adapter" };
	uint32_t next = s->seg->trace_next, n = next - s->trace_seen;
	const struct trace_rec *r;

	if (n > s->app.trace_mask + 1)
		n = s->app.trace_mask + 1;
	for (uint32_t i = next - n; i != next; i++) {
		r = &s->app.trace[i & s->app.trace_mask];
		if (!w->k.hostile)
			sim_digest_bytes(w, r, sizeof(*r));
		if (!w->rec || !w->rec->text || r->event >= N_EVENTS)
			continue;
		stamp(w, r->at);
		fprintf(w->rec->text, "stack %u %-9s %-19s %08x %u %u\n", s->id, who[r->who % n_elems(who)],
			event_name((enum event)r->event), r->h, r->arg[0], r->arg[1]);
	}
	s->trace_seen = next;
	if (w->rec && w->rec->text)
		fflush(w->rec->text);
	(void)t;
}
