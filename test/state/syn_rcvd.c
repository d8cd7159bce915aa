/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SYN_RCVD (RFC 9293 3.10.7.4): an embryo of a listener, and half of a simultaneous open. The
 * peer's SYN is number -1, what it sends next is 0; our SYN acknowledged is 1.
 */
#include "test/state/harness.h"

static const struct row embryo[] = {
	{ rfc("9293", "3.10.7.4"), "fifth: the ACK of our SYN", "<A ack=1 !accept", TCP_S_ESTABLISHED, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "with text", "<A ack=1 len=5 >A !accept", TCP_S_ESTABLISHED, .ready = "io" },
	{ rfc("9293", "3.10.7.4"), "with FIN", "<FA ack=1 !accept", TCP_S_CLOSE_WAIT, .at = 1 },
	{ rfc("9293", "3.10.7.4"), "with text and FIN", "<FA ack=1 len=5 !accept !recv:9=5 !recv:9=0",
	  TCP_S_CLOSE_WAIT, .at = 40 },
	{ rfc("9293", "3.10.7.4"), "with text that is early", "<A ack=1 seq=5 len=3 >A sack=5-8 !accept",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "with no window", "<A ack=1 wnd=0 !accept !send:5", TCP_S_ESTABLISHED,
	  .at = 200 },
	{ rfc("9293", "3.10.7.4"), "an ACK of nothing is reset", "<A ack=0 >R seq=0", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "an ACK of too much, too", "<A ack=2 >R seq=2", TCP_S_SYN_RCVD,
	  .ev = EV_TCP_ACK_UNSENT },
	{ rfc("9293", "3.10.7.4"), "no ACK: dropped", "<- len=5", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "FIN without ACK: dropped", "<F", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "first: outside the window, answered", "<A ack=1 seq=W+1 >A", TCP_S_SYN_RCVD,
	  .ev = EV_TCP_OUT_OF_WINDOW },
	{ rfc("9293", "3.10.7.4"), "on the other side, too", "<A ack=1 seq=-1 >A", TCP_S_SYN_RCVD },
	{ rfc("5961", "7"), "but not twice", "<A ack=1 seq=W+1 >A <A ack=1 seq=W+1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "second: a reset returns to LISTEN", "<R", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.4"), "with ACK", "<RA ack=1", TCP_S_LISTEN },
	{ rfc("5961", "3.2"), "elsewhere in the window it is challenged", "<R seq=1 >A", TCP_S_SYN_RCVD,
	  .ev = EV_TCP_CHALLENGE },
	{ rfc("9293", "3.10.7.4"), "above the window it is dropped", "<R seq=W+1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "below the window, too", "<R seq=-1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "the SYN again: so is our answer", "<S seq=-1 >SA ack=0", TCP_S_SYN_RCVD },
	{ rfc("5961", "7"), "but not twice in so short a time", "<S seq=-1 >SA ack=0 <S seq=-1", TCP_S_SYN_RCVD,
	  .ev = EV_TCP_CHALLENGE_LIMIT },
	{ rfc("9293", "3.10.7.4"), "fourth: another SYN in the window returns to LISTEN",
	  "<S seq=5 >RA seq=Z ack=6", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.4"), "at the next number as well", "<S >RA seq=Z ack=1", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.4"), "with ACK", "<SA seq=5 ack=1 >R seq=1", TCP_S_LISTEN },
	{ rfc("9293", "3.10.7.4"), "a SYN above the window is answered", "<S seq=W+5 >A", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "below it, too", "<S seq=-5 >A", TCP_S_SYN_RCVD },
	{ LINUX, "the SYN again with the ACK is the ACK", "<SA seq=-1 ack=1 !accept", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.1"), "a wrong checksum", "<A ack=1 bad=1", TCP_S_SYN_RCVD, .ev = EV_TCP_BAD },
	{ rfc("7323", "5.3"), "an older timestamp is answered, not obeyed", "<A ack=1 ts=-1 >A", TCP_S_SYN_RCVD,
	  .ev = EV_TCP_PAWS, .only = WITH },
	{ LINUX, "a missing timestamp does not matter", "<A ack=1 nots !accept", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.1"), "broken options do not matter", "<A ack=1 raw=0804ffff !accept", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "URG with the ACK", "<UA ack=1 urg=1 len=2 >A !accept", TCP_S_ESTABLISHED,
	  .ready = "iop" },
	{ rfc("6298", "5"), "the SYN-ACK's time-out is a second", "", TCP_S_SYN_RCVD, .at = 1000 },
	{ rfc("6298", "5"), "and doubles", "+1000 >SA", TCP_S_SYN_RCVD, .at = 2000 },
	{ rfc("9293", "3.8.3"), "and ends", "+1000 >SA +2000 >SA +4000 >SA +8000 >SA +16000 >SA +32000",
	  TCP_S_LISTEN },
	{ LINUX, "TCP_DEFER_ACCEPT: the bare ACK is not enough", "<A ack=1 !accept=EAGAIN", TCP_S_SYN_RCVD,
	  .setup = "!defer:3 " TO_SYN_RCVD, .at = 3000 },
	{ LINUX, "TCP_DEFER_ACCEPT: text is", "<A ack=1 <A ack=1 len=5 >A !accept", TCP_S_ESTABLISHED,
	  .setup = "!defer:3 " TO_SYN_RCVD, .ready = "io" },
	{ LINUX, "TCP_DEFER_ACCEPT: so is a FIN", "<FA ack=1 !accept", TCP_S_CLOSE_WAIT,
	  .setup = "!defer:3 " TO_SYN_RCVD },
};

static const struct row simultaneous[] = {
	{ rfc("9293", "3.5"), "the peer's SYN-ACK", "<SA seq=-1 ack=1", TCP_S_ESTABLISHED, .at = -1 },
	{ rfc("9293", "3.10.7.4"), "or its ACK", "<A ack=1", TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.4"), "with text", "<A ack=1 len=5 >A", TCP_S_ESTABLISHED, .ready = "io" },
	{ rfc("9293", "3.10.7.4"), "with FIN", "<FA ack=1", TCP_S_CLOSE_WAIT, .at = 1 },
	{ rfc("9293", "3.10.7.4"), "an ACK of nothing", "<A ack=0 >R seq=0", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "an ACK of too much", "<A ack=2 >R seq=2", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "no ACK", "<- len=5", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "a reset", "<R", TCP_S_CLOSED, .err = ECONNRESET },
	{ rfc("5961", "3.2"), "a reset elsewhere in the window is challenged", "<R seq=5 >A", TCP_S_SYN_RCVD,
	  .ev = EV_TCP_CHALLENGE },
	{ rfc("5961", "3.2"), "a reset outside is dropped", "<R seq=W+1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.4"), "the SYN again", "<S seq=-1 >SA", TCP_S_SYN_RCVD },
	{ rfc("5961", "4.2"), "another SYN is challenged", "<S seq=5 >A", TCP_S_SYN_RCVD, .ev = EV_TCP_CHALLENGE },
	{ rfc("7323", "5.3"), "an older timestamp", "<A ack=1 ts=-1 >A", TCP_S_SYN_RCVD, .only = WITH },
	{ rfc("6298", "5"), "the SYN-ACK is sent again", "+1000 >SA", TCP_S_SYN_RCVD, .at = 2000 },
	{ rfc("9293", "3.10.2"), "SEND must wait", "!send:5=EAGAIN", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.3"), "RECEIVE must wait", "!recv:5=EAGAIN", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.4"), "a FIN waits for the handshake's end", "!shut:wr <A ack=1 >FA seq=1",
	  TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.4"), "CLOSE, as well", "!close <A ack=1 >FA seq=1", TCP_S_FIN_WAIT_1 },
	{ rfc("9293", "3.10.4"), "closed, and the peer finishes, too", "!close <FA ack=1 >FA seq=1 ack=1",
	  TCP_S_CLOSING },
	{ rfc("9293", "3.8.3"), "closed, and nobody answers",
	  "!close +1000 >SA +2000 >SA +4000 >SA +8000 >SA +16000 >SA +32000", GONE },
	{ rfc("9293", "3.10.5"), "ABORT resets", "!abort:ECONNRESET >RA seq=1 ack=0", TCP_S_CLOSED,
	  .err = ECONNRESET },
};

static void test_embryo(void **state) { (void)state; PLAY(embryo, TO_SYN_RCVD); }
static void test_simultaneous(void **state) { (void)state; PLAY(simultaneous, TO_SIMULT); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_embryo),
		cmocka_unit_test(test_simultaneous),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
