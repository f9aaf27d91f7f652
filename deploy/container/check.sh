#!/bin/sh
# Runs the three nodes of docker-compose.yml and looks at what they promise: `make -C deploy container-test`.
# PYTHON makes the certificates: it needs the package cryptography, as raftline certs does.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-../../.venv/bin/python}
CERTS=$(mktemp -d)/certs
export CERTS
compose() { if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi; }
trap 'compose down -v >/dev/null 2>&1; rm -rf "$(dirname "$CERTS")"' EXIT
say() { echo "container-test: $*"; }
fail() { compose logs --tail 20 >&2; say "$*"; exit 1; }
certs() { "$python" -m raftline certs "$CERTS" --node s1=s1 --node s2=s2 --node s3=s3 >/dev/null; }
ask() { at=$1 verb=$2; shift 2; compose exec -T "$at" python3 -m raftline "$verb" -q --at s1:10000,s2:10000,s3:10000 "$@"; }
wait_for() { # until a command succeeds, a minute at most
  n=0
  until "$@" >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 60 ] || fail "in vain: $*"; sleep 1; done
}
page() { compose exec -T "$1" python3 -c "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9100/$2').read().decode())"; }
shown() { # NODE CA: who the certificate of a node is for, its number, and the version of TLS
  compose exec -T s1 python3 -c "
import socket, ssl
context = ssl.create_default_context(cafile='$2')
context.load_cert_chain('/data/tls/node.pem', '/data/tls/node.key')
with context.wrap_socket(socket.create_connection(('$1', 10000), 10), server_hostname='$1') as tls:
    found = tls.getpeercert()
    print(dict(pair[0] for pair in found['subject'])['commonName'], found['serialNumber'], tls.version())"
}
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = healthy ]; }

certs
compose up --build -d
for node in s1 s2 s3; do
  wait_for page $node ready
  [ "$(compose exec -T $node id -u)" = 10001 ] || fail "$node is root"
  if compose exec -T $node touch /opt/raftline/x 2>/dev/null; then fail "$node can write its root"; fi
done
say "three nodes are ready, not as root, on read-only roots"

for node in s1 s2 s3; do
  who=$(shown $node /data/tls/ca.pem)
  case $who in "$node "*TLSv1.[23]) ;; *) fail "$node shows $who" ;; esac
  if shown $node /etc/ssl/certs/none.pem >/dev/null 2>&1; then fail "$node is taken without its CA"; fi
  told=$(compose exec -T s1 python3 -c "
import socket
with socket.create_connection(('$node', 10000), 10) as plain:
    plain.sendall(b'client4@get lamp\n')
    print(plain.makefile().readline())")
  case $told in *"speaks TLS alone"*) ;; *) fail "without TLS $node says: $told" ;; esac
done
say "each shows its own certificate, and speaks to nobody without TLS"

ask s1 set lamp on
compose kill -s KILL s2 >/dev/null 2>&1
ask s1 set lamp off
[ "$(ask s3 get lamp)" = off ] || fail "a node away: lamp is not off"
say "with a node killed, the other two serve"
compose start s2 >/dev/null 2>&1
wait_for page s2 ready
[ "$(ask s2 get lamp)" = off ] || fail "s2 came back without its log"
for node in s1 s2 s3; do wait_for healthy "$(compose ps -q $node)"; done
say "it came back from its volume; all are healthy, by a handshake as well"

before=$(shown s3 /data/tls/ca.pem)
rm "$CERTS/s3.pem" "$CERTS/s3.key"
certs
compose run --rm files >/dev/null 2>&1
after=$(shown s3 /data/tls/ca.pem)
[ "$before" != "$after" ] || fail "s3 still shows its old certificate"
[ "$(ask s3 get lamp)" = off ] || fail "a new certificate: lamp is not off"
say "a new certificate is taken over without a restart"
say "all passed"
