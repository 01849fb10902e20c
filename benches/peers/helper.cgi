#!/bin/sh
# A CGI program as a shop would write it: checks the key, runs the command.
# KEY, COMMAND and SLOW_COMMAND come from the web server's configuration.
if [ "$SCRIPT_NAME" = /health ]; then
    printf 'Content-Type: application/json\r\n\r\n{"status": "ok"}'
elif [ "$HTTP_X_ESPM_PSK" != "$KEY" ]; then
    printf 'Status: 401\r\nContent-Type: text/plain\r\n\r\nno\n'
else
    printf 'Content-Type: text/plain\r\n\r\n'
    [ "$SCRIPT_NAME" != /slow ] || exec "$SLOW_COMMAND"
    exec "$COMMAND"
fi
