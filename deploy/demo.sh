#!/bin/sh
# The whole way of a decision, unprivileged, on loopback, in a temporary directory that is removed at the end.
#   sh deploy/demo.sh                a small built-in list of reserved names and addresses
#   sh deploy/demo.sh --list FILE    a list of your own (.txt or .txt.gz)
#   sh deploy/demo.sh --keep         leave the directory for a closer look
set -eu
. "$(dirname -- "$0")/environment.sh"

list="$ROOT/deploy/demo/names.txt"
training=--training
keep=no
while [ $# -gt 0 ]; do
    case $1 in
    --list)
        [ $# -ge 2 ] || fail "--list needs a file" "sh deploy/demo.sh --list FILE"
        [ -r "$2" ] || fail "the list $2 cannot be read" "check the path"
        list=$(CDPATH= cd -- "$(dirname -- "$2")" && pwd)/$(basename -- "$2")
        training=""
        shift 2 ;;
    --keep) keep=yes; shift ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "«$1» is not known here" "sh deploy/demo.sh --help" ;;
    esac
done

environment runtime
umask 077
work=$(mktemp -d "${TMPDIR:-/tmp}/blocker-demo.XXXXXX")
pids=""
finish() {
    status=$?
    trap - EXIT INT TERM
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    for pid in $pids; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" -ne 0 ]; then
        say ""
        say "The demo stopped with exit code $status. What its servers said:" >&2
        tail -n 5 "$work"/*.log >&2 2>/dev/null || true
    fi
    if [ "$keep" = yes ]; then say "Everything is in $work"; else rm -rf "$work"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

step=0
title() { step=$((step + 1)); printf '\n[%s] %s\n' "$step" "$1"; }
run() { printf '$ blocker'; printf ' %s' "$@"; printf '\n'; blocker "$@"; }
value() { "$PY" -c 'import json, sys; d = json.load(sys.stdin)
for key in sys.argv[1].split("."): d = d[int(key)] if isinstance(d, list) else d[key]
print(d)' "$1"; }
free_ports() { "$PY" -c 'import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in held))' "$1"; }
fetch() { "$PY" -c 'import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())' "$1"; }
until_ready() { # until_ready WHAT COMMAND...: waits at most 30 seconds
    what=$1; shift
    n=0
    until "$@" >/dev/null 2>&1; do
        n=$((n + 1))
        [ "$n" -lt 150 ] || fail "$what did not come up within 30 seconds"
        sleep 0.2
    done
}

# Nothing of this demo may touch a real installation of this machine.
unset BLOCKER_REGISTER BLOCKER_OFFICER BLOCKER_KEY BLOCKER_STATE BLOCKER_FEED BLOCKER_FEED_KEYS 2>/dev/null || true
export BLOCKER_REGISTER="$work/register.db" BLOCKER_STATE="$work/isp"
# One passphrase for all keys, in a file that only this user can read. Officers type theirs.
"$PY" -c 'import secrets; print(secrets.token_urlsafe(24))' > "$work/passphrase"
pass="--passphrase-file $work/passphrase"
set -- $(free_ports 4)
feed_port=$1 upstream_port=$2 dns_port=$3 metrics_port=$4

say "A walk from a decision to a refused query, in $work"

title "The authority sets up its register: three root keys, two officers, an empty signed feed"
run register init $training --directory "$work/authority" --authority vn-demo --name "Cơ quan quản lý (diễn tập)" \
    --contact-email khieu-nai@authority.example --contact-url https://authority.example/khieu-nai \
    --officer an --officer-name "an=Nguyễn Văn An" --officer binh --officer-name "binh=Trần Thị Bình" $pass

title "Officer An records the decision that everything rests on"
run decision add --officer an --number "12/QĐ-STTTT" --agency "Sở Thông tin và Truyền thông" --date 24/11/2026 \
    --subject "Chặn các tên miền lừa đảo" --legal-basis "Luật An ninh mạng 2018, Điều 26" \
    --contact khieu-nai@authority.example \
    --sha256 "$("$PY" -c 'import hashlib; print(hashlib.sha256(b"the signed document").hexdigest())')"

title "Officer An proposes the list; the guard judges every line, and what it refuses stays out"
proposal=$(blocker proposal new --decision "12/QĐ-STTTT" --json 2>/dev/null | value proposal)
run proposal import "$list" --proposal "$proposal" --category gambling --reason "Trang cờ bạc trái phép" \
    --errors "$work/errors.csv" || [ $? -eq 6 ]
if [ -s "$work/errors.csv" ]; then
    say "The sheet comes back with its errors; corrected, it is imported again:"
    grep -m 4 ERRORS "$work/errors.csv" | cut -c 1-160
fi

title "What could hurt others needs a second look at each target; this demo leaves those out"
blocker proposal show "$proposal" --all --json > "$work/plan.json"
"$PY" - "$work/plan.json" > "$work/to-confirm" <<'END'
import json, sys
for item in json.load(open(sys.argv[1]))["confirm"]:
    print(item["target"])
END
say "$(wc -l < "$work/to-confirm") targets wait for a confirmation and are taken out of the draft."
if [ -s "$work/to-confirm" ]; then
    xargs blocker proposal drop --proposal "$proposal" < "$work/to-confirm" > /dev/null
fi
run proposal sign "$proposal" --yes --officer an --key "$work/authority/officer-keys/an.pem" $pass

title "Officer Bình reviews the plan and approves; nobody approves what they proposed"
run review show "$proposal" | head -n 40
run review approve "$proposal" --yes --officer an --key "$work/authority/officer-keys/an.pem" $pass ||
    say "(exit code $?: four eyes)"
run review approve "$proposal" --yes --officer binh --key "$work/authority/officer-keys/binh.pem" $pass

title "The register is published as a signed feed of static files, and a small web server carries it"
run publish --repository "$work/authority/feed" --keys "$work/authority/feed-keys"
blocker feed serve "$work/authority/feed" --listen "127.0.0.1:$feed_port" > "$work/serve.log" 2>&1 &
pids="$pids $!"
until_ready "the feed server" fetch "http://127.0.0.1:$feed_port/metadata/timestamp.json"

title "An ISP pulls and verifies it, knowing nothing but the root file it was handed"
run feed init --root "$work/authority/feed/root.json" $training "http://127.0.0.1:$feed_port/"
run feed pull
run feed status
run feed verify

title "The ISP's resolver refuses what is listed and answers everything else"
"$PY" "$ROOT/deploy/demo/upstream.py" 127.0.0.1 "$upstream_port" > "$work/upstream.log" 2>&1 &
pids="$pids $!"
blocker dns serve --state "$work/isp" --listen "127.0.0.1:$dns_port" --upstream "127.0.0.1:$upstream_port" \
    --metrics "127.0.0.1:$metrics_port" --user "$(id -un)" > "$work/dns.log" 2>&1 &
pids="$pids $!"
until_ready "the resolver" fetch "http://127.0.0.1:$metrics_port/metrics"
fetch "http://127.0.0.1:$metrics_port/metrics" > "$work/before"
refused=$(blocker feed render plain | grep -v '^#' | grep '[a-z]' | grep -v : | head -n 1)
run dns query "www.$refused" --server "127.0.0.1:$dns_port"
run dns query "an-innocent-name.example" --server "127.0.0.1:$dns_port"
run why "www.$refused"

title "The packet filter that would be applied (blocker ip plan | apply; needs root)"
blocker ip render nftables > "$work/filter.nft"
head -n 24 "$work/filter.nft"
say "... $(wc -l < "$work/filter.nft") lines in all"

title "The metrics that moved"
fetch "http://127.0.0.1:$metrics_port/metrics" > "$work/after"
diff "$work/before" "$work/after" | sed -n 's/^> \(blocker_dns_\(queries\|blocked\)_total.*\)/\1/p'
grep -E '^blocker_(dns_release_serial|feed_serial)' "$work/after" || true

title "Unblocking is as fast as blocking: An withdraws one entry, Bình approves, and the name is answered again"
entry=$(blocker entry list --search "$refused" --json | value 0.entry)
proposal=$(blocker proposal new --decision "12/QĐ-STTTT" --json 2>/dev/null | value proposal)
run proposal withdraw "$entry" --proposal "$proposal" --reason "Khiếu nại được chấp nhận"
run proposal sign "$proposal" --yes --officer an --key "$work/authority/officer-keys/an.pem" $pass
run review approve "$proposal" --yes --officer binh --key "$work/authority/officer-keys/binh.pem" $pass
run publish --repository "$work/authority/feed" --keys "$work/authority/feed-keys"
run feed pull
sleep 2
run dns query "$refused" --server "127.0.0.1:$dns_port"

say ""
say "Done: decided, checked, approved by two, published, verified, enforced, counted, and unblocked again."
