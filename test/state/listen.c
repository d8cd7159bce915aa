/* SPDX-License-Identifier: BSD-2-Clause */
/* LISTEN (RFC 9293 3.10.7.2): who gets an answer, what a SYN may carry, how many may wait. */
#include "test/state/harness.h"

static const struct row segments[] = {
	{ rfc("9293", "3.10.7.2"), "first: a reset is ignored", "<R", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "with ACK as well", "<RA ack=5", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "with SYN as well", "<SR", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "second: any ACK is bad", "<A ack=5 >R seq=5", TCP_S_LISTEN,
	  .ev = EV_TCP_NO_SOCKET },
	{ rfc("9293", "3.10.7.2"), "with text", "<A ack=5 len=7 >R seq=5", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "with SYN", "<SA ack=5 >R seq=5", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "with FIN", "<FA ack=5 >R seq=5", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "third: a SYN is answered", "<S >SA seq=0 ack=1 ts=1 ws=1",
	  TCP_S_SYN_RCVD, .at = 1000, .only = WITH },
	{ rfc("9293", "3.10.7.2"), "with the options that the SYN had", "<S >SA seq=0 ack=1 ts=0 ws=0",
	  TCP_S_SYN_RCVD, .at = 1000, .only = WITHOUT },
	{ rfc("9293", "3.10.7.2"), "fourth: text without SYN or ACK is dropped", "<- len=5", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "nothing at all", "<-", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "FIN alone", "<F", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.2"), "URG and PSH alone", "<UP urg=1 len=1", TCP_S_LISTEN },
	{ LINUX, "SYN with FIN is dropped", "<SF", TCP_S_LISTEN },
	{ LINUX, "text in a SYN is left for the peer to repeat", "<S len=10 >SA ack=1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.2"), "SYN with URG and PSH", "<SUP urg=1 >SA ack=1", TCP_S_SYN_RCVD },
	{ rfc("3168", "6.1.1"), "an ECN-setup SYN is answered by ECE alone", "<SEC >SAE ack=1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.2"), "a SYN that offers no window", "<S wnd=0 >SA ack=1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.1"), "a wrong checksum", "<S bad=1", TCP_S_LISTEN, .ev = EV_TCP_BAD },
	{ rfc("9293", "3.1"), "a short header", "<S off=4", TCP_S_LISTEN, .ev = EV_TCP_BAD },
};

static const struct row options[] = {
	{ rfc("9293", "3.1"), "an option cut off ends the options", "<S raw=0204 >SA ts=0 ws=0", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.1"), "a length of 0", "<S raw=ff000000 >SA ts=0 ws=0", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.1"), "a length of 1", "<S raw=ff010000 >SA ts=0 ws=0", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.1"), "an unknown option is skipped", "<S raw=fe04123403030200 >SA ts=0 ws=1",
	  TCP_S_SYN_RCVD },
	{ rfc("9293", "3.2"), "an MSS of the wrong length is no MSS", "<S raw=0203050103030200 >SA ws=1",
	  TCP_S_SYN_RCVD },
	{ rfc("7323", "2.2"), "a window scale of the wrong length", "<S raw=03040200 >SA ws=0",
	  TCP_S_SYN_RCVD },
	{ rfc("7323", "2.3"), "a scale of 15 is taken as 14", "<S raw=0103030f >SA ws=1", TCP_S_SYN_RCVD },
	{ rfc("7323", "3.2"), "timestamps of the wrong length", "<S raw=080800000001000000 >SA ts=0",
	  TCP_S_SYN_RCVD },
	{ rfc("9293", "3.1"), "forty bytes of NOP", "<S raw=01010101010101010101010101010101010101010101010101"
	  "010101010101010101010101010101 >SA ts=0 ws=0", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.7.1"), "no MSS means 536",
	  "<S raw=01010101 >SA <A seq=1 ack=1 !accept !send:600 >A seq=1 len=536 >PA seq=537 len=64",
	  TCP_S_ESTABLISHED, .only = PLAIN4 },
	{ rfc("9293", "3.7.1"), "over IPv6 it means 1220",
	  "<S raw=01010101 >SA <A seq=1 ack=1 !accept !send:1300 >A seq=1 len=1220 >PA seq=1221 len=80",
	  TCP_S_ESTABLISHED, .only = PLAIN6 },
	{ LINUX, "an MSS of 0 means the same",
	  "<S mss=0 >SA <A seq=1 ack=1 !accept !send:600 >A seq=1 len=536 >PA seq=537 len=64",
	  TCP_S_ESTABLISHED, .only = PLAIN4 },
	{ LINUX, "over IPv6, too",
	  "<S mss=0 >SA <A seq=1 ack=1 !accept !send:1300 >A seq=1 len=1220 >PA seq=1221 len=80",
	  TCP_S_ESTABLISHED, .only = PLAIN6 },
	{ rfc("9293", "3.7.1"), "an MSS smaller than sense is raised to 48",
	  "<S mss=1 >SA <A seq=1 ack=1 !accept !send:50 >A seq=1 len=48 >PA seq=49 len=2",
	  TCP_S_ESTABLISHED, .only = WITHOUT },
};

/* One waits to be accepted, one more may, and its SYN has come. */
#define ONE_WAITS "!listen:1 <S sport=1 >SA seq=S ack=1 <A sport=1 seq=1 ack=S+1 " \
		  "<S sport=2 >SA seq=S ack=1 "
/* Two wait, and a third is an embryo. */
#define TWO_WAIT "!listen:1 <S >SA <S sport=1 >SA seq=S ack=1 <A sport=1 seq=1 ack=S+1 " \
		 "<S sport=2 >SA seq=S ack=1 <A sport=2 seq=1 ack=S+1 "

static const struct row queue[] = {
	{ rfc("9293", "3.10.7.4"), "the last ACK makes the listener readable",
	  "<S >SA <A seq=1 ack=1 !accept", TCP_S_ESTABLISHED, .ev = EV_TCP_ACCEPT_READY },
	{ LINUX, "nothing to accept before it", "<S >SA !accept=EAGAIN", TCP_S_SYN_RCVD },
	{ LINUX, "one more than the backlog may wait", "<A sport=2 seq=1 ack=S+1", TCP_S_LISTEN,
	  .ready = "i", .setup = ONE_WAITS },
	{ LINUX, "a SYN to a full queue is dropped", "<A sport=2 seq=1 ack=S+1 <S", TCP_S_LISTEN,
	  .ready = "i", .ev = EV_TCP_LISTEN_OVERFLOW, .setup = ONE_WAITS },
	{ LINUX, "a last ACK to a full queue as well", "<A ack=1", TCP_S_SYN_RCVD,
	  .ev = EV_TCP_LISTEN_OVERFLOW,
	  .setup = TWO_WAIT },
	{ LINUX, "the repeated SYN-ACK brings it again when there is room",
	  "<A ack=1 !accept +1000 >SA seq=0 ack=0 <A ack=1", TCP_S_ESTABLISHED,
	  .setup = TWO_WAIT },
};

static const struct row calls[] = {
	{ LINUX, "SEND", "!send:1=EPIPE", TCP_S_LISTEN },
	{ LINUX, "RECEIVE", "!recv:1=ENOTCONN", TCP_S_LISTEN },
	{ LINUX, "accept() finds nobody", "!accept=EAGAIN", TCP_S_LISTEN },
	{ LINUX, "shutdown for writing does nothing", "!shut:wr <S >SA", TCP_S_SYN_RCVD },
	{ LINUX, "shutdown for reading ends it", "!shut:rd <S >RA seq=Z ack=1", GONE },
	{ rfc("9293", "3.10.4"), "CLOSE", "!close <S >RA seq=Z ack=1", GONE },
	{ rfc("9293", "3.10.5"), "ABORT", "!abort <S >RA seq=Z ack=1", GONE },
	{ rfc("9293", "3.10.1"), "a second listener on the same port", "!listen=EADDRINUSE", TCP_S_LISTEN },
	{ LINUX, "CLOSE forgets embryos in silence", "<S >SA !unlisten <A seq=1 ack=1 >R seq=1", GONE },
	{ LINUX, "CLOSE resets what waits to be accepted",
	  "<S >SA <A seq=1 ack=1 !unlisten >RA seq=1 ack=1", GONE },
	{ LINUX, "and with unread text", "<S >SA <A seq=1 ack=1 len=5 >A !unlisten >RA seq=1 ack=6", GONE },
};

static void test_segments(void **state) { (void)state; PLAY(segments, TO_LISTEN); }
static void test_options(void **state) { (void)state; PLAY(options, TO_LISTEN); }
static void test_queue(void **state) { (void)state; PLAY(queue, TO_LISTEN); }
static void test_calls(void **state) { (void)state; PLAY(calls, TO_LISTEN); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_calls),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
