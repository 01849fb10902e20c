# shellcheck shell=bash disable=SC2154 # sourced by the scripts beside it, which set what is not set here
# Steps on a real master.

# shellcheck source=tests/readme/shells.sh
. tests/readme/shells.sh

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
is() { [ "$1" = "$2" ] || fail "want $2, found $1"; }

url=https://puppet.example.com:8443
ask() { # ask STATUS METHOD PATH [BODY]: the answer is in /tmp/answer
    local status body=()
    [ $# -lt 4 ] || body=(-H 'Content-Type: application/json' --data-binary "$4")
    status=$(printf 'header = "X-ESPM-PSK: %s"\n' "$psk" |
        curl -sS -K - --cacert /etc/espm/certs/espm.pem -X "$2" -o /tmp/answer -w '%{http_code}' "${body[@]}" "$url$3")
    printf '%s %s: %s %.160s\n' "$2" "$3" "$status" "$(tr -d '\n' </tmp/answer 2>/dev/null || true)"
    is "$status" "$1"
}

# Adds a node and has its certificate made; the three files are /root/NAME.{pem,key,ca}.
launch() { # launch NAME
    ask 201 POST /v1/nodes "{\"name\": \"$1\", \"groups\": [\"web servers\"]}"
    ask 201 POST "/v1/nodes/$1/certificate"
    jq -r .certificate /tmp/answer >"/root/$1.pem"
    jq -r .private_key /tmp/answer >"/root/$1.key"
    jq -r .ca_certificate /tmp/answer >"/root/$1.ca"
}
serial() { openssl x509 -in "$1" -noout -serial | cut -d = -f 2; }
is_revoked() { openssl crl -in "$cadir/ca_crl.pem" -noout -text | grep -Eq "Serial Number: 0*${1#0}\$"; }
revoked() { is_revoked "$1" || fail "serial $1 is not revoked"; echo "Serial $1 is revoked"; }
valid() { ! is_revoked "$1" || fail "serial $1 is revoked"; echo "Serial $1 is valid"; }

# A directory for an agent, with what espm handed out and nothing else.
install_agent() { # install_agent NAME
    install -d "/srv/agent-$1/conf" "/srv/agent-$1"/ssl/{private_keys,certs}
    install -m 0600 "/root/$1.key" "/srv/agent-$1/ssl/private_keys/$1.pem"
    install -m 0644 "/root/$1.pem" "/srv/agent-$1/ssl/certs/$1.pem"
    install -m 0644 "/root/$1.ca" "/srv/agent-$1/ssl/certs/ca.pem"
}
agent() { # agent WANTED_EXIT NAME [OPTION...]
    local code=0 wanted=$1 name=$2 directory=/srv/agent-$2
    shift 2
    puppet agent --test --server puppet.example.com --certname "$name" --confdir "$directory/conf" --ssldir "$directory/ssl" \
        --vardir "$directory/var" --rundir "$directory/run" --logdir "$directory/log" --color=false --waitforcert 0 \
        "$@" >/tmp/agent 2>&1 || code=$?
    [ "$code" = "$wanted" ] || { cat /tmp/agent; fail "puppet agent of $name: want exit code $wanted, got $code"; }
    printf 'puppet agent of %s exits with %s\n' "$name" "$code"
}

module() {
    install -d "$code/environments/production/modules/apache/manifests"
    cat >"$code/environments/production/modules/apache/manifests/init.pp" <<'END'
# Stands for a shop's class.
class apache {
  notify { "class apache, role ${role}": }
}
END
}

catalogue() {
    printf '[classes]\nnames = apache\n\n[group web servers]\nclasses = apache\nparameter role = web\n' >/etc/espm/catalogue.ini
    chmod 0644 /etc/espm/catalogue.ini
}
