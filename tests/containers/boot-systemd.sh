#!/bin/sh
# Boot this system's systemd in namespaces of its own, on a layer over its root that is thrown away.
# $1: an empty folder; $2: Python's prefix; $3: its version; $4: packages; $5: this repository.
set -e
mount --make-rprivate /
mount -t tmpfs -o size=1g tmpfs "$1"
cd "$1"
mkdir upper work new
mount -t overlay overlay -o "lowerdir=/,upperdir=upper,workdir=work" new
cd new
opt=opt/gpu-sentinel
mkdir -p opt/python "$opt/bin" "$opt/deps" "$opt/src" "$opt/lib/python$3/site-packages"
mount --bind "$2" opt/python
mount --bind "$4" "$opt/deps"
for folder in exporter prometheus alertmanager grafana packaging; do
    cp -r "$5/$folder" "$opt/src/"
done
echo "home = /opt/python/bin" > "$opt/pyvenv.cfg"
ln -s "/opt/python/bin/python$3" "$opt/bin/python3"
printf '/%s\n' "$opt/src/exporter" "$opt/deps" > "$opt/lib/python$3/site-packages/test.pth"
printf '#!/bin/sh\nexec /%s/bin/python3 -m gpu_sentinel "$@"\n' "$opt" > "$opt/bin/gpu-sentinel"
chmod +x "$opt/bin/gpu-sentinel"
# A Python whose library is looked for where it was built: services see no home directory.
mkdir -p etc/systemd/system.conf.d
printf '[Manager]\nDefaultEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n' > etc/systemd/system.conf.d/test.conf
# Nothing of this system is to be started but systemd itself.
rm -rf etc/systemd/system/*.wants

mount -t proc proc proc
mount -t sysfs sysfs sys
mkdir -p sys/fs/cgroup
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs dev
for device in null zero full random urandom tty kmsg; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir -p dev/pts dev/shm mnt
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666,mode=620
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ip link set lo up
mount --make-private .
pivot_root . mnt
umount -l /mnt
cd /
# As a machine has it: what systemd mounts for a service's credentials must be seen by the service.
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=0
