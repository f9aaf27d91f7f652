#!/bin/sh
# Builds the kustomization, and validates each resource against the schemas of Kubernetes:
#   make -C deploy kubernetes-test
# Needs kubectl, and kubernetes-validate (pip install kubernetes-validate), which brings the schemas.
set -eu
cd "$(dirname "$0")"
for tool in "${KUBECTL:=kubectl}" "${VALIDATE:=kubernetes-validate}"; do
  command -v "$tool" >/dev/null || { echo "kubernetes-test: $tool is not here; $0 says what it needs" >&2; exit 2; }
done
built=$(mktemp)
trap 'rm -f "$built"' EXIT
"$KUBECTL" kustomize . >"$built"
for version in 1.25 1.37; do
  "$VALIDATE" --strict --kubernetes-version $version "$built"
done
echo "kubernetes-test: all passed"
