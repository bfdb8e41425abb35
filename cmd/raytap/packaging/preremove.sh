#!/bin/sh
# dpkg says "remove", rpm how many versions stay.
set -e
if [ "$1" = remove ] || [ "$1" = 0 ]; then
	if [ -d /run/systemd/system ]; then
		systemctl disable --now raytap.service
	fi
fi
