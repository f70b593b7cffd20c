#!/bin/sh
# Puts what `make test-cluster` runs into a folder: containerd, runc and busybox of Debian, only
# unpacked, and a kubelet. Nothing is installed.
# Usage: install-cluster.sh FOLDER KUBERNETES-VERSION
set -eu
folder=$1
version=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
sh "$here/build-kubelet.sh" "$version" "$folder"
ln -sf "kubelet-$version" "$folder/kubelet"
[ -e "$folder/debian/complete" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "install-cluster.sh: needs Debian's apt-get" >&2; exit 1; }
rm -rf "$folder/debian" "$folder/packages"
mkdir -p "$folder/debian" "$folder/packages"
apt-get update -qq
# As root apt would want to write as another user, who may not write here.
(cd "$folder/packages" && apt-get -o APT::Sandbox::User=root download -qq \
    busybox-static containerd containernetworking-plugins runc)
for package in "$folder"/packages/*.deb; do dpkg-deb -x "$package" "$folder/debian"; done
rm -rf "$folder/packages"
touch "$folder/debian/complete"
