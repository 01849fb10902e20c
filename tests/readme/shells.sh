# shellcheck shell=bash # sourced by walk into the machine's shells
# The machines of the walk before its first page, and acts that the pages' text asks for between the blocks.

wait_for() { # wait_for COMMAND...
    for _ in $(seq 600); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "waited in vain: $*"
    return 1
}
booted() { case $(systemctl is-system-running) in running | degraded) ;; *) false ;; esac; }
wait_for_boot() { wait_for booted; }

make_machine() { # make_machine enterprise|puppet8 SERVICE
    useradd --system client
    install -d -o client -g client /srv/client
    install -m 0755 conf/examples/espm-client tests/readme/shells.sh /srv/client
    case $1 in
        enterprise) make_enterprise ;;
        puppet8) make_puppet8 ;;
    esac
    # A master has its web server already.
    rm -f /etc/nginx/sites-enabled/* /etc/apache2/sites-enabled/*
    systemctl start "$2"
}

# Puppet Enterprise's programs where it has them, with stand-ins behind them.
make_enterprise() {
    local base=/opt/puppet/share
    useradd --system puppet-dashboard
    useradd --system pe-puppet
    install -d /opt/puppet/bin "$base" /etc/puppetlabs/puppet
    cp -r tests/console "$base/puppet-dashboard"
    cp -r tests/authority tests/doubles "$base"
    "$base/puppet-dashboard/seed" "$base/data" 1.2.8
    printf '#!/bin/sh\nexec /usr/bin/rake CONSOLE=%s "$@"\n' "$base/data" >/opt/puppet/bin/rake
    printf '#!/bin/sh\nexec %s --root /etc/puppetlabs/puppet --flavour 3.8 "$@"\n' "$base/authority/puppet" >/opt/puppet/bin/puppet
    chmod 0755 /opt/puppet/bin/rake /opt/puppet/bin/puppet
    /opt/puppet/bin/puppet setup puppet.example.com
    printf '[main]\ncertname = puppet.example.com\n' >/etc/puppetlabs/puppet/puppet.conf
    ln -s ../ca /etc/puppetlabs/puppet/ssl/ca
    chown -R puppet-dashboard: "$base/data"
    chown -R pe-puppet: /etc/puppetlabs
    chmod -R go+rX "$base"
}

# Puppet 8's programs where its packages have them, with a stand-in behind them.
make_puppet8() {
    local base=/opt/puppetlabs/share etc=/etc/puppetlabs/puppet
    getent passwd puppet >/dev/null || useradd --system puppet
    install -d /opt/puppetlabs/bin "$base" "$etc"
    cp -r tests/authority tests/doubles "$base"
    "$base/authority/puppet" --root "$etc" setup --intermediate
    cat >/opt/puppetlabs/bin/puppet <<PUPPET
#!/bin/bash
# "puppet config", of which espm and an administrator use two words.
if [ "\$1" = --version ]; then
    echo 8.10.0
elif [ "\$*" = "config set --section server \$5 \$6" ]; then
    . /root/espm/tests/readme/shells.sh
    printf '[server]\n%s = %s\n' "\$5" "\$6" | put_into $etc/puppet.conf
else
    printf '%s\n' 'ssldir = $etc/ssl' 'cadir = $etc/ca' 'certname = master.example.com' 'user = puppet' 'config = $etc/puppet.conf' 'ca_port = 8140'
    grep -hE '^(node_terminus|external_nodes) = ' $etc/puppet.conf || true
fi
PUPPET
    # Its packages put it on everybody's path, and have a service.
    ln -s /opt/puppetlabs/bin/puppet /usr/local/bin/puppet
    printf '[Service]\nUser=puppet\nExecStart=%s %s 8140\n' "$base/authority/api_server" "$etc" \
        >/etc/systemd/system/puppetserver.service
    systemctl daemon-reload
    printf '#!/bin/sh\nexec %s --root %s "$@"\n' "$base/authority/puppet" "$etc" >/opt/puppetlabs/bin/puppetserver
    chmod 0755 /opt/puppetlabs/bin/*
    chown -R puppet: /etc/puppetlabs
    chmod -R go+rX "$base"
}

# Makes an INI file, or puts lines into one: after the section that they begin with, if it is there.
put_into() { # put_into FILE, the lines on standard input
    local lines section
    lines=$(cat)
    section=$(head -n 1 <<<"$lines")
    if [ ! -e "$1" ]; then
        printf '%s\n' "$lines" >"$1"
        chmod 0644 "$1"
    elif grep -Fxq "$section" "$1"; then
        tail -n +2 <<<"$lines" >/tmp/lines
        sed -i "/^${section//[/\\[}\$/r /tmp/lines" "$1"
    else
        printf '%s\n' "$lines" >>"$1"
    fi
}

# Types the lines that espm-setup printed into /tmp/printed under a heading.
type_lines() { # type_lines HEADING
    awk -v heading="$1" '$0 == heading { on = 1; next } on && /^[^ ]/ { exit } on && NF { print }' /tmp/printed >/tmp/lines
    [ -s /tmp/lines ] || { echo "nothing is printed under: $1"; return 1; }
    sed 's/^    //' /tmp/lines
    bash -eu /tmp/lines
}

# A web server that was reloaded or restarted is not there yet when that returns; a reader types more slowly.
serves() { [ "$(curl -sk -o /dev/null -w '%{http_code}' https://localhost:8443/v1/health)" = 200 ]; }
wait_for_web() { wait_for serves; }

# What a machine with runit has running, and what it does with a gate that dies or is stopped.
run_runit() {
    mkdir -p /etc/service
    setsid runsvdir -P /etc/service >/dev/null 2>&1 </dev/null &
}
answers() { curl -sf --unix-socket /run/espm/espm.sock http://localhost/ || [ $? -ne 7 ]; }
wait_for_socket() { wait_for answers; }
gate() { pgrep -x -u espm espm; }
another_gate() { gate | grep -vx "$1"; }
end_gate() {
    local before
    before=$(gate)
    kill -9 "$before"
    wait_for another_gate "$before"
    wait_for_socket
}
stop_gate() {
    sv -w 330 stop espm
    ! gate
}

# "Copy the certificate to the client": walk has written what espm-setup printed.
get_certificate() { openssl verify -CAfile espm.pem espm.pem; }

# The client has both certificates while the web server changes from one to the other.
take_both() { cp /etc/espm/certs/espm.pem.both /srv/client/espm.pem; }
warm() { espm check | grep -q '^ok *console worker: '; }
wait_for_worker() { wait_for warm; }
# As README's block does it, which has set these variables.
# shellcheck disable=SC2154
add_web02() { ask -H "$json" -d '{"name": "web02.example.com", "groups": ["web servers"]}' "$url/v1/nodes"; }
# The unit that watches the catalogue publishes each edit, however it is saved, and many in a row.
has_role() { grep -Eq "\"role\": \"?$1\"?\$" /var/lib/espm/nodes/web02.example.com.yaml; }
follow_catalogue() {
    local catalogue=/etc/espm/catalogue.ini number
    wait_for has_role web
    for number in $(seq 12); do
        sed "s/^parameter role = .*/parameter role = edit$number/" "$catalogue" >/tmp/catalogue
        # Written anew in its place, or another file in its place.
        if ((number % 2)); then cat /tmp/catalogue >"$catalogue"; else install -m 0644 /tmp/catalogue "$catalogue.new" && mv "$catalogue.new" "$catalogue"; fi
        wait_for has_role "edit$number"
    done
    systemctl is-active espm-publish.path
    # A faulty catalogue changes nothing, and its correction is followed.
    echo 'names = ' >>"$catalogue"
    wait_for systemctl is-failed espm-publish.service
    has_role edit12
    sed 's/edit12/corrected/' /tmp/catalogue >"$catalogue"
    wait_for has_role corrected
}
# The packages of NRPE and of node exporter make these.
watch() {
    useradd --system nagios
    install -d /etc/nagios/nrpe.d /var/lib/prometheus/node-exporter
}
run_by_nrpe() {
    local command
    command=$(sed -n 's/^command\[check_espm\]=//p' /etc/nagios/nrpe.d/espm.cfg)
    setpriv --reuid=nagios --regid=nagios --clear-groups env -i sh -c "$command"
}
take_facts_back() { sed -i '/^extensions = /d' /etc/espm/espm.ini; }
no_nodes() { [ -z "$(espm nodes)" ]; }
# The package has left, with all that it made.
left() {
    local here
    here=$(getent passwd espm || true; find /etc /usr /var/lib /var/log -xdev -path /var/lib/dpkg -prune -o -name "*espm*" -print)
    [ -z "$here" ] || { echo "these are left: $here"; return 1; }
}

# What the pages show the traces of: two nodes, made by the client of conf/examples, and somebody who guesses.
meanwhile() {
    local name
    for name in db01 web02; do
        /srv/client/espm-client launch "$name.example.com"
    done
    curl -sS -o /dev/null --cacert espm.pem -H 'X-ESPM-PSK: guess' "$ESPM_URL/v1/classes"
}
