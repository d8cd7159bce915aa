/* SPDX-License-Identifier: BSD-2-Clause */
/* CLOSE_WAIT: the peer has finished with its number -1, we have not. */
#include "test/state/harness.h"

static const struct row segments[] = {
	{ rfc("9293", "3.10.7.4"), "the FIN again", "<FA seq=-1 >A", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "older text again", "<A seq=-6 len=5 >A sack=-6--1", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "text after the FIN is ignored", "<A len=5 !recv:9=0", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "unless some of it is old", "<A seq=-3 len=9 >A ack=0 !recv:9=0",
	  TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "so is another FIN", "<FA", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "URG is ignored", "<UA len=3 urg=1 !oob:1=EINVAL", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "URG without text", "<UA urg=5 !oob:1=EINVAL", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "an ACK of data", "!send:9 >PA seq=0 len=9 <A ack=9", TCP_S_CLOSE_WAIT, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "an ACK of what was not sent", "<A ack=1 >A", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "an old ACK", "<A ack=-1", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "no ACK", "<-", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "above the window", "<A seq=W+1 >A", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.8.4"), "a keepalive probe", "<A seq=-1 >A", TCP_S_CLOSE_WAIT },
	{ LINUX, "a reset: the peer had said goodbye", "<R !send:1=EPIPE", TCP_S_CLOSED },
	{ rfc("5961", "3.2"), "a reset", "<R", TCP_S_CLOSED, .err = EPIPE },
	{ rfc("5961", "3.2"), "a reset in the window", "<R seq=9 >A", TCP_S_CLOSE_WAIT },
	{ rfc("5961", "3.2"), "a reset at the FIN", "<R seq=-1", TCP_S_CLOSE_WAIT },
	{ rfc("5961", "3.2"), "a reset outside", "<R seq=W+1", TCP_S_CLOSE_WAIT },
	{ rfc("5961", "4.2"), "a SYN", "<S seq=9 >A", TCP_S_CLOSE_WAIT },
	{ rfc("5961", "4.2"), "the first SYN again", "<S seq=-2 >A", TCP_S_CLOSE_WAIT },
	{ rfc("7323", "5.3"), "an older timestamp", "<A len=5 ts=-1 >A", TCP_S_CLOSE_WAIT, .only = WITH },
	{ rfc("9293", "3.1"), "a wrong checksum", "<R bad=1", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.8.6.1"), "no window: probes", "<A wnd=0 !send:5 +200 >A seq=-1", TCP_S_CLOSE_WAIT,
	  .at = 400 },
	{ rfc("9293", "3.8.6.1"), "and then a window", "<A wnd=0 !send:5 <A wnd=9 >PA seq=0 len=5",
	  TCP_S_CLOSE_WAIT },
};

static const struct row calls[] = {
	{ rfc("9293", "3.10.2"), "SEND", "!send:5 >PA seq=0 len=5", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.3"), "RECEIVE: connection closing", "!recv:5=0 !recv:5=0", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.3"), "RECEIVE of what came with the FIN", "!recv:9=5 !recv:9=0", TCP_S_CLOSE_WAIT,
	  .setup = TO_ESTABLISHED "<FA seq=1 ack=1 len=5 +40 >A " },
	{ rfc("9293", "3.10.4"), "CLOSE, half", "!shut:wr >FA seq=0", TCP_S_LAST_ACK },
	{ rfc("9293", "3.10.4"), "CLOSE", "!close >FA seq=0 <A ack=1", GONE },
	{ rfc("9293", "3.10.4"), "CLOSE behind data", "<A wnd=0 !send:5 !close <A wnd=9 >PFA seq=0 len=5 <A ack=6",
	  GONE },
	{ rfc("9293", "3.8.6.1"), "a FIN waits for the window", "<A wnd=0 !shut:wr", TCP_S_LAST_ACK, .at = 200 },
	{ rfc("9293", "3.8.6.1"), "and goes when it opens", "<A wnd=0 !shut:wr <A wnd=9 >FA seq=0", TCP_S_LAST_ACK },
	{ rfc("2525", "2.17"), "unread text at the end", "!close >RA seq=0 ack=0", GONE,
	  .setup = TO_ESTABLISHED "<FA seq=1 ack=1 len=5 +40 >A " },
	{ rfc("9293", "3.10.5"), "ABORT", "!abort:ECONNRESET >RA seq=0 ack=0", TCP_S_CLOSED, .err = ECONNRESET },
	{ LINUX, "SO_LINGER 0", "!linger:0 !close >RA seq=0 ack=0", GONE },
	{ LINUX, "shutdown for reading", "!shut:rd !recv:1=0", TCP_S_CLOSE_WAIT },
};

static void test_segments(void **state) { (void)state; PLAY(segments, TO_CLOSE_WAIT); }
static void test_calls(void **state) { (void)state; PLAY(calls, TO_CLOSE_WAIT); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_calls),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
