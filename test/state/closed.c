/* SPDX-License-Identifier: BSD-2-Clause */
/* CLOSED: segments for nobody (RFC 9293 3.10.7.1), and what a dead socket still answers. */
#include "test/state/harness.h"

static const struct row nobody[] = {
	{ rfc("9293", "3.10.7.1"), "a SYN: the reset acknowledges it", "<S seq=5 >RA seq=Z ack=6", GONE,
	  .ev = EV_TCP_NO_SOCKET },
	{ rfc("9293", "3.10.7.1"), "text without ACK: the reset acknowledges the text",
	  "<- len=10 >RA seq=Z ack=10", GONE },
	{ rfc("9293", "3.10.7.1"), "a FIN counts as one", "<F len=3 >RA seq=Z ack=4", GONE },
	{ rfc("9293", "3.10.7.1"), "SYN with text", "<S len=4 >RA seq=Z ack=5", GONE },
	{ rfc("9293", "3.10.7.1"), "an ACK: the reset has its number", "<A ack=77 >R seq=77", GONE },
	{ rfc("9293", "3.10.7.1"), "FIN, text and ACK", "<FA ack=7 len=3 >R seq=7", GONE },
	{ rfc("9293", "3.10.7.1"), "SYN-ACK", "<SA ack=7 >R seq=7", GONE, .ev = EV_TCP_RST_OUT },
	{ rfc("9293", "3.10.7.1"), "a reset is never answered", "<R", GONE },
	{ rfc("9293", "3.10.7.1"), "nor with ACK", "<RA ack=7", GONE },
	{ rfc("9293", "3.10.7.1"), "nor with SYN", "<SR", GONE },
	{ rfc("9293", "3.1"), "a wrong checksum is not looked at", "<S bad=1", GONE, .ev = EV_TCP_BAD },
	{ rfc("9293", "3.1"), "a header of 16 bytes", "<S off=4", GONE, .ev = EV_TCP_BAD },
	{ rfc("9293", "3.1"), "a header longer than the segment", "<A off=15", GONE, .ev = EV_TCP_BAD },
	{ rfc("9293", "3.1"), "options past their end are no reason to be silent",
	  "<S raw=0204 >RA seq=Z ack=1", GONE },
	{ rfc("9293", "3.10.2"), "nobody listens there", "<S >RA seq=Z ack=1 !listen <S >SA",
	  TCP_S_SYN_RCVD },
};

/* The peer has refused; the program still holds the socket. */
static const struct row dead[] = {
	{ LINUX, "the error is told once, then end of file and EPIPE",
	  "!recv:9=ECONNREFUSED !recv:9=0 !send:9=EPIPE", TCP_S_CLOSED, .at = -1 },
	{ LINUX, "send() takes the error, too", "!send:9=ECONNREFUSED !send:9=EPIPE", TCP_S_CLOSED },
	{ LINUX, "SO_ERROR takes it", "!err=ECONNREFUSED !err=0", TCP_S_CLOSED },
	{ LINUX, "shutdown() finds no connection", "!err=ECONNREFUSED !shut:wr=ENOTCONN !shut:rd=ENOTCONN",
	  TCP_S_CLOSED },
	{ rfc("9293", "3.10.7.1"), "the peer's segments are answered as nobody's", "<A ack=9 >R seq=9",
	  TCP_S_CLOSED, .err = ECONNREFUSED },
	{ rfc("9293", "3.10.7.1"), "a SYN to it as well", "<S >RA seq=Z ack=1", TCP_S_CLOSED,
	  .err = ECONNREFUSED },
	{ rfc("9293", "3.10.5"), "ABORT", "!abort:ECONNRESET", TCP_S_CLOSED, .err = ECONNREFUSED },
	{ rfc("9293", "3.10.4"), "CLOSE frees it", "!close", GONE },
	{ rfc("9293", "3.10.1"), "the same numbers may be used at once", "!connect >S", TCP_S_SYN_SENT },
};

static void test_nobody(void **state) { (void)state; PLAY(nobody, ""); }
static void test_dead(void **state) { (void)state; PLAY(dead, TO_SYN_SENT "<RA ack=1 "); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_dead),
	};

	return rows_done(cmocka_run_group_tests(tests, NULL, NULL));
}
