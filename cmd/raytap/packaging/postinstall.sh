#!/bin/sh
# The user, and a restart if the sensor was running. It is not started by itself: it needs to be told an interface.
# dpkg says "configure" and the version that was there before, rpm how many versions are there now.
set -e
case "$1" in
configure) first=$([ -n "$2" ] || echo yes) ;;
1) first=yes ;;
2) first= ;;
*) exit 0 ;;
esac
if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers raytap.conf
elif ! getent passwd raytap >/dev/null; then
	if command -v adduser >/dev/null && [ "$1" = configure ]; then
		adduser --system --group --no-create-home --home /var/lib/raytap raytap
	else
		useradd --system --user-group --no-create-home --home-dir /var/lib/raytap --shell /sbin/nologin raytap
	fi
fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart raytap.service
fi
if [ -n "$first" ]; then
	echo "raytap: name an interface in /etc/raytap/raytap.yaml, then: systemctl enable --now raytap"
fi
