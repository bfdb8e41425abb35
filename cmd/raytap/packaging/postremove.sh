#!/bin/sh
# What findings wait for a webhook goes with a purge; logs are evidence and stay.
set -e
if [ "$1" = purge ]; then
	rm -rf /var/lib/raytap
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
