#!/usr/bin/env bash
# Redis 7.0.15 (Debian 12's redis-server and redis-tools 5:7.0.15-1~deb12u*, libjemalloc2 5.3.0-1), with another
# malloc preloaded (libtcmalloc-minimal4 2.10-1).
#
# A good guess: either the preloaded malloc is not used, since Redis calls jemalloc by names of its own, or it is
# used and Redis tells its figures, or none.
# Seen: Debian's Redis is linked to the system's jemalloc by the plain names, so a preloaded malloc takes all of its
# objects. But its figures come from jemalloc's own call, mallctl, which the other malloc does not have: INFO goes on
# saying mem_allocator:jemalloc-5.3.0, and tells the figures of an allocator in which nearly nothing is.
# `allocator_allocated` is some 28 kB where `used_memory` is 27 MB, so the ratios made of them are nonsense
# (allocator_rss_ratio 80 and more, rss_overhead_ratio 14), and MEMORY DOCTOR blames "Lua scripts or Modules" for
# memory that is the data. `used_memory` itself, which Redis counts, stays right.
# Printed is, for 100,000 texts of 200 bytes, without and with the other malloc, the allocator's name, whether it
# says that it allocated at least half of used_memory, and whether the doctor speaks of a high overhead:
#   plain: jemalloc-5.3.0, allocated as used: yes, high overhead: no
#   tcmalloc: jemalloc-5.3.0, allocated as used: no, high overhead: yes
#
# Fails if that changes. Needs apt-get (it downloads, and installs nothing) and dpkg on amd64.
set -euo pipefail
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q download redis-server redis-tools libjemalloc2 liblzf1 libatomic1 libsystemd0 libssl3 \
    libhiredis0.14 liblua5.1-0 lua-cjson lua-bitop libtcmalloc-minimal4 > downloaded 2>&1 ||
    { cat downloaded; echo "this is about Debian 12"; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
lib=$dir/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$lib:$dir/root/lib/x86_64-linux-gnu
bin=$dir/root/usr/bin
"$bin/redis-server" --version | grep -q 'v=7\.0\.15 .*malloc=jemalloc-5\.3\.0' ||
    { "$bin/redis-server" --version; echo "this is about Redis 7.0.15 with jemalloc 5.3.0"; exit 2; }
ask() { "$bin/redis-cli" -s "$dir/socket" "$@" | tr -d '\r'; }
figure() { ask info memory | sed -n "s/^$1://p"; }
see() {
    local used allocated high=no as_used=no
    LD_PRELOAD=$2 "$bin/redis-server" --port 0 --unixsocket "$dir/socket" --save '' --dir "$dir" \
        > "$dir/log" 2>&1 &
    server=$!
    until grep -q 'eady to accept connections' "$dir/log"; do
        kill -0 "$server" || { cat "$dir/log"; exit 3; }
    done
    ask eval "for i = 1, 100000 do redis.call('set', 'k' .. i, string.rep('x', 200)) end" 0 > said
    used=$(figure used_memory)
    allocated=$(figure allocator_allocated)
    [ "$((2 * allocated))" -lt "$used" ] || as_used=yes
    ! ask memory doctor | grep -q 'High process RSS overhead' || high=yes
    echo "$1: $(figure mem_allocator), allocated as used: $as_used, high overhead: $high"
    echo "   (used_memory $used, allocator_allocated $allocated, rss_overhead_ratio $(figure rss_overhead_ratio))" >&2
    ask shutdown nosave
    wait "$server"
    server=
}
{
    see plain ''
    see tcmalloc "$lib/libtcmalloc_minimal.so.4"
} > seen
cat seen
diff seen - <<'EXPECTED' || { echo "changed"; exit 1; }
plain: jemalloc-5.3.0, allocated as used: yes, high overhead: no
tcmalloc: jemalloc-5.3.0, allocated as used: no, high overhead: yes
EXPECTED
