#!/bin/sh
# A disk image of EchoQ.app with a link to Applications beside it. Usage: make_dmg.sh EchoQ.app TARGET.dmg
# Signed when SIGN_IDENTITY names a Developer ID, else ad hoc: macOS then asks before the first start.
set -eu

app=$1
target=$2
identity=${SIGN_IDENTITY:--}
staging=$(mktemp -d)
trap 'rm -rf "$staging"' EXIT

options="--force --deep --sign"
if [ "$identity" != "-" ]; then
    options="--force --deep --options runtime --timestamp --sign"
fi
# shellcheck disable=SC2086 # the options are several words
codesign $options "$identity" "$app"
codesign --verify --deep --strict "$app"

cp -R "$app" "$staging/EchoQ.app"
ln -s /Applications "$staging/Applications"
cp "$(dirname "$0")/../../LICENSE" "$(dirname "$0")/../../NOTICE.md" "$staging/"
rm -f "$target"
hdiutil create -volname EchoQ -srcfolder "$staging" -fs HFS+ -format UDZO "$target"
