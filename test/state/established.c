/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ESTABLISHED (RFC 9293 3.10.7.4), step by step. What the peer sends next is number 0, what
 * it has acknowledged is all before our 0.
 */
#include "test/state/harness.h"

static const struct row first_sequence[] = {
	{ rfc("9293", "3.10.7.4"), "text in order", "<PA len=100 >A ack=100 !recv:100", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "unread, it is readable", "<A len=100 >A", TCP_S_ESTABLISHED, .ready = "io" },
	{ rfc("9293", "3.10.7.4"), "all of it old", "<A len=10 >A !recv:10 <A len=10 >A sack=0-10",
	  TCP_S_ESTABLISHED, .ev = EV_TCP_DUP_DATA },
	{ rfc("9293", "3.10.7.4"), "older than the last ACK", "<A seq=-10 len=5 >A sack=-10--5",
	  TCP_S_ESTABLISHED, .ev = EV_TCP_OUT_OF_WINDOW },
	{ rfc("9293", "3.10.7.4"), "half of it old", "<A len=10 >A <A seq=5 len=10 >A sack=5-10 !recv:99=15",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "early, then the hole", "<A seq=10 len=5 >A sack=10-15 <A len=10 >A !recv:99=15",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "early twice", "<A seq=10 len=5 >A sack=10-15 <A seq=10 len=5 >A sack=10-15",
	  TCP_S_ESTABLISHED },
	{ rfc("2018", "4"), "the latest block comes first",
	  "<A seq=10 len=5 >A sack=10-15 <A seq=20 len=5 >A sack=20-25 <A seq=15 len=5 >A sack=10-25",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "above the window", "<A seq=W+1 len=5 >A", TCP_S_ESTABLISHED,
	  .ev = EV_TCP_OUT_OF_WINDOW },
	{ rfc("9293", "3.10.7.4"), "just above", "<A seq=W len=5 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "half a number space away", "<A seq=0x7fff0000 len=5 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "what is above the edge is cut off", "<A seq=2300 len=10 >A sack=2300-2304",
	  TCP_S_ESTABLISHED, .setup = "!rcvbuf:4608 " TO_ESTABLISHED },
	{ rfc("9293", "3.8.4"), "a keepalive probe is answered", "<A seq=-1 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.8.4"), "one with a byte, too", "<A seq=-1 len=1 >A sack=-1-0", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "a bare ACK above the window", "<A seq=W+1 >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "7"), "is answered now and then", "<A seq=W+1 >A <A seq=W+1 +500 <A seq=W+1 >A",
	  TCP_S_ESTABLISHED, .ev = EV_TCP_CHALLENGE_LIMIT },
	{ rfc("9293", "3.1"), "a wrong checksum", "<A len=5 bad=1", TCP_S_ESTABLISHED, .ev = EV_TCP_BAD },
	{ rfc("9293", "3.1"), "a short header", "<A len=5 off=4", TCP_S_ESTABLISHED, .ev = EV_TCP_BAD },
	{ rfc("9293", "3.1"), "an option cut off", "<A len=5 raw=05ff >A", TCP_S_ESTABLISHED, .ready = "io" },
	{ rfc("9293", "3.1"), "an option of length 0", "<A len=5 raw=0800 >A", TCP_S_ESTABLISHED, .ready = "io" },
	{ rfc("9293", "3.1"), "an MSS outside a SYN is ignored",
	  "<A len=5 raw=02040030 >A !send:100 >PA seq=0 len=100",
	  TCP_S_ESTABLISHED, .ready = "io" },
};

static const struct row paws[] = {
	{ rfc("7323", "5.3"), "an older timestamp: answered and dropped", "<A len=5 ts=-1 >A", TCP_S_ESTABLISHED,
	  .ev = EV_TCP_PAWS, .only = WITH },
	{ rfc("7323", "5.3"), "the same timestamp", "<A len=5 ts=0 >A", TCP_S_ESTABLISHED, .ready = "io",
	  .only = WITH },
	{ rfc("7323", "4.3"), "a newer one is echoed", "<A len=5 ts=7 >A ecr=7", TCP_S_ESTABLISHED, .ready = "io",
	  .only = WITH },
	{ rfc("7323", "4.3"), "not that of a segment out of order", "<A seq=9 len=5 ts=7 >A ecr=0 sack=9-14",
	  TCP_S_ESTABLISHED, .only = WITH },
	{ rfc("7323", "5.3"), "half the circle ahead is new", "<A len=5 ts=0x7fffffff >A", TCP_S_ESTABLISHED,
	  .ready = "io", .only = WITH },
	{ LINUX, "an old ACK without text was only overtaken", "<A ts=-1", TCP_S_ESTABLISHED, .only = WITH },
	{ LINUX, "too old, it is answered", "<A ts=-5000 >A", TCP_S_ESTABLISHED, .ev = EV_TCP_PAWS, .only = WITH },
	{ rfc("7323", "5.2"), "a reset is not asked for its time", "<R ts=-1", TCP_S_CLOSED, .err = ECONNRESET,
	  .only = WITH },
	{ rfc("5961", "4.2"), "a SYN is challenged whatever its time", "<S seq=5 ts=-1 >A", TCP_S_ESTABLISHED,
	  .only = WITH },
	{ LINUX, "a missing timestamp is forgiven", "<A len=5 nots >A", TCP_S_ESTABLISHED, .ready = "io",
	  .only = WITH },
	{ LINUX, "one of the wrong length is missing", "<A len=5 raw=08040000 >A", TCP_S_ESTABLISHED, .ready = "io",
	  .only = WITH },
	{ rfc("7323", "5.5"), "after 24 days the old one proves nothing", "+2073600000 <A len=5 ts=-1 >A",
	  TCP_S_ESTABLISHED, .ready = "io", .only = WITH },
	{ rfc("7323", "5.5"), "after 23 it does", "+1987200000 <A len=5 ts=-1 >A", TCP_S_ESTABLISHED, .only = WITH },
};

static const struct row second_reset[] = {
	{ rfc("5961", "3.2"), "at the next number: obeyed", "<R", TCP_S_CLOSED, .err = ECONNRESET, .at = -1,
	  .ev = EV_TCP_RST_IN },
	{ rfc("5961", "3.2"), "elsewhere in the window: challenged", "<R seq=1 >A", TCP_S_ESTABLISHED,
	  .ev = EV_TCP_CHALLENGE },
	{ rfc("5961", "3.2"), "at its last number", "<R seq=W-1 >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "3.2"), "above it: dropped in silence", "<R seq=W+1", TCP_S_ESTABLISHED,
	  .ev = EV_TCP_OUT_OF_WINDOW },
	{ rfc("5961", "3.2"), "below it", "<R seq=-1", TCP_S_ESTABLISHED },
	{ rfc("5961", "7"), "challenges are rationed", "<R seq=1 >A <R seq=1", TCP_S_ESTABLISHED,
	  .ev = EV_TCP_CHALLENGE_LIMIT },
	{ rfc("5961", "7"), "and come back", "<R seq=1 >A +500 <R seq=1 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "its ACK does not matter", "<RA ack=1000000", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("9293", "3.5.3"), "its text does not matter", "<RA len=5", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("9293", "3.10.7.4"), "its FIN and SYN do not matter", "<SFR", TCP_S_CLOSED, .err = ECONNRESET },
	{ LINUX, "above what came early it is exact as well", "<A seq=10 len=5 >A sack=10-15 <R seq=15",
	  TCP_S_CLOSED, .err = ECONNRESET, .only = WITH },
	{ LINUX, "text that came before it is read first",
	  "<A len=5 >A <R seq=5 !recv:9=5 !recv:9=ECONNRESET !recv:9=0",
	  TCP_S_CLOSED },
	{ rfc("9293", "3.1"), "a reset at a shut window", "<A len=2304 >A ack=2304 wnd=0 <R seq=2304", TCP_S_CLOSED,
	  .err = ECONNRESET, .setup = "!rcvbuf:4608 " TO_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "what is queued to send is gone", "!send:9 >PA seq=0 len=9 <R +2000", TCP_S_CLOSED,
	  .err = ECONNRESET, .at = -1 },
	{ rfc("9293", "3.10.7.1"), "after it, nobody is there", "<R <A ack=0 >R seq=0", TCP_S_CLOSED,
	  .err = ECONNRESET },
};

static const struct row fourth_syn[] = {
	{ rfc("5961", "4.2"), "in the window: challenged", "<S seq=5 >A", TCP_S_ESTABLISHED, .ev = EV_TCP_CHALLENGE },
	{ rfc("5961", "4.2"), "at the next number", "<S >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "4.2"), "the old one again", "<S seq=-1 >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "4.2"), "above the window", "<S seq=W+5 >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "4.2"), "below it", "<S seq=-100 >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "4.2"), "the SYN-ACK again, our ACK was lost", "<SA seq=-1 ack=0 >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "4.2"), "with FIN and text", "<SFA seq=5 len=5 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "the peer has forgotten us, and now resets", "<S seq=700 >A <R seq=0",
	  TCP_S_CLOSED,
	  .err = ECONNRESET },
};

static const struct row fifth_ack[] = {
	{ rfc("9293", "3.10.7.4"), "none: dropped", "<- len=5", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "none, with PSH and FIN", "<PF len=5", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "of all that was sent", "!send:100 >PA seq=0 len=100 <A ack=100",
	  TCP_S_ESTABLISHED,
	  .at = -1 },
	{ rfc("9293", "3.10.7.4"), "of a part", "!send:100 >PA seq=0 len=100 <A ack=60 +200 >PA seq=60 len=40",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "of what was not sent: answered and dropped", "<A ack=1 len=5 >A",
	  TCP_S_ESTABLISHED,
	  .ev = EV_TCP_ACK_UNSENT },
	{ rfc("9293", "3.10.7.4"), "far ahead", "<A ack=0x7fffffff len=5 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "again: ignored", "!send:9 >PA seq=0 len=9 <A ack=9 <A ack=9", TCP_S_ESTABLISHED,
	  .at = -1 },
	{ rfc("5681", "2"), "again, with data in flight", "!send:9 >PA seq=0 len=9 <A ack=0", TCP_S_ESTABLISHED,
	  .ev = EV_TCP_DUP_ACK },
	{ rfc("9293", "3.10.7.4"), "older: its text is good", "<A ack=-1 len=5 >A", TCP_S_ESTABLISHED, .ready = "io",
	  .ev = EV_TCP_OLD_ACK },
	{ LINUX, "below our ISN: never sent", "<A ack=-2 len=5 >A", TCP_S_ESTABLISHED, .ev = EV_TCP_CHALLENGE },
	{ rfc("5961", "5.2"), "older than the largest window", "<A ack=-101 len=5 wnd=100 >A", TCP_S_ESTABLISHED,
	  .ev = EV_TCP_CHALLENGE, .setup = "!connect >S <SA ack=1 wnd=100 >A !send:50 >PA seq=1 len=50 "
	  "<A seq=1 ack=51 wnd=100 !send:100 >PA seq=51 len=100 <A seq=1 ack=151 wnd=100 ",
	  .only = WITHOUT },
	{ rfc("9293", "3.10.7.4"), "the window opens and shuts",
	  "<A wnd=100 !send:100 >PA seq=0 len=100 <A ack=100 wnd=0 !send:1",
	  TCP_S_ESTABLISHED, .at = 200 },
	{ rfc("9293", "3.10.7.4"), "an older segment does not move it",
	  "<A len=5 wnd=500 >A <A seq=5 wnd=1000 <A seq=0 len=5 wnd=100 >A sack=0-5 !send:900 >PA seq=0 len=900",
	  TCP_S_ESTABLISHED, .ready = "io" },
	{ rfc("9293", "3.8.6.1"), "shut, it is probed", "<A wnd=0 !send:10 +200 >A seq=-1", TCP_S_ESTABLISHED,
	  .at = 400,
	  .ev = EV_TCP_PERSIST },
	{ rfc("9293", "3.8.6.1"), "and probed for ever, if answered",
	  "<A wnd=0 !send:9 +200 >A seq=-1 <A wnd=0 +400 >A seq=-1 <A wnd=0 +800 >A seq=-1 <A wnd=0 +1600 >A seq=-1",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.8.6.1"), "open, all goes at once", "<A wnd=0 !send:10 <A wnd=100 >PA seq=0 len=10",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.8.6"), "a window of 65535 is not negative", "<A wnd=65535 !send:100 >PA seq=0 len=100",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.8.6"), "shrunk below what is in flight",
	  "!send:100 >PA seq=0 len=100 <A wnd=8 !send:5 <A ack=100 >PA seq=100 len=5",
	  TCP_S_ESTABLISHED },
};

static const struct row sixth_urgent[] = {
	{ rfc("6093", "3.1"), "the byte before the pointer", "<UA len=10 urg=5 >A !oob:1", TCP_S_ESTABLISHED,
	  .ready = "io" },
	{ LINUX, "is told by EPOLLPRI", "<UA len=10 urg=5 >A", TCP_S_ESTABLISHED, .ready = "iop" },
	{ LINUX, "stops a read, and is passed over", "<UA len=10 urg=5 >A !recv:99=4 !recv:99=5", TCP_S_ESTABLISHED },
	{ LINUX, "is there once", "<UA len=10 urg=5 >A !oob:1 !oob:1=EINVAL", TCP_S_ESTABLISHED, .ready = "io" },
	{ LINUX, "may be yet to come", "<UA len=5 urg=9 >A !oob:1=EAGAIN", TCP_S_ESTABLISHED, .ready = "io" },
	{ LINUX, "none was announced", "<A len=5 >A !oob:1=EINVAL", TCP_S_ESTABLISHED, .ready = "io" },
	{ rfc("9293", "3.10.7.4"), "announced without text", "<UA urg=1 <A len=3 >A", TCP_S_ESTABLISHED,
	  .ready = "iop" },
	{ rfc("9293", "3.1"), "an urgent pointer at a shut window",
	  "<A len=2304 >A ack=2304 wnd=0 <UA seq=2304 urg=1 !oob:1=EAGAIN",
	  TCP_S_ESTABLISHED, .ready = "io", .setup = "!rcvbuf:4608 " TO_ESTABLISHED },
	{ LINUX, "a pointer of 0", "<UA len=3 urg=0 >A !oob:1", TCP_S_ESTABLISHED, .ready = "io" },
	{ LINUX, "a pointer without URG is nothing", "<A len=3 urg=2 >A !oob:1=EINVAL", TCP_S_ESTABLISHED,
	  .ready = "io" },
	{ LINUX, "in line, it is a byte like others", "<UA len=9 urg=3 >A !recv:99=2 !recv:99=7", TCP_S_ESTABLISHED,
	  .setup = "!inline " TO_ESTABLISHED },
	{ rfc("6093", "3.1"), "what we announce points behind it", "!urg:5 >PUA seq=0 len=5 urg=5",
	  TCP_S_ESTABLISHED },
};

static const struct row eighth_fin[] = {
	{ rfc("9293", "3.10.7.4"), "FIN", "<FA +40 >A", TCP_S_CLOSE_WAIT, .at = -1 },
	{ LINUX, "its ACK waits for ours, if at all, a tick", "<FA", TCP_S_CLOSE_WAIT, .at = 1 },
	{ rfc("9293", "3.10.7.4"), "with text", "<FA len=10 !recv:99=10 !recv:99=0", TCP_S_CLOSE_WAIT, .at = 40 },
	{ rfc("9293", "3.10.7.4"), "early", "<FA seq=10 >A sack=10-11 <A len=10 >A", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "early, with text", "<FA seq=10 len=5 >A sack=10-16 <A len=10 >A !recv:99=15",
	  TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.4"), "without ACK", "<F", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "with a bad ACK", "<FA ack=1 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "above the window", "<FA seq=W+1 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "its text fits, it does not", "<FA len=2304 >A ack=2304 wnd=0", TCP_S_ESTABLISHED,
	  .ready = "io", .setup = "!rcvbuf:4608 " TO_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "at the edge of a shut window it is taken",
	  "<A len=2304 >A ack=2304 wnd=0 <FA seq=2304 +40 >A ack=2305 wnd=0", TCP_S_CLOSE_WAIT,
	  .setup = "!rcvbuf:4608 " TO_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "with URG in its text", "<UFA len=3 urg=3 !recv:99=2 !oob:1", TCP_S_CLOSE_WAIT },
};

static const struct row calls[] = {
	{ rfc("9293", "3.10.3"), "RECEIVE of nothing", "!recv:5=EAGAIN", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.2"), "SEND pushes the end", "!send:5 >PA seq=0 len=5", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.4"), "CLOSE", "!close >FA seq=0", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.4"), "CLOSE behind data that may not go yet",
	  "<A wnd=0 !send:5 !close <A wnd=50 >PFA seq=0 len=5",
	  TCP_S_FIN_WAIT_1 },
	{ rfc("2525", "2.17"), "CLOSE with unread text resets", "<A len=5 >A !close >RA seq=0 ack=5", GONE },
	{ LINUX, "so does SO_LINGER 0", "!linger:0 !close >RA seq=0 ack=0", GONE },
	{ rfc("9293", "3.10.5"), "ABORT", "!abort:ECONNRESET >RA seq=0 ack=0", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("9293", "3.10.5"), "ABORT with data in flight",
	  "!send:5 >PA seq=0 len=5 !abort:ECONNRESET >RA seq=5 ack=0",
	  TCP_S_CLOSED, .err = ECONNRESET, .at = -1 },
	{ rfc("9293", "3.6"), "half-close: we finish, and still hear",
	  "!shut:wr >FA seq=0 <A ack=1 <PA len=9 ack=1 >A !recv:9", TCP_S_FIN_WAIT_2 },
	{ rfc("9293", "3.6"), "half-close: the peer finishes, and still hears",
	  "<FA +40 >A !send:9 >PA seq=0 len=9 <A seq=1 ack=9 !recv:1=0", TCP_S_CLOSE_WAIT },
	{ LINUX, "shutdown for reading is ours alone", "!shut:rd !recv:5=0", TCP_S_ESTABLISHED, .ready = "ior" },
	{ LINUX, "and text still comes", "!shut:rd <A len=5 >A !recv:9=5", TCP_S_ESTABLISHED, .ready = "ior" },
	{ LINUX, "shutdown both ways", "!shut:rw >FA seq=0", TCP_S_FIN_WAIT_1, .ready = "iohr" },
	{ LINUX, "SEND after it", "!shut:wr >FA seq=0 !send:1=EPIPE", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.1"), "OPEN", "!connect=EADDRINUSE", TCP_S_ESTABLISHED },
};

/* What is not the same for a connection that a listener accepted. */
static const struct row accepted[] = {
	{ rfc("9293", "3.10.7.4"), "text", "<PA len=100 >A !recv:100", TCP_S_ESTABLISHED, .at = -1 },
	{ rfc("5961", "3.2"), "a reset", "<R", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("5961", "4.2"), "the peer's SYN again", "<S seq=-1 >A", TCP_S_ESTABLISHED },
	{ rfc("5961", "4.2"), "a SYN elsewhere does not reach the listener", "<S seq=100 >A", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "the handshake's last ACK again", "<A ack=0", TCP_S_ESTABLISHED, .at = -1 },
	{ rfc("9293", "3.10.4"), "CLOSE", "!close >FA seq=0", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.4"), "the listener goes, it stays", "!unlisten <PA len=9 >A !recv:9", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "reset before it is accepted", "<R !accept !recv:1=ECONNRESET", TCP_S_CLOSED,
	  .setup = TO_SYN_RCVD "<A seq=1 ack=1 " },
	{ rfc("9293", "3.10.7.4"), "finished before it is accepted", "<FA +40 >A !accept !recv:1=0", TCP_S_CLOSE_WAIT,
	  .setup = TO_SYN_RCVD "<A seq=1 ack=1 " },
};

#define TEST(name, setup) static void test_##name(void **state) { (void)state; PLAY(name, setup); }

TEST(first_sequence, TO_ESTABLISHED)
TEST(paws, TO_ESTABLISHED)
TEST(second_reset, TO_ESTABLISHED)
TEST(fourth_syn, TO_ESTABLISHED)
TEST(fifth_ack, TO_ESTABLISHED)
TEST(sixth_urgent, TO_ESTABLISHED)
TEST(eighth_fin, TO_ESTABLISHED)
TEST(calls, TO_ESTABLISHED)
TEST(accepted, TO_ACCEPTED)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_sequence), cmocka_unit_test(test_paws),
		cmocka_unit_test(test_second_reset), cmocka_unit_test(test_fourth_syn),
		cmocka_unit_test(test_fifth_ack), cmocka_unit_test(test_sixth_urgent),
		cmocka_unit_test(test_eighth_fin), cmocka_unit_test(test_calls),
		cmocka_unit_test(test_accepted),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
