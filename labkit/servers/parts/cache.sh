#!/bin/sh
# cache.sh UPSTREAM PROXY KEPT
#
# Serve a cache of the registry at UPSTREAM, a URL, with the configuration PROXY. Distribution does not start with that
# while UPSTREAM is out of reach; until it can be reached, serve with KEPT what was fetched before.
upstream=$1 proxy=$2 kept=$3

is_there() { curl --silent --output /dev/null --max-time 5 "$upstream/v2/"; }
serve() {
    # With us: what is left behind would keep the port, and would never look for UPSTREAM again.
    setpriv --pdeathsig KILL docker-registry serve "$1" &
    server=$!
}
trap 'kill "$server"; wait; exit 0' TERM INT

while :; do
    if is_there; then
        serve "$proxy"
        wait "$server"
    else
        echo "$upstream cannot be reached: only what was fetched before is served" >&2
        serve "$kept"
        until is_there || ! kill -0 "$server"; do
            sleep 3 &
            wait "$!"
        done
        kill "$server"
        wait "$server"
    fi
    sleep 1
done
