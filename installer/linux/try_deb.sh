#!/bin/sh
# Installs the Debian package into a bare Debian root without Python and tries it there. Needs root and debootstrap.
# Usage: try_deb.sh PACKAGE.deb [ROOT [OUT]]   ROOT: where the Debian root is made (kept and used again),
# OUT: where pictures of the window go. MIRROR and SUITE choose another mirror or release.
set -eu

package=$(realpath "$1")
root=${2:-$(pwd)/build/debian-root}
out=${3:-$(pwd)/build/try-deb}
mirror=${MIRROR:-http://deb.debian.org/debian}
suite=${SUITE:-bookworm}

inside() { chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"; }
say() { printf '\n== %s\n' "$*"; }
everything() { (cd "$root" && find . -xdev \( -path ./proc -o -path ./dev -o -path ./tmp -o -path ./var \) -prune -o -print | sort); }

mkdir -p "$out"
if [ ! -x "$root/usr/bin/dpkg" ]; then
    say "a bare $suite"
    debootstrap --variant=minbase "$suite" "$root" "$mirror"
fi
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
mountpoint -q "$root/dev" || mount --rbind /dev "$root/dev"
trap 'umount "$root/proc"; umount -R "$root/dev" || umount -l "$root/dev"' EXIT
for setting in /etc/apt/apt.conf.d/*proxy* /etc/resolv.conf; do
    if [ -f "$setting" ]; then cp "$setting" "$root$setting"; fi
done

say "is there a Python?"
if inside sh -c 'ls /usr/bin/python* /usr/local/bin/python* 2>/dev/null'; then
    echo "this root is not bare" && exit 1
fi
echo "none"

say "the package's dependencies and Xvfb"
inside apt-get update -qq
inside dpkg-deb --version >/dev/null
depends=$(dpkg-deb --field "$package" Depends | tr ',' '\n' | sed 's/(.*//' | tr -d ' ')
# shellcheck disable=SC2086 # several packages
inside env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $depends xvfb xauth \
    desktop-file-utils hicolor-icon-theme shared-mime-info >/dev/null
everything >"$out/before.txt"

say "installation"
cp "$package" "$root/tmp/echoq.deb"
inside apt-get install -y -qq --no-install-recommends /tmp/echoq.deb
rm "$root/tmp/echoq.deb"
inside dpkg --verify echoq
inside desktop-file-validate /usr/share/applications/echoq.desktop
grep echoq "$root/usr/share/applications/mimeinfo.cache"
echo "installed: $(du -sm "$root/opt/echoq" | cut -f1) MiB"
if inside sh -c 'ls /usr/bin/python* 2>/dev/null'; then
    echo "the package pulled in a Python" && exit 1
fi

say "libraries that are missing"
inside sh -c 'find /opt/echoq -name "*.so*" -type f -exec env LD_LIBRARY_PATH=/opt/echoq/_internal ldd {} + 2>/dev/null' |
    awk '/^\//{file=$1} /not found/{print file, $1}' | sort -u

say "echoq --selftest, without a display"
inside echoq --version
inside echoq --selftest

say "commands: a batch, a figure, de-identification"
sample=/opt/echoq/_internal/resources/sample/phantom_a4c.dcm
inside rm -rf /tmp/loops /tmp/denoised /tmp/figures
inside sh -c "mkdir -p /tmp/loops && cp $sample /tmp/loops/one.dcm"
inside echoq denoise /tmp/loops -o /tmp/denoised --format dcm
inside echoq gcnr /tmp/loops --auto -o /tmp/figures
inside echoq deidentify /tmp/loops/one.dcm -o /tmp/clean.dcm
ls -l "$root/tmp/denoised/one.dcm" "$root/tmp/figures/gcnr.png" "$root/tmp/clean.dcm"

say "the window: offscreen, then under Xvfb"
inside env QT_QPA_PLATFORM=offscreen echoq open $sample --snapshot /tmp/offscreen.png
inside env QT_QPA_PLATFORM=xcb xvfb-run -a -s '-screen 0 1920x1080x24' echoq open $sample --snapshot /tmp/xvfb.png
mv "$root/tmp/offscreen.png" "$root/tmp/xvfb.png" "$out/"
ls -l "$out"/*.png

say "temporary folders that the program left"
(cd "$root/tmp" && ls -d echoq-* _MEI* 2>/dev/null) && exit 1
echo "none"

say "removal"
inside dpkg -r echoq
if inside dpkg-query --status echoq 2>/dev/null; then
    echo "dpkg still knows the package" && exit 1
fi
everything >"$out/after.txt"
left=$(diff "$out/before.txt" "$out/after.txt" | grep '^>' | grep -v '^> ./root' || true)
if [ -n "$left" ]; then
    echo "left behind:" && echo "$left" && exit 1
fi
echo "nothing is left outside the person's own folder; there:"
diff "$out/before.txt" "$out/after.txt" | grep '^>' || true
