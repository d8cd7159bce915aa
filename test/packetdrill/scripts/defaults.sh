#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# What the scripts of this folder take for granted, whatever the machine's own settings are.
set -e
cd /proc/sys/net/ipv4
echo 4096 131072 6291456 > tcp_rmem
echo 4096 16384 4194304 > tcp_wmem
echo reno > tcp_congestion_control
echo 0 > tcp_ecn
for on in tcp_timestamps tcp_sack tcp_dsack tcp_window_scaling; do echo 1 > $on; done
echo 6 > tcp_syn_retries
echo 5 > tcp_synack_retries
echo 1 > tcp_fastopen
echo 0 > tcp_fastopen_blackhole_timeout_sec
ip tcp_metrics flush all > /dev/null 2>&1 || :
