#!/usr/bin/env bash
# Installs the few Debian packages that nightlab likes to have, where it may; otherwise says what is degraded. Never fails.
# `tests`: also what only the long tests need.
set -u
declare -A why=(
  [bubblewrap]="policies run in the weaker Landlock or rlimits sandbox"
  [libusb-1.0-0]="RealSense cameras cannot be opened"
  [git]="labs cannot keep their history (required)"
  [postgresql]="the test of a lab on PostgreSQL is skipped"
)
missing=()
command -v bwrap >/dev/null || missing+=(bubblewrap)
ldconfig -p 2>/dev/null | grep -q libusb-1.0.so.0 || missing+=(libusb-1.0-0)
command -v git >/dev/null || missing+=(git)
postgres() { compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null; }
[ "${1:-}" = tests ] && ! postgres && missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1
fi
for package in "${missing[@]}"; do
  case $package in
    bubblewrap) command -v bwrap >/dev/null && continue ;;
    git) command -v git >/dev/null && continue ;;
    postgresql) postgres && continue ;;
    *) ldconfig -p 2>/dev/null | grep -q libusb-1.0.so.0 && continue ;;
  esac
  echo "degraded: Debian package $package is missing: ${why[$package]}. Fix: apt-get install $package"
done
exit 0
