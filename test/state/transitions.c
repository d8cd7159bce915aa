/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state machine as it is, printed, against transitions.txt (RFC 9293 3.3.2, figure 5). When
 * it changes on purpose: build/test/state/transitions --print > test/state/transitions.txt
 */
#include "test/unit/panic.h"

#include <stdio.h>
#include <string.h>

#include "core/tcp/parts.h"

#define GOLDEN "test/state/transitions.txt"

static void print(FILE *f)
{
	fprintf(f, "# The TCP state machine: state, event, next state. Other events cannot happen.\n");
	for (unsigned s = 0; s < N_TCP_STATES; s++) {
		fputc('\n', f);
		for (unsigned e = 0; e < N_TCP_EVENTS; e++) {
			int to = tcp_state_next(s, e);

			if (to >= 0)
				fprintf(f, "%-12s %-11s %s\n", tcp_state_name(s), tcp_event_name(e),
					tcp_state_name((unsigned)to));
		}
	}
}

static void test_golden(void **state)
{
	char is[8192] = "", wanted[8192] = "";
	FILE *mem = fmemopen(is, sizeof(is), "w"), *f = fopen(GOLDEN, "r");

	(void)state;
	assert_non_null(mem);
	print(mem);
	fclose(mem);
	if (!f)
		fail_msg("%s: run it from the top of the tree", GOLDEN);
	wanted[fread(wanted, 1, sizeof(wanted) - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(is, wanted);
}

static bool leads_to(unsigned from, unsigned to, unsigned left)
{
	if (from == to)
		return true;
	for (unsigned e = 0; e < N_TCP_EVENTS && left; e++) {
		int s = tcp_state_next(from, e);

		if (s >= 0 && leads_to((unsigned)s, to, left - 1))
			return true;
	}
	return false;
}

/* From everywhere there is a way to CLOSED, and from there to everywhere. */
static void test_reachable(void **state)
{
	(void)state;
	for (unsigned s = 0; s < N_TCP_STATES; s++) {
		assert_true(leads_to(s, TCP_S_CLOSED, 6));
		assert_true(leads_to(TCP_S_CLOSED, s, 6));
	}
	assert_string_equal(tcp_state_name(N_TCP_STATES), "?");
	assert_string_equal(tcp_event_name(N_TCP_EVENTS), "?");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_reachable),
	};

	if (argc > 1 && !strcmp(argv[1], "--print")) {
		print(stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
