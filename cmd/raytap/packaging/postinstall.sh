#!/bin/sh
# The user, and a restart if the sensor was running. It is not started by itself: it needs to be told an interface.
set -e
if [ "$1" != configure ]; then
	exit 0
fi
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers raytap.conf
elif ! getent passwd raytap >/dev/null; then
	adduser --system --group --no-create-home --home /var/lib/raytap raytap
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart raytap.service
fi
if [ -z "$2" ]; then
	echo "raytap: name an interface in /etc/raytap/raytap.yaml, then: systemctl enable --now raytap"
fi
