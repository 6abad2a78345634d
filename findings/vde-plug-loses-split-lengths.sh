#!/bin/sh
# VDE's vde_plug (Debian 12: vdeplug 4.0.1-4) carries frames on its standard input behind two bytes of length. It is a stream, but a length
# that comes in two pieces is not put together: vde_plug forgets its first byte, takes the second and the frame's first byte for a length,
# and so on; frames are lost without a word. A frame itself may come in as many pieces as it likes. As it reads up to 9,234 bytes at once, a
# busy writer meets this by chance, when the end of a read falls there, unless all its frames have an even length (then no read ends there).
#
# Seen: whole=1 frame_in_pieces=1 length_in_pieces=0
# Exits 0 while that is so, 1 when it has changed. Needs Debian's apt with the lists of release 12; nothing is installed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
cd "$folder"
apt-get -o APT::Sandbox::User=root download -qq vdeplug libvdeplug2 >/dev/null
for package in *.deb; do dpkg-deb -x "$package" .; done
library=$(dirname "$(find usr/lib -name 'libvdeplug.so.2')")
export LD_LIBRARY_PATH="$folder/$library:$folder/$library/vdeplug"
plug() { # one end of a cable of two plugs
  usr/bin/vde_plug "ptp://$folder/cable"
}
frame='\377\377\377\377\377\377\002\000\000\000\000\001\010\006..............................................' # 60 bytes
arrived() { # how many frames came out of the other end, when standard input goes into this one
  mkfifo held
  plug <held >out &
  exec 3>held
  sleep 1
  { cat; sleep 1; } | plug >/dev/null
  exec 3>&-
  wait
  rm held
  echo $(($(wc -c <out) / 62))
}
whole=$(printf "\\000\\074$frame" | arrived)
frame_in_pieces=$({ printf '\000\074\377'; sleep 4; printf "${frame#????}"; } | arrived)
length_in_pieces=$({ printf '\000'; sleep 4; printf "\\074$frame"; } | arrived)
echo "whole=$whole frame_in_pieces=$frame_in_pieces length_in_pieces=$length_in_pieces" | tee seen
test "$(cat seen)" = 'whole=1 frame_in_pieces=1 length_in_pieces=0'
