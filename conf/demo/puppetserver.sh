# shellcheck shell=bash disable=SC2034,SC2154 # sourced by run, which uses and sets what is not used or set here
# A master of today: a real Puppet server with its CA, in directories of its own, and no console.

user=puppet
packages=(puppet-agent puppetserver ruby-puppetserver-ca-cli)
foreign=legacy.example.com
server_port=18140

make_master() {
    puppet=$dir/puppet cadir=$dir/puppet/ca
    local modules=$puppet/code/environments/production/modules
    install -d "$puppet"/{conf,var,run,log} "$modules"/{marker,typed}/manifests
    cp -r /etc/puppet/puppetserver/{conf.d,services.d,logback.xml,request-logging.xml} "$puppet"
    sed -i "s|/etc/puppet/code|$puppet/code|; s|server-conf-dir:.*|server-conf-dir: $puppet/conf|
            s|/var/lib/puppetserver|$puppet/var|; s|/run/puppetserver|$puppet/run|; s|/var/log/puppetserver|$puppet/log|" \
        "$puppet"/conf.d/puppetserver.conf "$puppet"/*.xml
    sed -i "s|/etc/puppet/puppetserver/|$puppet/|; s|8140|$server_port|" "$puppet"/conf.d/{global,webserver}.conf
    cat >"$puppet/conf/puppet.conf" <<END
[main]
server = localhost
certname = localhost
serverport = $server_port
confdir = $puppet/conf
codedir = $puppet/code
vardir = $puppet/var
rundir = $puppet/run
logdir = $puppet/log
ssldir = $puppet/ssl
cadir = $cadir

[server]
node_terminus = exec
external_nodes = $dir/bin/espm-enc -c $dir/etc/enc.ini
END
    cat >"$modules/marker/manifests/init.pp" <<'END'
# Writes the node's name and a parameter of its classification where the agent says, and its trusted facts beside.
class marker {
  file { $facts['marker_path']:
    ensure  => file,
    content => "${trusted['certname']} ${role}\n",
  }
  $lines = $trusted['extensions'].map |$name, $value| { "${name}: ${value}\n" }
  file { "${facts['marker_path']}.trusted":
    ensure  => file,
    content => $lines.join,
  }
}
END
    cat >"$modules/typed/manifests/init.pp" <<'END'
# Writes its parameters, two of the node's, and the environment where the agent says, each with its type.
class typed (Array $list, Hash $hash, Integer $count, Boolean $on, String $text) {
  $all = { 'list' => $list, 'hash' => $hash, 'count' => $count, 'on' => $on, 'text' => $text,
    'ports' => $ports, 'ratio' => $ratio, 'environment' => $environment }
  $lines = $all.map |$name, $value| { "${name}: ${type($value, 'generalized')} ${String($value, '%p')}\n" }
  file { "${facts['marker_path']}.typed":
    ensure  => file,
    content => $lines.reduce |$before, $line| { "${before}${line}" },
  }
}
END
    cp -r "$puppet/code/environments/production" "$puppet/code/environments/staging"
    cat >"$dir/legacy" <<'END'
#!/bin/sh
# The classifier that the shop had before.
echo "$1" >>"$(dirname "$0")/puppet/log/legacy"
[ "$1" = legacy.example.com ] && printf -- '---\nclasses:\n  marker: {}\nparameters:\n  role: by-hand\n' ||
    printf -- '---\nclasses: {}\n'
END
    chmod 0755 "$dir/legacy"
    install -d -o "$user" -g "$user" -m 0750 "$dir/nodes"
    cat >"$dir/etc/enc.ini" <<END
[enc]
published = $dir/nodes
fallback = $dir/legacy
END
    cat >"$dir/etc/catalogue.ini" <<'END'
[environments]
names = production, staging

[classes]
names = marker

[class typed]
parameters = list, hash, text
parameter count = 1
parameter on = false

[group web servers]
classes = marker
parameter role = web

[group typed]
environment = staging
classes = typed
parameter ports = [80, 443]

[group typed, class typed]
parameter on = true
END
    chown -R "$user:$user" "$puppet"
    say "puppetserver ca setup"
    puppetserver ca setup --config "$puppet/conf/puppet.conf" --subject-alt-names localhost
    chown -R "$user:$user" "$puppet"
    say "Starting the Puppet server; this takes a minute or two"
    background puppetserver setpriv --reuid "$user" --regid "$user" --init-groups -- \
        sh -c 'umask 027; cd /usr/share/puppetserver; exec "$@"' sh /usr/bin/java -Xms256m -Xmx512m \
        -Djruby.logger.class=com.puppetlabs.jruby_utils.jruby.Slf4jLogger -Dlogappender=STDOUT \
        -Djruby.lib=/usr/share/jruby/lib -jar /usr/share/puppetserver/puppetserver.jar \
        --config "$puppet/conf.d" --bootstrap-config "$puppet/services.d"
    setup=(
        --detect /usr/bin/puppet --console-kind enc --master localhost
        --catalogue "$dir/etc/catalogue.ini" --published "$dir/nodes"
        --authority-config "$puppet/conf/puppet.conf" --authority-address "127.0.0.1:$server_port" --ssldir "$puppet/ssl" --cadir "$cadir"
    )
}

ready() { [ "$(curl -sk -m 2 "https://localhost:$server_port/status/v1/simple/ca")" = running ]; }

# Runs the real agent once, from a directory with nothing but what espm or the CA handed out.
agent() { # agent WANTED_EXIT NAME
    say "puppet agent --test as $2"
    local code=0
    FACTER_marker_path=$dir/agent-$2/marker puppet agent --test --server localhost --serverport $server_port \
        --certname "$2" --confdir "$dir/agent-$2/conf" --ssldir "$dir/agent-$2/ssl" --vardir "$dir/agent-$2/var" \
        --rundir "$dir/agent-$2/run" --logdir "$dir/agent-$2/log" --color=false --waitforcert 0 2>"$dir/agent.err" || code=$?
    grep -v /proc/1/environ "$dir/agent.err" || true
    [ $code -eq "$1" ] || fail "want exit code $1, got $code"
}
install_agent() { # install_agent NAME KEY CERTIFICATE CA
    install -d "$dir/agent-$1/conf" "$dir/agent-$1"/ssl/{private_keys,certs}
    install -m 0600 "$2" "$dir/agent-$1/ssl/private_keys/$1.pem"
    install -m 0644 "$3" "$dir/agent-$1/ssl/certs/$1.pem"
    install -m 0644 "$4" "$dir/agent-$1/ssl/certs/ca.pem"
}
marked() { # marked NAME CONTENT
    [ "$(cat "$dir/agent-$1/marker")" = "$2" ] || fail "the marker says $(cat "$dir/agent-$1/marker"), want $2"
    echo "The marker says: $2"
}

# Asks for values of every type, and looks at what the agent's catalogue has of them.
typed_values() {
    local typed='"class_parameters": {"typed": {"list": ["1", 1, 1.5, null, []], "hash": {"a": {"b": true}}, "text": "one\ntwo: \u00fc\ud83d\ude00\n"}}'
    say "Values of every type, an environment, and parameters of classes"
    ask 200 PATCH "/v1/nodes/$node" '{"groups": ["web servers", "typed"], "parameters": {"ratio": 1e-7}, '"$typed"'}'
    agent 2 "$node"
    diff - "$dir/agent-$node/marker.typed" <<'END' || fail "the agent got other values or types"
list: Array[Data] ['1', 1, 1.5, undef, []]
hash: Hash[String, Hash[String, Boolean]] {'a' => {'b' => true}}
count: Integer 1
on: Boolean true
text: String "one\ntwo: ü😀\n"
ports: Array[Integer] [80, 443]
ratio: Float 1.0e-07
environment: String 'staging'
END
    sed -i 's/^parameter count = 1$/parameter count = 2/' "$dir/etc/catalogue.ini"
    "$dir/bin/espm" -c "$dir/etc/espm.ini" publish
    agent 2 "$node"
    grep -qx 'count: Integer 2' "$dir/agent-$node/marker.typed" || fail "the changed catalogue did not reach the agent"
    ask 200 PATCH "/v1/nodes/$node" '{"environment": "production"}'
    agent 2 "$node"
    grep -qx "environment: String 'production'" "$dir/agent-$node/marker.typed" || fail "the node's environment counts less"
    ask 200 PATCH "/v1/nodes/$node" '{"groups": ["web servers"], "environment": null}'
}

# Asks for trusted facts, and looks at what the manifest has of them.
trusted_facts() {
    local own=1.3.6.1.4.1.34380.1.2.1 fact
    local facts='{"extensions": {"pp_role": "web \"\u00fc\"", "'$own'": "yes"}}'
    say "Trusted facts, once the operator allows them"
    ask 403 POST "/v1/nodes/$node/certificate" "$facts"
    sed -i "/^\[client cloud\]/a extensions = pp_role=web*, $own=*" "$dir/etc/espm.ini"
    ask 201 POST "/v1/nodes/$node/certificate" "$facts"
    keep_certificate "$dir"
    rm -r "$dir/agent-$node"
    install_agent "$node" "$dir/private_key.pem" "$dir/certificate.pem" "$dir/ca_certificate.pem"
    rm "$dir/private_key.pem"
    agent 2 "$node"
    for fact in 'pp_role: web "ü"' "$own: yes"; do
        grep -Fx "$fact" "$dir/agent-$node/marker.trusted" || fail "\$trusted has other facts: $(cat "$dir/agent-$node/marker.trusted")"
    done
    ask 200 POST "/v1/nodes/$node/certificate" "$facts"
    ask 409 POST "/v1/nodes/$node/certificate"
}

walk() {
    say "The certificate command while the Puppet server is still starting"
    ask 201 POST /v1/nodes '{"name": "'"$node"'", "groups": ["web servers"]}'
    # A fast machine may be ready by now.
    ready || ask 502 POST "/v1/nodes/$node/certificate"
    for _ in $(seq 900); do
        ! ready || break
        sleep 1
    done
    ready || fail "the Puppet server did not start"
    ask 200 GET /v1/classes
    classes=$(answer '.classes[]')
    ask 200 GET /v1/groups
    groups=$(answer '.groups[]')

    say "A node that was there before, with the shop's own classifier"
    setpriv --reuid "$user" --regid "$user" --init-groups -- \
        puppetserver ca generate --config "$puppet/conf/puppet.conf" --certname $foreign
    install_agent $foreign "$puppet/ssl/private_keys/$foreign.pem" "$puppet/ssl/certs/$foreign.pem" "$cadir/ca_crt.pem"
    agent 2 $foreign
    marked $foreign "$foreign by-hand"
    ask 409 POST /v1/nodes '{"name": "'"$foreign"'"}'
    ask 404 DELETE "/v1/nodes/$foreign/certificate"

    ask 201 POST "/v1/nodes/$node/certificate"
    keep_certificate "$dir"
    verify_certificate "$dir"
    install_agent "$node" "$dir/private_key.pem" "$dir/certificate.pem" "$dir/ca_certificate.pem"
    rm "$dir/private_key.pem"
    agent 2 "$node"
    marked "$node" "$node web"
    ask 200 PATCH "/v1/nodes/$node" '{"groups": [], "classes": ["marker"], "parameters": {"role": "database"}}'
    agent 2 "$node"
    marked "$node" "$node database"
    typed_values
    ask 204 DELETE "/v1/nodes/$node"
    check_revoked
    agent 1 "$node"
    say "The name can be used again, and the other node is as it was"
    ask 201 POST /v1/nodes '{"name": "'"$node"'", "classes": ["marker"], "parameters": {"role": "again"}}'
    trusted_facts
    ask 204 DELETE "/v1/nodes/$node"
    agent 0 $foreign
}
