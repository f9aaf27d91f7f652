#!/bin/sh
# Writes a base image made from Debian's packages, where no registry of images is reached:
#   deploy/container/make-base.sh | docker import - raftline-base
# Needs root and debootstrap. Then: docker build --build-arg BASE=raftline-base …
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
debootstrap --variant=minbase --include=python3-minimal,libpython3-stdlib bookworm "$folder/root" >&2
# Of no use in a container: packages' lists and archives, pages of the manual, other languages.
rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/* \
  "$folder"/root/usr/share/doc/* "$folder"/root/usr/share/man/* "$folder"/root/usr/share/locale/*
tar -C "$folder/root" -c .
