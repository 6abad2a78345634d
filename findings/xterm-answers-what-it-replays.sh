#!/bin/sh
# @xterm/headless 6.0.0 (the same parser as @xterm/xterm): a terminal answers each question of the output that it is given (where the cursor
# is, what it is, its settings), and the answer comes by `onData`, which is where keys come from, with nothing to tell them apart; also when
# nobody ever pressed a key and it is attached to no element. So a page that shows a guest's scrollback by writing it into a new terminal
# types the answers to all old questions at the guest's shell, and with two viewers each live question is answered twice.
# `disableStdin` keeps back answers with the keys; it does not help who wants to type.
#
# Seen: replayed once, two terminals: ["\u001b[1;10R","\u001b[?1;2c"] ["\u001b[1;10R","\u001b[?1;2c"] disableStdin: []
# Exits 0 while that is so, 1 when it has changed. Needs npm and Node 20 or newer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true,"type":"module"}' >package.json
npm install --silent --no-audit --no-fund @xterm/headless@6.0.0
cat >show.js <<'EOF'
import headless from '@xterm/headless';
const scrollback = 'guest:~$ \x1b[6n\x1b[c\r\n';
const answers = (options) =>
  new Promise((resolve) => {
    const heard = [];
    const terminal = new headless.Terminal(options);
    terminal.onData((data) => heard.push(data));
    terminal.write(scrollback, () => resolve(JSON.stringify(heard)));
  });
console.log('replayed once, two terminals:', await answers({}), await answers({}), 'disableStdin:', await answers({ disableStdin: true }));
EOF
seen=$(node show.js)
printf '%s\n' "$seen"
test "$seen" = 'replayed once, two terminals: ["\u001b[1;10R","\u001b[?1;2c"] ["\u001b[1;10R","\u001b[?1;2c"] disableStdin: []'
