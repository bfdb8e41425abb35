# The changelog of packages, in nfpm's form, of CHANGELOG.md: awk -v version=V -v date=D -v packager=P -f changelog.awk CHANGELOG.md
#
# The first entry is of the package itself. Between releases it has what was changed since the release that its version
# begins with; entries of that release and of earlier ones follow.
function entry(v, d) {
	printf "- semver: \"%s-1\"\n  date: %s\n  packager: %s\n", v, d, packager
	print "  deb: {urgency: medium, distributions: [unstable]}\n  changes:"
	notes = 0
}
# flush writes a note in lines that Debian takes.
function flush(  n, words, i, line) {
	if (note == "") return
	gsub(/`/, "", note)
	n = split(note, words, " ")
	line = words[1]
	print "    - note: |-"
	for (i = 2; i <= n; i++) {
		if (length(line) + length(words[i]) > 72) {
			print "        " line
			line = "    " words[i] # what a continuation begins with in a Debian changelog
		} else {
			line = line " " words[i]
		}
	}
	print "        " line
	notes++
	note = ""
}
function end() {
	flush()
	if (begun && !notes) print "    - note: Built between releases."
}
BEGIN {
	base = version
	sub(/[+~].*/, "", base)
}
/^## \[/ {
	v = $2
	gsub(/[][]/, "", v)
	if (!begun) {
		entry(version, date)
	} else if (v == base && version != base || passed) {
		end()
		entry(v, $4 "T00:00:00Z")
	}
	begun = 1
	if (v == base) passed = 1
	next
}
!begun { next }
/^- / { flush(); note = substr($0, 3); next }
/^  / && note != "" { note = note " " substr($0, 3); next }
/^$/ || /^###/ { flush(); next }
{ note = note (note == "" ? "" : " ") $0 }
END { end() }
