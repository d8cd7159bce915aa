/* SPDX-License-Identifier: BSD-2-Clause */
/* TIME_WAIT: the peer's FIN was its number -1; all of ours is acknowledged by 0. */
#include "test/state/harness.h"

static const struct row segments[] = {
	{ rfc("9293", "3.10.7.4"), "it lasts two MSL", "", TCP_S_TIME_WAIT, .at = 60000 },
	{ rfc("9293", "3.10.7.4"), "and ends", "+60000 <A >R seq=0", TCP_S_CLOSED, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "the FIN again: answered, and the time begins anew", "+30000 <FA seq=-1 >A",
	  TCP_S_TIME_WAIT, .at = 60000 },
	{ rfc("9293", "3.10.7.4"), "a bare ACK", "<A", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.7.4"), "text is ignored", "<A len=5 >A ack=0 !recv:9=0", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.7.4"), "URG is ignored", "<UA urg=1 !oob:1=EINVAL", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.7.4"), "old text is answered", "<A seq=-9 len=5 >A", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.7.4"), "above the window", "<A seq=W+5 >A", TCP_S_TIME_WAIT },
	{ rfc("5961", "7"), "answers are rationed", "<A len=5 >A <A len=5", TCP_S_TIME_WAIT,
	  .ev = EV_TCP_CHALLENGE_LIMIT },
	{ LINUX, "a reset at the very next number ends it", "<R", TCP_S_CLOSED, .ev = EV_TCP_RST_IN },
	{ rfc("1337", "3"), "a reset elsewhere is ignored", "<R seq=9", TCP_S_TIME_WAIT, .ev = EV_TCP_RST_IN },
	{ rfc("9293", "3.1"), "a wrong checksum", "<FA seq=-1 bad=1", TCP_S_TIME_WAIT },
	{ rfc("7323", "5.3"), "an older timestamp is answered", "<A len=5 ts=-1 >A", TCP_S_TIME_WAIT, .only = WITH,
	  .ev = EV_TCP_PAWS },
	{ LINUX, "a SYN that nobody waits for is answered with an ACK", "<S seq=1 ts=1 >A", TCP_S_TIME_WAIT },
	{ LINUX, "SYN-ACK", "<SA seq=5 >A", TCP_S_TIME_WAIT },
	{ LINUX, "SYN with RST", "<SR seq=5", TCP_S_TIME_WAIT },
};

/* The port still has its listener. */
#define HEARD TO_ACCEPTED "!shut:wr >FA seq=1 <FA seq=1 ack=2 >A "

static const struct row again[] = {
	{ rfc("6191", "2"), "a newer SYN opens anew, above what was sent", "<S seq=1 ts=1 >SA seq=65537 ack=2",
	  TCP_S_SYN_RCVD, .ev = EV_TCP_TW_REUSE },
	{ rfc("6191", "2"), "all the way", "<S seq=1 ts=1 >SA seq=65537 ack=2 <A seq=2 ts=1 ack=65538 !accept",
	  TCP_S_ESTABLISHED },
	{ rfc("6191", "2"), "a lower number with a newer timestamp", "<S seq=-100 ts=1 >SA seq=65537 ack=-99",
	  TCP_S_SYN_RCVD, .only = WITH },
	{ rfc("6191", "2"), "a lower number at the same time", "<S seq=-100 ts=0 >A", TCP_S_TIME_WAIT },
	{ rfc("6191", "2"), "a higher number at the same time", "<S seq=100 ts=0 >SA seq=65537 ack=101",
	  TCP_S_SYN_RCVD },
	{ rfc("6191", "2"), "a higher number with an older timestamp", "<S seq=100 ts=-1 >A", TCP_S_TIME_WAIT,
	  .only = WITH },
	{ rfc("6191", "2"), "a higher number without a timestamp", "<S seq=100 nots >SA seq=65537 ack=101",
	  TCP_S_SYN_RCVD },
	{ rfc("6191", "2"), "the very next number", "<S ts=0 >A", TCP_S_TIME_WAIT },
	{ rfc("6191", "2"), "the old SYN again", "<S seq=-2 ts=0 >A", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.6.1"), "an orphan makes room as well", "!close <S seq=1 ts=1 >SA seq=65537 ack=2",
	  TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "SYN-ACK is no new SYN", "<SA seq=100 ts=1 >A", TCP_S_TIME_WAIT },
};

static const struct row calls[] = {
	{ rfc("9293", "3.10.2"), "SEND", "!send:1=EPIPE", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.3"), "RECEIVE", "!recv:1=0", TCP_S_TIME_WAIT },
	{ LINUX, "to a program it is closed", "!shut:wr=ENOTCONN !shut:rd=ENOTCONN", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.4"), "the descriptor goes", "!close +30000 <FA seq=-1 >A", TCP_S_TIME_WAIT, .at = 60000 },
	{ rfc("9293", "3.10.4"), "and at last the rest", "!close +60000", GONE },
	{ LINUX, "with unread text", "!close", TCP_S_TIME_WAIT, .setup = TO_FIN_WAIT_2 "<FA seq=1 ack=2 len=5 >A " },
	{ rfc("9293", "3.10.5"), "ABORT needs no reset", "!abort:ECONNRESET", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("9293", "3.10.1"), "OPEN of the same numbers", "!connect=EADDRINUSE", TCP_S_TIME_WAIT },
	{ rfc("6191", "2"), "OPEN again after a second, by timestamps", "!close +1000 !connect >S seq=S",
	  TCP_S_SYN_SENT, .only = WITH },
	{ rfc("6191", "2"), "not sooner", "!close !connect=EADDRINUSE", TCP_S_TIME_WAIT, .only = WITH },
	{ rfc("6191", "2"), "not without them", "!close +1000 !connect=EADDRINUSE", TCP_S_TIME_WAIT,
	  .only = WITHOUT },
};

static void test_segments(void **state) { (void)state; PLAY(segments, TO_TIME_WAIT); }
static void test_again(void **state) { (void)state; PLAY(again, HEARD); }
static void test_calls(void **state) { (void)state; PLAY(calls, TO_TIME_WAIT); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_calls),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
