#!/bin/bash
# A real S3 server for tests: Ceph's RADOS gateway over one monitor and one in-memory object store, on loopback.
#   ceph.sh install         installs the Debian packages when they are missing (needs root)
#   ceph.sh start FOLDER    prints the endpoint; user revenant / revenantsecret
#   ceph.sh stop FOLDER     ends the daemons that this FOLDER started
# With CEPH_WATCHED=PID they end, and FOLDER goes, when that process ends without a stop.
# CEPH_S3_PORT chooses the gateway's port (default 17480); the monitor and the store use the 200 ports above it.
set -euo pipefail

install() {
  command -v radosgw >/dev/null && command -v ceph-mon >/dev/null && command -v ceph-osd >/dev/null &&
    command -v ceph >/dev/null && return 0
  export DEBIAN_FRONTEND=noninteractive
  local packages=(radosgw ceph-mon ceph-osd ceph-common)
  # Install scripts must not start the distribution's own daemons.
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends -o Dpkg::Use-Pty=0 "${packages[@]}" >&2
}

write_configuration() {
  local folder=$1 port=$2 monitor=$3
  cat >"$folder/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:127.0.0.1:$monitor,v1:127.0.0.1:$((monitor + 1))]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind port min = $((monitor + 10))
ms bind port max = $((monitor + 190))
auth cluster required = none
auth service required = none
auth client required = none
# The gateway waits for ever without this when authentication is off.
ms mon client mode = crc
run dir = $folder/run
pid file = $folder/run/\$name.pid
admin socket = $folder/run/\$name.asok
log file = $folder/log/\$name.log
keyring = $folder/keyring
mon data = $folder/mon
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon data avail warn = 2
mon data avail crit = 1
# Without tcp_nodelay a small read takes 44 ms.
rgw frontends = beast endpoint=${CEPH_LISTEN:-127.0.0.1}:$port tcp_nodelay=1
rgw run sync thread = false
rgw enable usage log = false
rgw enable ops log = false
CONF
}

# Ends everything when the process that started us is gone, however it ended. CEPH_WATCHED is its number.
watch() {
  local folder=$1 starter=$2
  while kill -0 "$CEPH_WATCHED" 2>/dev/null && [ -d "$folder" ]; do sleep 0.5; done
  [ -d "$folder" ] || return 0
  # A start that is still under way would go on to start the next daemon.
  kill -9 "$starter" 2>/dev/null || true
  stop "$folder"
  sleep 2
  stop "$folder" -9
  rm -rf "$folder"
}

start() {
  local folder port=${CEPH_S3_PORT:-17480} monitor
  folder=$(realpath -m "$1")
  monitor=$((port + 10))
  rm -rf "$folder"
  mkdir -p "$folder"/{run,log,mon,osd}
  : >"$folder/keyring"
  if [ -n "${CEPH_WATCHED:-}" ]; then
    setsid "$0" watch "$folder" $$ </dev/null >/dev/null 2>&1 &
  fi
  write_configuration "$folder" "$port" "$monitor"
  export CEPH_CONF=$folder/ceph.conf
  local fsid uuid
  fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")
  {
    monmaptool --create --clobber --fsid "$fsid" \
      --addv a "[v2:127.0.0.1:$monitor,v1:127.0.0.1:$((monitor + 1))]" "$folder/monmap"
    ceph-mon --mkfs -i a --monmap "$folder/monmap"
    ceph-mon -i a
    uuid=$(cat /proc/sys/kernel/random/uuid)
    timeout 60 ceph osd new "$uuid"
    timeout 60 ceph osd crush add osd.0 1 root=default host=local || true
    ceph-osd -i 0 --mkfs --osd-uuid "$uuid"
    ceph-osd -i 0
    wait_for 150 osd_is_up
    timeout 120 radosgw-admin user create --uid=revenant --display-name=revenant \
      --access-key=revenant --secret-key=revenantsecret
    radosgw -n client.rgw.a
    wait_for 300 port_is_open "$port" "${CEPH_LISTEN:-127.0.0.1}"
  } >"$folder/log/start.log" 2>&1 || { tail -5 "$folder/log/start.log" >&2; stop "$folder"; exit 1; }
  echo "http://${CEPH_LISTEN:-127.0.0.1}:$port"
}

wait_for() {
  local tries=$1
  shift
  while ((tries-- > 0)); do "$@" && return 0; sleep 0.2; done
  echo "gave up waiting: $*"
  return 1
}
osd_is_up() { timeout 10 ceph osd stat 2>/dev/null | grep -q '1 up'; }
port_is_open() { (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null; }

stop() {
  local folder pid
  folder=$(realpath -m "$1")
  for file in "$folder"/run/*.pid; do
    [ -f "$file" ] && pid=$(cat "$file") && kill ${2:-} "$pid" 2>/dev/null || true
  done
}

case ${1:-} in
  install) install ;;
  start) start "${2:?a folder}" ;;
  stop) stop "${2:?a folder}" ;;
  watch) watch "${2:?a folder}" "${3:?a process}" ;;
  *) sed -n '2,7p' "$0" >&2; exit 2 ;;
esac
