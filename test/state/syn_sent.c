/* SPDX-License-Identifier: BSD-2-Clause */
/* SYN_SENT (RFC 9293 3.10.7.3). The peer's SYN is number 0, ours acknowledged is 1. */
#include "test/state/harness.h"

static const struct row segments[] = {
	{ rfc("9293", "3.10.7.3"), "SYN-ACK", "<SA ack=1 >A", TCP_S_ESTABLISHED, .at = -1 },
	{ rfc("9293", "3.10.7.3"), "first: an ACK of nothing", "<A ack=0 >R seq=0", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "an ACK of what was never sent", "<A ack=2 >R seq=2", TCP_S_SYN_SENT,
	  .ev = EV_TCP_ACK_UNSENT },
	{ rfc("9293", "3.10.7.3"), "in a SYN-ACK, old", "<SA ack=0 >R seq=0", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "in a SYN-ACK, new", "<SA ack=2 >R seq=2", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "an ACK far off", "<SA ack=0x40000000 >R seq=0x40000000", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "a reset with a bad ACK is dropped", "<RA ack=0", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "on the other side, too", "<RA ack=2", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "second: a reset that acknowledges the SYN", "<RA ack=1", TCP_S_CLOSED,
	  .err = ECONNREFUSED, .at = -1, .ev = EV_TCP_RST_IN },
	{ rfc("5961", "3.2"), "a reset without ACK is dropped", "<R", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "reset with SYN and ACK", "<SRA ack=1", TCP_S_CLOSED, .err = ECONNREFUSED },
	{ rfc("9293", "3.10.7.3"), "reset with SYN", "<SR", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "fourth: SYN alone, a simultaneous open", "<S >SA ack=1", TCP_S_SYN_RCVD,
	  .at = 1000 },
	{ rfc("9293", "3.5"), "simultaneous open, to its end", "<S >SA ack=1 <SA ack=1", TCP_S_ESTABLISHED,
	  .at = -1 },
	{ LINUX, "text with the SYN is left for the peer to repeat", "<S len=5 >SA ack=1", TCP_S_SYN_RCVD },
	{ LINUX, "so is a FIN", "<SF >SA ack=1", TCP_S_SYN_RCVD },
	{ rfc("9293", "3.10.7.3"), "text with the SYN-ACK is taken", "<SA ack=1 len=5 >A ack=6 !recv:5",
	  TCP_S_ESTABLISHED },
	{ rfc("9293", "3.10.7.3"), "a FIN with the SYN-ACK is taken", "<SFA ack=1 >A ack=2", TCP_S_CLOSE_WAIT },
	{ rfc("9293", "3.10.7.3"), "fifth: neither SYN nor RST", "<A ack=1", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "text without SYN", "<A ack=1 len=5", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "FIN without SYN", "<FA ack=1", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "nothing", "<-", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.7.3"), "FIN alone", "<F", TCP_S_SYN_SENT },
	{ rfc("9293", "3.1"), "a wrong checksum", "<SA ack=1 bad=1", TCP_S_SYN_SENT, .ev = EV_TCP_BAD },
	{ rfc("7323", "2.2"), "no scale in the SYN-ACK, none after", "<SA ack=1 raw=020405b4 >A ts=0",
	  TCP_S_ESTABLISHED },
	{ rfc("7323", "3.2"), "no timestamps in the SYN-ACK, none after", "<SA ack=1 nots >A ts=0",
	  TCP_S_ESTABLISHED },
	{ LINUX, "the echo of a timestamp that is yet to come", "<SA ack=1 ecr=100 >R seq=1", TCP_S_SYN_SENT,
	  .only = WITH },
	{ rfc("9293", "3.10.7.3"), "a window of 0 in the SYN-ACK holds text back",
	  "<SA ack=1 wnd=0 >A !send:5", TCP_S_ESTABLISHED, .at = 200 },
	{ rfc("9293", "3.8.6.1"), "and is probed", "<SA ack=1 wnd=0 >A !send:5 +200 >A seq=0",
	  TCP_S_ESTABLISHED, .ev = EV_TCP_PERSIST },
	{ rfc("9293", "3.8.1"), "the SYN's time-out is a second", "", TCP_S_SYN_SENT, .at = 1000 },
	{ rfc("6298", "5"), "it doubles", "+1000 >S", TCP_S_SYN_SENT, .at = 2000, .ev = EV_TCP_RTO },
	{ rfc("9293", "3.8.3"), "and ends", "+1000 >S +2000 >S +4000 >S +8000 >S +16000 >S +32000 >S +64000",
	  TCP_S_CLOSED, .err = ETIMEDOUT, .at = -1 },
	{ rfc("5681", "3.1"), "answered at last", "+1000 >S +2000 >S <SA ack=1 >A", TCP_S_ESTABLISHED },
};

static const struct row calls[] = {
	{ rfc("9293", "3.10.2"), "SEND must wait", "!send:5=EAGAIN", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.3"), "RECEIVE must wait", "!recv:5=EAGAIN", TCP_S_SYN_SENT },
	{ rfc("9293", "3.10.4"), "CLOSE forgets it", "!close", GONE },
	{ rfc("9293", "3.10.4"), "the answer to it finds nobody", "!close <SA ack=1 >R seq=1", GONE },
	{ rfc("9293", "3.10.5"), "ABORT sends nothing", "!abort:ETIMEDOUT", TCP_S_CLOSED, .err = ETIMEDOUT },
	{ LINUX, "shutdown disconnects", "!shut:wr !recv:1=ECONNRESET !recv:1=ENOTCONN !send:1=EPIPE", TCP_S_CLOSED,
	  .ready = "oh", .at = -1 },
	{ LINUX, "for reading, too", "!shut:rd", TCP_S_CLOSED, .ready = "oh", .err = ECONNRESET },
	{ rfc("9293", "3.10.1"), "OPEN of the same numbers", "!connect=EADDRINUSE", TCP_S_SYN_SENT },
};

static void test_segments(void **state) { (void)state; PLAY(segments, TO_SYN_SENT); }
static void test_calls(void **state) { (void)state; PLAY(calls, TO_SYN_SENT); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_calls),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
