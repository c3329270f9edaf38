#!/bin/sh
# Records the traces beside this script anew: nginx, built from the source tree of the nginx-src
# crate with recorder.c linked in, serves a few kinds of requests; what it asks of its pools is
# written down.
#
# Needs cc, make, curl, h2load (of nghttp2), and, for the TLS trace, openssl with its headers.
#
#   crates/cenote-bench/trace/record.sh [WORK-FOLDER]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${1:-$(mktemp -d)}
mkdir -p "$work"
cd "$here"
source=$(cargo metadata --format-version=1 |
    sed 's/.*"manifest_path":"\([^"]*nginx-src[^"]*\)Cargo.toml".*/\1nginx/')
rm -rf "$work/nginx"
cp -r "$source" "$work/nginx"
cd "$work/nginx"

ssl=--with-http_ssl_module
if ! echo '#include <openssl/ssl.h>' | cc -E - >/dev/null 2>&1; then
    echo "SKIPPED: TLS (no headers of openssl)" >&2
    ssl=
fi
wraps=
for call in ngx_event_accept ngx_create_pool ngx_destroy_pool ngx_reset_pool ngx_palloc ngx_pnalloc \
    ngx_pcalloc ngx_pmemalign ngx_pfree ngx_pool_cleanup_add; do
    wraps="$wraps -Wl,--wrap=$call"
done
# shellcheck disable=SC2086
auto/configure --prefix="$work/run" --with-debug --without-pcre --without-http_rewrite_module \
    --with-http_v2_module $ssl >"$work/configure.log"
cc -g -O -c -I src/core -I src/event -I src/event/modules -I src/os/unix -I objs \
    "$here/recorder.c" -o "$work/recorder.o"
make -j"$(nproc)" LINK="cc $work/recorder.o $wraps" >"$work/make.log" 2>&1

run=$work/run
rm -rf "$run"
mkdir -p "$run/logs" "$run/html" "$run/conf"
cp conf/mime.types "$run/conf/"
i=0
while [ $i -lt 40 ]; do
    printf '<p>%s %s</p>\n' "$i" "some text that a page has" >>"$run/html/index.html"
    i=$((i + 1))
done
head -c 300000 /dev/urandom >"$run/html/large.bin"
tls=
if [ -n "$ssl" ]; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
        -keyout "$run/key.pem" -out "$run/cert.pem" 2>/dev/null
    tls="server { listen 127.0.0.1:18443 ssl; http2 on; ssl_certificate $run/cert.pem;
        ssl_certificate_key $run/key.pem; root $run/html; }"
fi
cat >"$run/conf/nginx.conf" <<CONF
env CENOTE_TRACE; daemon off; master_process off; error_log $run/logs/error.log;
events { worker_connections 512; }
http {
    include mime.types; access_log $run/logs/access.log;
    gzip on; gzip_min_length 100;
    upstream behind { server 127.0.0.1:18081; keepalive 4; }
    server { listen 127.0.0.1:18080; http2 on; root $run/html;
        location /proxied/ { proxy_pass http://behind/; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_set_header Host \$host;
            proxy_set_header X-Real-IP \$remote_addr; } }
    server { listen 127.0.0.1:18081; root $run/html; gzip off; }
    $tls
}
CONF

# browse CURL-ARGUMENTS...: four connections one after the other, each with all the requests.
browse() {
    for _ in 1 2 3 4; do
        curl -s -m 10 -k -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64)' -H 'Accept: text/html,*/*;q=0.8' \
            -H 'Accept-Language: en-US,en;q=0.5' -H 'Cookie: session=0123456789abcdef; theme=dark' "$@"
    done
}

# record NAME REQUESTS COMMAND...: what nginx asks of its pools while the command runs, which makes
# so many requests over four connections.
record() {
    name=$1 requests=$2
    shift 2
    CENOTE_TRACE=$work/$name.raw objs/nginx -p "$run" >"$work/$name.log" 2>&1 &
    nginx=$!
    trap 'kill $nginx' EXIT
    until curl -s -m 10 -o /dev/null http://127.0.0.1:18080/index.html; do :; done
    # What has been written so far is the probe's, once its pools are gone.
    until [ "$(grep -c '^c' "$work/$name.raw")" = "$(grep -c '^d' "$work/$name.raw")" ]; do kill -0 $nginx; done
    before=$(wc -l <"$work/$name.raw")
    "$@"
    kill -QUIT $nginx
    wait $nginx || true
    trap - EXIT
    {
        echo "# nginx $(sed -n 's/.*define NGINX_VERSION *"\(.*\)"/\1/p' src/core/nginx.h), $name"
        echo "# $requests requests over 4 connections"
        tail -n +$((before + 1)) "$work/$name.raw"
    } >"$here/$name.txt"
    wc -lc "$here/$name.txt"
}

page=http://127.0.0.1:18080/index.html
null='-o /dev/null'
# shellcheck disable=SC2086
record static 48 browse $null $page $null $page $null http://127.0.0.1:18080/large.bin $null $page $null $page \
    $null http://127.0.0.1:18080/missing $null $page $null $page -H 'Accept-Encoding: gzip' $null $page \
    $null $page $null $page $null $page
proxied=http://127.0.0.1:18080/proxied/index.html
# shellcheck disable=SC2086
record proxied 32 browse $null $proxied $null $proxied $null $proxied $null $proxied $null $proxied $null $proxied \
    $null http://127.0.0.1:18080/proxied/large.bin $null $proxied
# Without TLS, by prior knowledge; eight streams at once on each connection.
record http2 48 h2load -n 48 -c 4 -m 8 -H 'User-Agent: Mozilla/5.0 (X11; Linux x86_64)' \
    -H 'Accept-Language: en-US,en;q=0.5' -H 'Cookie: session=0123456789abcdef; theme=dark' "$page" >"$work/h2load.log"
grep -q 'requests: 48 total.* 48 succeeded' "$work/h2load.log"
if [ -n "$ssl" ]; then
    page=https://127.0.0.1:18443/index.html
    # shellcheck disable=SC2086
    record tls 32 browse --http1.1 $null $page $null $page $null $page $null $page $null $page $null $page $null $page \
        $null $page
fi
