/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * FIN_WAIT_1: we have finished, our FIN is number 0 and acknowledged by 1. FIN_WAIT_2: it is
 * acknowledged, by 0. What the peer sends next is its 0.
 */
#include "test/state/harness.h"

static const struct row one[] = {
	{ rfc("9293", "3.10.7.4"), "the ACK of our FIN", "<A ack=1", TCP_S_FIN_WAIT_2, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "an ACK that is not of our FIN", "<A ack=0", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.7.4"), "an ACK of more than our FIN", "<A ack=2 >A", TCP_S_FIN_WAIT_1,
	  .ev = EV_TCP_ACK_UNSENT },
	{ rfc("9293", "3.10.7.4"), "an old ACK", "<A ack=-1", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.7.4"), "FIN with the ACK of ours", "<FA ack=1 >A", TCP_S_TIME_WAIT, .at = 60000 },
	{ rfc("9293", "3.10.7.4"), "FIN without it", "<FA ack=0 >A", TCP_S_CLOSING },
	{ rfc("9293", "3.10.7.4"), "FIN with text, and the ACK", "<FA ack=1 len=5 >A !recv:9=5 !recv:9=0",
	  TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.7.4"), "FIN with text, without it", "<FA ack=0 len=5 >A !recv:9=5 !recv:9=0",
	  TCP_S_CLOSING },
	{ rfc("9293", "3.10.7.4"), "FIN without any ACK", "<F", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.7.4"), "FIN too early", "<FA seq=5 ack=1 >A sack=5-6", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "text is still taken", "<PA len=5 >A !recv:5", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.7.4"), "text with the ACK", "<PA len=5 ack=1 >A !recv:5", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "text above the window", "<A seq=W+1 len=5 >A", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.7.4"), "text without ACK", "<- len=5", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.7.4"), "URG", "<UA len=5 urg=5 >A", TCP_S_FIN_WAIT_1, .ready = "iop" },
	{ rfc("9293", "3.10.7.4"), "no window", "<A wnd=0 ack=1", TCP_S_FIN_WAIT_2 },
	{ rfc("5961", "3.2"), "a reset", "<R", TCP_S_CLOSED, .err = ECONNRESET, .at = -1 },
	{ rfc("5961", "3.2"), "a reset in the window", "<R seq=9 >A", TCP_S_FIN_WAIT_1 },
	{ rfc("5961", "3.2"), "a reset outside", "<R seq=W+1", TCP_S_FIN_WAIT_1 },
	{ rfc("5961", "4.2"), "a SYN", "<S seq=9 >A", TCP_S_FIN_WAIT_1 },
	{ rfc("7323", "5.3"), "an older timestamp", "<A len=5 ts=-1 >A", TCP_S_FIN_WAIT_1, .only = WITH,
	  .ev = EV_TCP_PAWS },
	{ rfc("9293", "3.1"), "a wrong checksum", "<FA ack=1 bad=1", TCP_S_FIN_WAIT_1, .ev = EV_TCP_BAD },
	{ rfc("9293", "3.8.1"), "the FIN is sent again", "+200 >FA seq=0", TCP_S_FIN_WAIT_1, .ev = EV_TCP_RTO },
	{ rfc("9293", "3.10.2"), "SEND", "!send:1=EPIPE", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.3"), "RECEIVE", "!recv:1=EAGAIN", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.4"), "CLOSE again", "!shut:wr", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.4"), "the descriptor goes", "!close <A ack=1", TCP_S_FIN_WAIT_2, .at = 60000 },
	{ rfc("9293", "3.10.5"), "ABORT", "!abort:ECONNRESET >RA seq=1 ack=0", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("2525", "2.17"), "unread text at the end", "<A len=5 >A !close >RA seq=1 ack=5", GONE },
	{ LINUX, "no more reading, and text comes", "!shut:rd <A len=5 ack=1 >R seq=1", TCP_S_CLOSED,
	  .err = ECONNRESET },
	{ LINUX, "no more reading, and the FIN comes", "!shut:rd <FA ack=1 >A", TCP_S_TIME_WAIT },
};

static const struct row two[] = {
	{ rfc("9293", "3.10.7.4"), "FIN", "<FA >A ack=1", TCP_S_TIME_WAIT, .at = 60000 },
	{ rfc("9293", "3.10.7.4"), "FIN with text", "<FA len=5 >A ack=6 !recv:9=5 !recv:9=0", TCP_S_TIME_WAIT },
	{ rfc("9293", "3.10.7.4"), "FIN early", "<FA seq=5 >A sack=5-6 <A len=5 >A ack=6", TCP_S_TIME_WAIT,
	  .ready = "iohr" },
	{ rfc("9293", "3.10.7.4"), "FIN without ACK", "<F", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "FIN with a bad ACK", "<FA ack=1 >A", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "FIN above the window", "<FA seq=W+1 >A", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "text", "<PA len=5 >A !recv:5", TCP_S_FIN_WAIT_2, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "the same text again", "<A len=5 >A !recv:5 <A len=5 >A sack=0-5",
	  TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "a bare ACK", "<A", TCP_S_FIN_WAIT_2, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "an old ACK", "<A ack=-1", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "an ACK of what was not sent", "<A ack=1 >A", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "no ACK", "<- len=5", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.8.4"), "a keepalive probe", "<A seq=-1 >A", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.7.4"), "no window", "<A wnd=0 +1000", TCP_S_FIN_WAIT_2, .at = -1 },
	{ rfc("5961", "3.2"), "a reset", "<R", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("5961", "3.2"), "a reset in the window", "<R seq=9 >A", TCP_S_FIN_WAIT_2 },
	{ rfc("5961", "3.2"), "a reset outside", "<R seq=W+1", TCP_S_FIN_WAIT_2 },
	{ rfc("5961", "4.2"), "a SYN", "<S seq=9 >A", TCP_S_FIN_WAIT_2 },
	{ rfc("7323", "5.3"), "an older timestamp", "<FA ts=-1 >A", TCP_S_FIN_WAIT_2, .only = WITH },
	{ rfc("9293", "3.1"), "a wrong checksum", "<FA bad=1", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.2"), "SEND", "!send:1=EPIPE", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.3"), "RECEIVE", "!recv:1=EAGAIN", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.10.5"), "ABORT", "!abort:ECONNRESET >RA seq=0 ack=0", TCP_S_CLOSED, .err = ECONNRESET },
	{ LINUX, "held, it may last for ever", "+7200000", TCP_S_FIN_WAIT_2, .at = -1 },
	{ LINUX, "the descriptor goes: a minute", "!close", TCP_S_FIN_WAIT_2, .at = 60000 },
	{ LINUX, "and over", "!close +60000", GONE },
	{ LINUX, "TCP_LINGER2", "!linger2:7 !close", TCP_S_FIN_WAIT_2, .at = 7000 },
	{ LINUX, "TCP_LINGER2 below 0: at once", "!linger2:-1 !close >RA seq=0 ack=0", GONE },
};

/* The program has closed it. */
static const struct row orphan[] = {
	{ rfc("9293", "3.10.7.4"), "the ACK of our FIN", "<A ack=1", TCP_S_FIN_WAIT_2, .at = 60000 },
	{ rfc("9293", "3.10.7.4"), "both", "<FA ack=1 >A", TCP_S_TIME_WAIT, .at = 60000 },
	{ rfc("9293", "3.10.7.4"), "to the very end", "<FA ack=1 >A +60000", GONE },
	{ rfc("9293", "3.6.1"), "text that nobody will read is reset", "<A len=5 ack=1 >R seq=1", GONE },
	{ rfc("9293", "3.6.1"), "with a FIN, too", "<FA len=5 ack=1 >R seq=1", GONE },
	{ rfc("9293", "3.10.7.4"), "text that was read before is only old", "<A seq=-5 len=5 ack=1 >A sack=-5-0",
	  TCP_S_FIN_WAIT_2, .setup = TO_ESTABLISHED "<A seq=1 ack=1 len=5 >A !recv:5 !close >FA seq=1 " },
	{ rfc("9293", "3.10.7.4"), "simultaneous close", "<FA ack=0 >A <A seq=1 ack=1", TCP_S_TIME_WAIT },
	{ rfc("5961", "3.2"), "a reset", "<R", GONE },
	{ rfc("5961", "3.2"), "a reset in the window", "<R seq=9 >A", TCP_S_FIN_WAIT_1 },
	{ rfc("5961", "4.2"), "a SYN", "<S seq=9 >A", TCP_S_FIN_WAIT_1 },
	{ LINUX, "nobody answers: eight times, not fifteen",
	  "+200 >FA seq=0 +400 >FA seq=0 +800 >FA seq=0 +1600 >FA seq=0 +3200 >FA seq=0 +6400 >FA seq=0 "
	  "+12800 >FA seq=0 +25600 >FA seq=0 +51200 >FA seq=0 +102400", GONE },
	{ LINUX, "TCP_LINGER2 below 0", "<A ack=1 >RA seq=1 ack=0", GONE,
	  .setup = "!linger2:-1 " TO_ESTABLISHED "!close >FA seq=1 " },
};

static void test_one(void **state) { (void)state; PLAY(one, TO_FIN_WAIT_1); }
static void test_two(void **state) { (void)state; PLAY(two, TO_FIN_WAIT_2); }
static void test_orphan(void **state) { (void)state; PLAY(orphan, TO_ESTABLISHED "!close >FA seq=1 "); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_orphan),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
