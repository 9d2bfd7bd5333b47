# shellcheck shell=sh
# Sourced by the shell scripts of this folder; plain sh.

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Runs a command as root: directly, or through sudo when we are not root.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    die "needs root for: $*. Run it as root, or install sudo."
  fi
}

# How many compilers to run at once: one a core, but at most one for each 2 GiB of memory,
# since a source that includes LibTorch's headers takes up to 1 GiB and a link more.
build_jobs() {
  cores=$(nproc)
  by_memory=$(awk '/^MemTotal:/ { n = int($2 / 2097152); print (n > 0 ? n : 1) }' /proc/meminfo)
  if [ "$by_memory" -lt "$cores" ]; then say "$by_memory"; else say "$cores"; fi
}

# "42 s" or "3.4 min" from a number of seconds.
duration() { awk -v s="$1" 'BEGIN { if (s < 60) printf "%d s", s; else printf "%.1f min", s / 60 }'; }
