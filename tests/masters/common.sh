# shellcheck shell=bash disable=SC2154 # sourced by the scripts beside it, which set what is not set here
# Steps on a real master, in a booted root. The script says where its CA and its code are, in cadir and code, and which
# service it is, in service. Its function human has the CA make another's certificate, whose serial number it prints.

# shellcheck source=tests/readme/shells.sh
. tests/readme/shells.sh

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }
is() { [ "$1" = "$2" ] || fail "want $2, found $1"; }

# Here services may be started, unlike where the root was made.
rm -f /usr/sbin/policy-rc.d
wait_for_boot

url=https://puppet.example.com:8443
ask() { # ask STATUS METHOD PATH [BODY]: the answer is in /tmp/answer
    local status body=()
    [ $# -lt 4 ] || body=(-H 'Content-Type: application/json' --data-binary "$4")
    status=$(printf 'header = "X-ESPM-PSK: %s"\n' "$psk" |
        curl -sS -K - --cacert /etc/espm/certs/espm.pem -X "$2" -o /tmp/answer -w '%{http_code}' "${body[@]}" "$url$3")
    printf '%s %s: %s %.160s\n' "$2" "$3" "$status" "$(tr -d '\n' </tmp/answer 2>/dev/null || true)"
    is "$status" "$1"
}

# Adds a node and has its certificate made.
launch() { # launch NAME
    ask 201 POST /v1/nodes "{\"name\": \"$1\", \"groups\": [\"web servers\"]}"
    certify "$1"
}
# Has its certificate made; the three files are /root/NAME.{pem,key,ca}. Asked again, espm gives the same.
certify() { # certify NAME
    ask 201 POST "/v1/nodes/$1/certificate"
    jq -r .certificate /tmp/answer >"/root/$1.pem"
    jq -r .private_key /tmp/answer >"/root/$1.key"
    jq -r .ca_certificate /tmp/answer >"/root/$1.ca"
    ask 200 POST "/v1/nodes/$1/certificate"
    is "$(jq -r .certificate,.private_key,.ca_certificate /tmp/answer)" "$(cat "/root/$1.pem" "/root/$1.key" "/root/$1.ca")"
}
serial() { openssl x509 -in "$1" -noout -serial | cut -d = -f 2; }
is_revoked() { openssl crl -in "$cadir/ca_crl.pem" -noout -text | grep -Eq "Serial Number: 0*${1#0}\$"; }
revoked() { is_revoked "$1" || fail "serial $1 is not revoked"; echo "Serial $1 is revoked"; }
valid() { ! is_revoked "$1" || fail "serial $1 is revoked"; echo "Serial $1 is valid"; }
master_is_valid() { valid "$(serial "$cadir/signed/puppet.example.com.pem")"; }
# In the audit, of a node.
noted() { # noted NOTE NAME
    local record="journalctl -q -o cat -t espm | grep 'node=$2 ' | grep -q 'note=$1'"
    wait_for sh -c "$record" || fail "the audit has no note=$1 of $2"
    echo "The audit of $2 has note=$1"
}

# A directory for an agent, with what espm handed out and nothing else.
install_agent() { # install_agent NAME
    rm -rf "/srv/agent-$1"
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
class_applied() { grep -q 'class apache, role web' /tmp/agent || fail "the class was not applied: $(cat /tmp/agent)"; }

# The service, on a machine that may be busy.
listens() { curl -sk -o /dev/null https://puppet.example.com:8140/; }
start_puppet() {
    install -d "/etc/systemd/system/$service.service.d"
    printf '[Service]\nTimeoutStartSec=900\n' >"/etc/systemd/system/$service.service.d/patience.conf"
    systemctl daemon-reload
    systemctl restart "$service"
    wait_for_puppet
}
wait_for_puppet() { wait_for listens || wait_for listens || fail "$service does not listen: $(journalctl -q -n 20 -u "$service")"; }
stop_puppet() { systemctl stop "$service"; }

# The master has facts of its own, which are in each certificate that a human has made, and a class.
furnish() {
    printf 'extension_requests:\n  pp_role: puppet/server\n' >/etc/puppet/csr_attributes.yaml
    install -d "$code/environments/production/modules/apache/manifests"
    cat >"$code/environments/production/modules/apache/manifests/init.pp" <<'MODULE'
# Stands for a shop's class.
class apache {
  notify { "class apache, role ${role}": }
}
MODULE
}
facts() { openssl x509 -in "$1" -noout -text | grep -c 1.3.6.1.4.1.34380; }

# The quick start of docs/install.md, with the lines that set-up prints.
quick_start() {
    say "The quick start"
    local heading
    dpkg -i /root/espm.deb >/dev/null
    printf '[classes]\nnames = apache\n\n[group web servers]\nclasses = apache\nparameter role = web\n' >/etc/espm/catalogue.ini
    chmod 0644 /etc/espm/catalogue.ini
    install -d -o puppet -g puppet -m 0700 /var/lib/espm/authority
    espm-setup --detect >/tmp/printed
    psk=$(sed -n 3p /tmp/printed | tr -d ' ')
    rm -f /etc/nginx/sites-enabled/default
    systemctl start nginx
    for heading in 'Next, as root:' 'The gate, with systemd:' 'And one web server. nginx:'; do
        type_lines "$heading"
    done
    wait_for_puppet
    wait_for_web
    espm check
}

restored_ca() {
    say "A CA restored from a backup gives the same serial to another"
    local bystander other
    bystander=$(human bystander2.example.com)
    cp -a "$cadir" /root/ca-backup
    launch web02.example.com
    stop_puppet
    rm -rf "$cadir"
    cp -a /root/ca-backup "$cadir"
    start_puppet
    other=$(human other.example.com)
    is "$other" "$(serial /root/web02.example.com.pem)"
    ask 204 DELETE /v1/nodes/web02.example.com
    noted certificate-void web02.example.com
    valid "$other"
    valid "$bystander"
    master_is_valid
}
