#!/bin/sh
# GNU Wget 1.21.3 (Debian 12): a server that dies in the middle of a chunk of a chunked answer (its host is gone, and the connection is
# closed) is not noticed: exit status 0, and what came is saved as if it were all. Cut between two chunks, or with a Content-Length, it
# fails as one expects (status 4); curl (18) and BusyBox's small wget (1) notice in both places. A test of failover that counts failed
# downloads by Wget's exit status counts too few: compare a checksum, or use curl.
#
# Seen: within a chunk: wget 0 curl 18 busybox 1   between chunks: wget 4 curl 18 busybox 1
# Exits 0 while that is so, 1 when it has changed. Needs Debian's apt (installs wget, curl, busybox where they are missing) and Node 20.
set -eu
for program in wget curl busybox; do
  command -v $program >/dev/null || apt-get install -y -qq $program >/dev/null
done
folder=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
cat >server.mjs <<'EOF'
import { createServer } from 'node:net';
const half = 'x'.repeat(50);
const bodies = { '/within': `64\r\n${half}`, '/between': `32\r\n${half}\r\n` };
const server = createServer((socket) => {
  socket.on('error', () => undefined);
  socket.once('data', (request) => {
    socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${bodies[String(request).split(' ')[1]]}`);
    setTimeout(() => socket.end(), 200);
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
EOF
node server.mjs >port &
server=$!
until test -s port; do sleep 0.1; done
status() { "$@" >/dev/null 2>&1 && echo 0 || echo $?; }
address=http://127.0.0.1:$(cat port)
wget --version | head -n 1 >&2
for place in within between; do
  echo "$place wget $(status wget -q -t 1 -O w $address/$place) curl $(status curl -s -o c $address/$place) busybox $(status busybox wget -q -O b $address/$place)"
done >seen
cat seen
test "$(cat seen)" = 'within wget 0 curl 18 busybox 1
between wget 4 curl 18 busybox 1'
