#!/bin/sh
# Gives each node its files, in its own volume: certificate, key, CA, secret, list of members.
# The service `files` of docker-compose.yml runs it, as root and without a network, before the nodes
# start. It may run again with new certificates: docker compose run --rm files.
set -eu
put() { # FILE PLACE MODE: a node that looks meanwhile sees the old file or the new one, whole
  install -o 10001 -g 10001 -m "$3" "$1" "$2.new"
  mv "$2.new" "$2"
}

secret=
for name in s1 s2 s3; do
  [ ! -e /nodes/$name/secret ] || secret=/nodes/$name/secret
done
if [ -z "$secret" ]; then
  secret=/nodes/s1/secret
  python3 -m raftline secret $secret
  chown 10001:10001 $secret
fi
printf 's1 s1 10000\ns2 s2 10000\ns3 s3 10000\n' >/tmp/members
for name in s1 s2 s3; do
  folder=/nodes/$name
  for file in /certs/ca.pem "/certs/$name.pem" "/certs/$name.key"; do
    [ -r "$file" ] || { echo "there is no $file: make it with raftline certs, as README.md says" >&2; exit 2; }
  done
  install -d -o 10001 -g 10001 -m 700 "$folder" "$folder/tls"
  put /certs/ca.pem "$folder/tls/ca.pem" 644
  put "/certs/$name.key" "$folder/tls/node.key" 600
  put "/certs/$name.pem" "$folder/tls/node.pem" 644
  [ -e "$folder/secret" ] || put "$secret" "$folder/secret" 600
  [ -e "$folder/server-configuration.txt" ] || put /tmp/members "$folder/server-configuration.txt" 644
done
