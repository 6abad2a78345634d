#!/bin/sh
# iperf3's server (Debian 12's iperf3 3.12-1+deb12u2) closes its listening socket after each test and makes another. A client that connects between the
# end of a test and that moment has its connection taken by the kernel, and is then reset ("unable to receive control message: Connection
# reset by peer"): two tests in a row, each begun when the one before said that it was done, may fail, the likelier the slower the server's
# host is. One expects a server to listen as long as it runs. Here strace makes each close(2) of the server take 0.3 s, as a busy host does.
#
# Seen: first 0, second 1 "Connection reset by peer", third 0 (what each test ends with; the second is begun at once, the third 5 s later)
# Exits 0 while that is so, 1 when it has changed. Needs Debian's apt with the lists of release 12; nothing is installed.
set -eu
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || :; rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get -o APT::Sandbox::User=root download -qq iperf3 libiperf0 libsctp1 strace libunwind8 >/dev/null
for package in *.deb; do dpkg-deb -x "$package" root; done
dpkg-deb -f iperf3_*.deb Version >&2
LD_LIBRARY_PATH=$(find "$folder/root" -name '*.so*' -exec dirname {} + | sort -u | paste -sd:)
export LD_LIBRARY_PATH
root/usr/bin/strace -f -qq -o /dev/null -e trace=close -e inject=close:delay_enter=300000 root/usr/bin/iperf3 -s -p 15201 >server 2>&1 &
server=$!
ends() { # a test: with what it ends
  root/usr/bin/iperf3 -c 127.0.0.1 -p 15201 -n 64K >said 2>&1 && status=0 || status=$?
  echo "$1 $status $(grep -o 'Connection reset by peer' said || :)"
}
sleep 5
{
  ends first
  ends second
  sleep 5
  ends third
} >seen
cat seen
test "$(cat seen)" = 'first 0 
second 1 Connection reset by peer
third 0 '
