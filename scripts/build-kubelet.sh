#!/bin/sh
# Builds the kubelet that `make test-cluster` runs, once, from the Go module proxy: no distribution
# has it as a package. It takes three minutes of processor time and 2 GiB.
# Usage: build-kubelet.sh VERSION FOLDER; the program is FOLDER/kubelet-VERSION.
set -eu
version=$1
folder=$2
program="$folder/kubelet-$version"
[ -x "$program" ] && exit 0
command -v go >/dev/null 2>&1 || { echo "build-kubelet.sh: go is not installed" >&2; exit 1; }

module="$folder/module-$version"
mkdir -p "$module"
cd "$module"
# Kubernetes keeps the modules it consists of in its own tree; each is also published, as v0.x.y.
published="v0${version#v1}"
source=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^\t"GoMod": "\(.*\)",\{0,1\}$/\1/p')
[ -n "$source" ] || { echo "build-kubelet.sh: no k8s.io/kubernetes $version" >&2; exit 1; }
sed -e 's|^module k8s.io/kubernetes$|module example.test/kubelet|' \
    -e "s|=> \./staging/src/\(k8s\.io/[a-z-]*\)|=> \1 $published|" \
    -e "0,/^require (/s||require k8s.io/kubernetes $version\n\nrequire (|" "$source" > go.mod
echo 'package none' > none.go
echo "Building the kubelet $version (three minutes, once)..." >&2
# The version is told to itself, as Kubernetes' own build does; it refuses to start without.
GOWORK=off GOFLAGS=-mod=mod nice -n 10 go build -p 2 -ldflags "-s -w \
    -X k8s.io/component-base/version.gitVersion=$version \
    -X k8s.io/component-base/version.gitMajor=1" -o "$program.part" k8s.io/kubernetes/cmd/kubelet
mv "$program.part" "$program"
