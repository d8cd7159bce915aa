/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state machine as a matrix, beside RFC 9293 figure 5: no arrow changes unseen. A dot is a
 * cell that cannot happen.
 */
#include "test/unit/panic.h"

#include <stdio.h>
#include <string.h>

#include "core/tcp/parts.h"

static const char golden[] =
"CLOSED       connect>SYN_SENT listen>LISTEN passive>SYN_RCVD . . . . . . . . .\n"
"LISTEN       . . . . . . close>CLOSED . . . . .\n"
"SYN_SENT     . . . syn>SYN_RCVD syn+ack>ESTABLISHED . close>CLOSED . . rst>CLOSED abort>CLOSED expire>CLOSED\n"
"SYN_RCVD     . . . . . ack of syn>ESTABLISHED close>FIN_WAIT_1 . . rst>CLOSED abort>CLOSED expire>CLOSED\n"
"ESTABLISHED  . . . . . . close>FIN_WAIT_1 fin>CLOSE_WAIT . rst>CLOSED abort>CLOSED expire>CLOSED\n"
"FIN_WAIT_1   . . . . . . . fin>CLOSING ack of fin>FIN_WAIT_2 rst>CLOSED abort>CLOSED expire>CLOSED\n"
"FIN_WAIT_2   . . . . . . . fin>TIME_WAIT . rst>CLOSED abort>CLOSED expire>CLOSED\n"
"CLOSE_WAIT   . . . . . . close>LAST_ACK . . rst>CLOSED abort>CLOSED expire>CLOSED\n"
"CLOSING      . . . . . . . . ack of fin>TIME_WAIT rst>CLOSED abort>CLOSED expire>CLOSED\n"
"LAST_ACK     . . . . . . . . ack of fin>CLOSED rst>CLOSED abort>CLOSED expire>CLOSED\n"
"TIME_WAIT    . . . . . . . . . rst>CLOSED abort>CLOSED expire>CLOSED\n";

static void test_matrix(void **state)
{
	char text[4096];
	size_t n = 0;

	(void)state;
	for (unsigned s = 0; s < N_TCP_STATES; s++) {
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%-12s", tcp_state_name(s));
		for (unsigned e = 0; e < N_TCP_EVENTS; e++) {
			int to = tcp_state_next(s, e);

			if (to < 0)
				n += (size_t)snprintf(text + n, sizeof(text) - n, " .");
			else
				n += (size_t)snprintf(text + n, sizeof(text) - n, " %s>%s",
						      tcp_event_name(e), tcp_state_name((unsigned)to));
		}
		n += (size_t)snprintf(text + n, sizeof(text) - n, "\n");
	}
	assert_string_equal(text, golden);
	assert_string_equal(tcp_state_name(99), "?");
	assert_string_equal(tcp_event_name(99), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_matrix) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
