# shellcheck shell=bash disable=SC2034,SC2154 # sourced by run, which uses and sets what is not used or set here
# A master of Puppet Enterprise's time: a console that real rake runs, and puppet cert.

user=www-data
packages=(rake ruby ruby-sqlite3 sqlite3)
foreign=foreign.example.com

make_master() {
    cp -r "$repository"/tests/console "$repository"/tests/authority "$repository"/tests/doubles "$dir"
    mv "$dir/console" "$dir/rake"
    chmod -R go+rX "$dir/rake" "$dir/authority" "$dir/doubles"
    "$dir/rake/seed" "$dir/console"
    "$dir/authority/puppet" --root "$dir/ca" setup
    chown -R "$user:$user" "$dir/console" "$dir/ca"
    cadir=$dir/ca/ca
    setup=(
        --master master.example.com
        --console-command "/usr/bin/rake -f $dir/rake/Rakefile RAILS_ENV=production CONSOLE=$dir/console"
        --console-directory "$dir/console" --console-release 1.2.7
        --authority-command "$dir/authority/puppet --root $dir/ca cert --confdir $dir/ca --vardir $dir/ca --codedir $dir/ca --logdir $dir/ca --rundir $dir/ca"
        --ssldir "$dir/ca/ssl" --cadir "$cadir"
    )
}

in_console() { "$dir/rake/show" "$dir/console" | jq -cS "$1"; }

walk() {
    before=$(in_console .)
    ask 200 GET /v1/classes
    classes=$(answer '.classes[]')
    ask 200 GET /v1/groups
    groups=$(answer '.groups[]')
    ask 201 POST /v1/nodes \
        '{"name": "'"$node"'", "groups": ["web servers"], "classes": ["apache"], "parameters": {"role": "web"}}'
    [ "$(in_console ".nodes[\"$node\"]")" = \
        '{"classes":["apache"],"groups":["web servers"],"parameters":[["role","web"]]}' ] ||
        fail "the node is not in the console as asked"
    ask 201 POST "/v1/nodes/$node/certificate"
    keep_certificate "$dir"
    verify_certificate "$dir"
    say "A node that the console had before is not there for espm"
    ask 404 GET "/v1/nodes/$foreign"
    ask 404 DELETE "/v1/nodes/$foreign"
    ask 404 POST "/v1/nodes/$foreign/certificate"
    ask 409 POST /v1/nodes '{"name": "'"$foreign"'"}'
    ask 200 PATCH "/v1/nodes/$node" '{"groups": ["databases"], "parameters": {"role": null, "tier": "gold"}}'
    ask 204 DELETE "/v1/nodes/$node/certificate"
    check_revoked
    ask 204 DELETE "/v1/nodes/$node"
    ask 404 GET "/v1/nodes/$node"
    [ "$before" = "$(in_console .)" ] || fail "the console is not as it was before"
    rm "$dir/private_key.pem"
}
