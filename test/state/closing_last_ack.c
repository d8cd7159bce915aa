/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CLOSING and LAST_ACK: both have finished, our FIN, number 0, is not acknowledged. They differ
 * in what its ACK leads to; all else is played to both.
 */
#include "test/state/harness.h"

#define BOTH(S) \
	{ rfc("9293", "3.10.7.4"), "an ACK that is not of our FIN", "<A ack=0", S }, \
	{ rfc("9293", "3.10.7.4"), "an old ACK", "<A ack=-1", S }, \
	{ rfc("9293", "3.10.7.4"), "an ACK of more than our FIN", "<A ack=2 >A", S, .ev = EV_TCP_ACK_UNSENT }, \
	{ rfc("9293", "3.10.7.4"), "no ACK", "<- len=5", S }, \
	{ rfc("9293", "3.10.7.4"), "the peer's FIN again", "<FA seq=-1 ack=0 >A", S }, \
	{ rfc("9293", "3.10.7.4"), "text after it is ignored", "<A ack=0 len=5 !recv:9=0", S }, \
	{ rfc("9293", "3.10.7.4"), "URG is ignored", "<UA ack=0 len=5 urg=2 !oob:1=EINVAL", S }, \
	{ rfc("9293", "3.10.7.4"), "above the window", "<A ack=1 seq=W+1 >A", S }, \
	{ rfc("9293", "3.10.7.4"), "no window", "<A wnd=0 ack=0", S }, \
	{ rfc("9293", "3.10.7.4"), "a reset", "<R", TCP_S_CLOSED, .err = ECONNRESET, .at = -1 }, \
	{ rfc("5961", "3.2"), "a reset in the window", "<R seq=9 >A", S, .ev = EV_TCP_CHALLENGE }, \
	{ rfc("5961", "3.2"), "a reset outside", "<R seq=W+1", S }, \
	{ rfc("5961", "4.2"), "a SYN", "<S seq=9 >A", S }, \
	{ rfc("7323", "5.3"), "an older timestamp", "<FA seq=-1 ack=1 ts=-1 >A sack=-1-0", S, .only = WITH, \
	  .ev = EV_TCP_PAWS }, \
	{ rfc("9293", "3.1"), "a wrong checksum", "<A ack=1 bad=1", S, .ev = EV_TCP_BAD }, \
	{ rfc("9293", "3.8.1"), "the FIN is sent again", "+200 >FA seq=0 +400 >FA seq=0", S }, \
	{ rfc("9293", "3.10.2"), "SEND", "!send:1=EPIPE", S }, \
	{ rfc("9293", "3.10.3"), "RECEIVE", "!recv:1=0", S }, \
	{ rfc("9293", "3.10.4"), "CLOSE again", "!shut:wr", S }, \
	{ rfc("9293", "3.10.4"), "the descriptor goes, it goes on", "!close <A ack=0", S }, \
	{ rfc("9293", "3.10.5"), "ABORT needs no reset", "!abort:ECONNRESET", TCP_S_CLOSED, .err = ECONNRESET, \
	  .at = -1 }, \
	{ LINUX, "nor does SO_LINGER 0", "!linger:0 !close", GONE }

static const struct row closing[] = {
	BOTH(TCP_S_CLOSING),
	{ rfc("9293", "3.10.7.4"), "the ACK of our FIN", "<A ack=1", TCP_S_TIME_WAIT, .at = 60000 },
	{ LINUX, "with the peer's FIN again", "<FA seq=-1 ack=1", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.7.4"), "an orphan's", "!close <A ack=1", TCP_S_TIME_WAIT, .at = 60000 },
	{ rfc("9293", "3.10.7.4"), "unread text outlives it", "<A ack=1 !recv:9=5 !recv:9=0", TCP_S_TIME_WAIT,
	  .setup = TO_FIN_WAIT_1 "<FA seq=1 ack=1 len=5 >A " },
};

static const struct row last_ack[] = {
	BOTH(TCP_S_LAST_ACK),
	{ rfc("9293", "3.10.7.4"), "the ACK of our FIN", "<A ack=1", TCP_S_CLOSED, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "with the peer's FIN again", "<FA seq=-1 ack=1", TCP_S_CLOSED },
	{ rfc("9293", "3.10.7.4"), "an orphan's", "!close <A ack=1", GONE },
	{ rfc("9293", "3.10.7.4"), "unread text outlives it", "<A ack=1 !recv:9=5 !recv:9=0", TCP_S_CLOSED,
	  .setup = TO_ESTABLISHED "<FA seq=1 ack=1 len=5 +40 >A !shut:wr >FA seq=1 " },
	{ rfc("9293", "3.10.7.4"), "data before our FIN is acknowledged first", "<A ack=5 +200 >FA seq=5 <A ack=6",
	  TCP_S_CLOSED, .setup = TO_CLOSE_WAIT "!send:5 >PA seq=1 len=5 !shut:wr >FA seq=6 " },
};

static void test_closing(void **state) { (void)state; PLAY(closing, TO_CLOSING); }
static void test_last_ack(void **state) { (void)state; PLAY(last_ack, TO_LAST_ACK); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_closing),
		cmocka_unit_test(test_last_ack),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
