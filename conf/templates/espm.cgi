#!/bin/sh
# espm as a CGI program, for Apache's mod_cgid: becomes the user {{user}}, so that the web server's user
# can read neither espm's configuration nor its ledger.
#
# No argument is passed on: Apache makes arguments of a query string without "=". No variable is named
# here either: a value in an argv is seen by every user, and sudo logs it. Those that pass, unset ones
# staying unset, are in the env_keep of /etc/sudoers.d/espm.
{{cgi_second}}exec {{sudo}} -n -u {{user}} -- {{cgi_program}}
