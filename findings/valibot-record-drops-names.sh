#!/bin/sh
# valibot 1.5.0: a record whose keys are names from outside silently loses those called "constructor", "prototype" or "__proto__":
# parsing succeeds, and the entry is gone. `looseObject` and `objectWithRest` drop them too; `strictObject` refuses them as it does any unknown
# key, and `map` keeps every one. Whoever lets people choose names (of VMs, nodes, labels) and checks them by a record loses what is called
# "constructor", without an error. So a list of entries, each with its name in a field, is the safe shape.
#
# Seen: record {"toString":3}   loose {"a":1,"toString":3}   rest {"a":1,"toString":3}   map constructor,prototype,toString,__proto__
# Exits 0 while that is so, 1 when it has changed. Needs npm and Node 20 or newer.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true,"type":"module"}' >package.json
npm install --silent --no-audit --no-fund valibot@1.5.0
cat >show.js <<'EOF'
import * as v from 'valibot';
const names = '"constructor":1,"prototype":2,"toString":3,"__proto__":4';
const parsed = (schema, text) => JSON.stringify(v.parse(schema, JSON.parse(text)));
const pairs = new Map(['constructor', 'prototype', 'toString', '__proto__'].map((name, at) => [name, at]));
console.log(
  'record', parsed(v.record(v.string(), v.number()), `{${names}}`), ' ',
  'loose', parsed(v.looseObject({ a: v.number() }), `{"a":1,${names}}`), ' ',
  'rest', parsed(v.objectWithRest({ a: v.number() }, v.number()), `{"a":1,${names}}`), ' ',
  'map', [...v.parse(v.map(v.string(), v.number()), pairs).keys()].join(),
);
EOF
seen=$(node show.js)
echo "$seen"
test "$(echo "$seen" | tr -s ' ')" = 'record {"toString":3} loose {"a":1,"toString":3} rest {"a":1,"toString":3} map constructor,prototype,toString,__proto__'
