#!/bin/sh
# Debian 12's cloud kernel (linux-image-cloud-amd64, 6.1.192-2) drives the IDE of 1996 (ata_piix) but not AHCI, and gives programs ports by
# ioperm(2) but not by /dev/port; the standard kernel of the same source has all four. So a disk on the SATA controller of a modern
# machine type (QEMU's q35) is not found at all, while the old one (pc) works; and a program in a guest that tells its end by a port
# (QEMU's isa-debug-exit) through /dev/port, as with the standard kernel, finds no such file. One expects a kernel for virtual machines
# to leave out the older of two, and the call before the file.
#
# Seen: cloud-amd64 ata_piix=m ahci=no ioperm=y dev_port=no   amd64 ata_piix=m ahci=m ioperm=y dev_port=y
# Exits 0 while that is so, 1 when it has changed. Needs Debian's apt with the lists of release 12; nothing is installed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
option() { # of the kernel's configuration $1: the value of $2, or "no"
  value=$(grep "^CONFIG_$2=" "$1"/boot/config-* | cut -d= -f2)
  echo "${value:-no}"
}
for kind in cloud-amd64 amd64; do
  package=$(apt-cache depends linux-image-$kind | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
  apt-get -o APT::Sandbox::User=root download -qq "$package" >/dev/null
  dpkg-deb -x "$package"_*.deb $kind
  echo "$kind $(dpkg-deb -f "$package"_*.deb Version)" >&2
  echo "$kind ata_piix=$(option $kind ATA_PIIX) ahci=$(option $kind SATA_AHCI) ioperm=$(option $kind X86_IOPL_IOPERM) dev_port=$(option $kind DEVPORT)"
done >seen
cat seen
test "$(cat seen)" = 'cloud-amd64 ata_piix=m ahci=no ioperm=y dev_port=no
amd64 ata_piix=m ahci=m ioperm=y dev_port=y'
