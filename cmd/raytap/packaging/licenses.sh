#!/bin/sh
# Prints the licences of the Go modules that the programs have in them, and of Go itself. It fails if one has none.
set -e
list=$(mktemp)
trap 'rm -f "$list"' EXIT
GO=${GO:-go}
GOOS=linux $GO list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/raytap ./cmd/raytap-hub | sort -u > "$list"
echo "Go $($GO env GOVERSION) $($GO env GOROOT)" >> "$list"
while read -r path version dir; do
	found=
	for f in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/License* "$dir"/COPYING* "$dir"/NOTICE* "$dir"/PATENTS; do
		[ -f "$f" ] || continue
		found=yes
		echo "==== $path $version: $(basename "$f")"
		echo
		cat "$f"
		echo
	done
	if [ -z "$found" ]; then
		echo "licenses: $path $version has none" >&2
		exit 1
	fi
done < "$list"
