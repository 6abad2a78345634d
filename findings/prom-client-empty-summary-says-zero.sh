#!/bin/sh
# prom-client 15.1.3: a summary that observed nothing, or nothing within its sliding window, says 0 for each quantile; Prometheus' own libraries say NaN, as
# its documents tell ("no observations in the window"). So the median of a latency that nobody had falls to 0 s on a dashboard, which looks like the
# best of all values, and an alarm of "above 100 ms" ends while the thing it watches stands still. Histograms don't have this: take those.
#
# Seen: after one observation 5; when the window has passed 0 (count 1, sum 5)
# Exits 0 while that is so, 1 when it has changed. Needs npm and Node 20 or newer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true,"type":"module"}' >package.json
npm install --silent --no-audit --no-fund prom-client@15.1.3
cat >show.js <<'EOF'
import client from 'prom-client';
const summary = new client.Summary({ name: 's', help: 'h', percentiles: [0.5], maxAgeSeconds: 1, ageBuckets: 2 });
const value = async (of) => (await summary.get()).values.find(of).value;
const median = () => value(({ labels }) => labels.quantile === 0.5);
summary.observe(5);
const first = await median();
await new Promise((resolve) => setTimeout(resolve, 3000));
const [count, sum] = [await value((v) => v.metricName === 's_count'), await value((v) => v.metricName === 's_sum')];
console.log(`after one observation ${first}; when the window has passed ${await median()} (count ${count}, sum ${sum})`);
EOF
seen=$(node show.js)
echo "$seen"
test "$seen" = 'after one observation 5; when the window has passed 0 (count 1, sum 5)'
