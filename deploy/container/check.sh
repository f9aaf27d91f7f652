#!/bin/sh
# Runs the three nodes of docker-compose.yml and looks at what they promise: `make container-test`.
set -eu
cd "$(dirname "$0")"
compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }
trap 'compose down -v >/dev/null 2>&1' EXIT
compose up --build -d

say() { echo "container-test: $*"; }
ask() { at=$1 verb=$2; shift 2; compose exec -T "$at" python3 -m raftline "$verb" -q --at s1:10000,s2:10000,s3:10000 "$@"; }
wait_for() { # until a command succeeds, a minute at most
  n=0
  until "$@" >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 60 ] || { say "in vain: $*"; exit 1; }; sleep 1; done
}
page() { compose exec -T "$1" python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9100/$2').read().decode())"; }

for node in s1 s2 s3; do
  wait_for page $node ready
  [ "$(compose exec -T $node id -u)" = 10001 ] || { say "$node is root"; exit 1; }
  if compose exec -T $node touch /opt/raftline/x 2>/dev/null; then say "$node can write its root"; exit 1; fi
done
say "three nodes are ready, not as root, on read-only roots"
ask s1 set lamp on
compose kill -s KILL s2 >/dev/null 2>&1
ask s1 set lamp off
[ "$(ask s3 get lamp)" = off ] || { say "a node away: lamp is not off"; exit 1; }
say "with a node killed, the other two serve"
compose start s2 >/dev/null 2>&1
wait_for page s2 ready
[ "$(ask s2 get lamp)" = off ] || { say "s2 came back without its log"; exit 1; }
for node in s1 s2 s3; do
  id=$(compose ps -q $node)
  wait_for sh -c "[ \"\$(docker inspect -f '{{.State.Health.Status}}' $id)\" = healthy ]"
done
say "it came back from its volume; all are healthy: all passed"
