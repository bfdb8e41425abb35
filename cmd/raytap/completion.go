package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

const completionSynopsis = `completion bash|zsh|fish

Prints a script that lets a shell complete commands, flags, names of logs and rules, severities, interfaces and files.
Packages install it. Without a package:

  bash  raytap completion bash > ~/.local/share/bash-completion/completions/raytap
  zsh   raytap completion zsh > "${fpath[1]}/_raytap"
  fish  raytap completion fish > ~/.config/fish/completions/raytap.fish

Exit status: 0 printed; 1 it could not be printed; 2 wrong usage.
`

func printCompletion(args []string, stdout, stderr *os.File) int {
	f := newFlags("completion", completionSynopsis)
	rest, err := f.parse(args)
	script := map[string]func([]usageOf) []byte{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
	switch {
	case err != nil:
	case len(rest) != 1:
		err = errors.New("takes one shell: bash, zsh or fish")
	case script[rest[0]] == nil:
		err = fmt.Errorf("%s is not one of the shells bash, zsh, fish", rest[0])
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	all, err := usages()
	if err == nil {
		all = append(all, usageOf{Name: "help", Says: "show the flags of a command", Lines: []string{"raytap help COMMAND"}})
		_, err = stdout.Write(script[rest[0]](all))
	}
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	return exitOK
}

// completes says what a value, or an argument, may be.
type completes struct {
	words  []string // one of these
	commas bool     // or several with commas
	files  bool     // or a file
	dirs   bool     // or a folder
	ifaces bool     // or an interface
}

// valuesOf tells it of a flag, by the name that help gives its value.
func valuesOf(f flagOfUsage) completes {
	switch {
	case f.Name == "logs" && f.Value != "DIR":
		return completes{words: zeek.Logs(), commas: true}
	case f.Name == "checksums":
		return completes{words: []string{"auto", "strict", "ignore"}}
	case f.Name == "rotate-compress":
		return completes{words: []string{"none", "gzip", "zstd"}}
	case f.Value == "SEVERITY", strings.HasSuffix(f.Name, "-severity") && f.Name != "rules-severity":
		return completes{words: severities()}
	case f.Name == "format":
		return completes{words: []string{"zeek", "json"}}
	case f.Value == "RULE", f.Name == "rules-off":
		return completes{words: ruleNames(), commas: f.Key}
	case f.Value == "IFACE", f.Name == "interfaces":
		return completes{ifaces: true}
	case f.Value == "DIR":
		return completes{dirs: true}
	case f.Value == "FILE", f.Value == "PIPE", f.Key && aPath.MatchString(f.Name):
		return completes{files: true}
	}
	return completes{}
}

// aPath matches the keys whose value is a file or folder.
var aPath = regexp.MustCompile(`^(out|intel|state|read-fifo)$|-(file|ca|cert|key|spool)$`)

// verb matches what is typed as it stands in a usage.
var verb = regexp.MustCompile(`^[a-z]+(\|[a-z]+)*$`)

// argumentsOf tells it of the arguments of a command, by its lines of usage.
func argumentsOf(u usageOf, all []usageOf) (c completes) {
	for _, line := range u.Lines {
		words := strings.Fields(line)[2:]
		if len(words) > 0 && verb.MatchString(words[0]) {
			for _, w := range strings.Split(words[0], "|") {
				if !slices.Contains(c.words, w) {
					c.words = append(c.words, w)
				}
			}
		}
		before := ""
		for _, w := range words {
			if strings.HasPrefix(strings.TrimLeft(before, "["), "-") && !strings.HasSuffix(before, "]") { // the value of a flag
				before = w
				continue
			}
			before = w
			switch w = strings.Trim(w, "[]."); {
			case strings.Contains(w, "FILE"):
				c.files = true
			case strings.HasSuffix(w, "DIR"):
				c.dirs = true
			case w == "RULE":
				c.words = append(c.words, ruleNames()...)
			case w == "COMMAND":
				for _, u := range all {
					c.words = append(c.words, u.Name)
				}
			}
		}
	}
	return c
}

func severities() (all []string) {
	for s := detectors.Info; s <= detectors.Critical; s++ {
		all = append(all, s.String())
	}
	return all
}

// ruleNames are those of all rules, and of the detectors that stand for all of theirs.
func ruleNames() (all []string) {
	for _, r := range registry.Rules() {
		name, _, _ := strings.Cut(r.Name, "/")
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
		all = append(all, r.Name)
	}
	slices.Sort(all)
	return all
}

// spec is the answer of the shell functions below: words, behind one of @files, @dirs, @ifaces, @commas.
func (c completes) spec() string {
	s := slices.Clone(c.words)
	for _, k := range [...]struct {
		is   bool
		mark string
	}{{c.commas, "@commas"}, {c.ifaces, "@ifaces"}, {c.dirs, "@dirs"}, {c.files, "@files"}} {
		if k.is {
			s = append([]string{k.mark}, s...)
		}
	}
	return strings.Join(s, " ")
}

// tables writes what both bash and zsh read: the flags of a command, what the value of a flag is, what its arguments are.
func tables(b *bytes.Buffer, all []usageOf) {
	b.WriteString("# The flags of a command.\n_raytap_flags() {\n\tcase $1 in\n")
	for _, u := range all {
		names := []string{"--help"}
		for _, f := range u.Flags {
			names = append(names, f.dashed())
		}
		fmt.Fprintf(b, "\t%s) echo '%s' ;;\n", u.Name, strings.Join(names, " "))
	}
	b.WriteString("\tesac\n}\n# What the value of a flag may be; nothing, and status 1, if it takes none.\n_raytap_value() {\n\tcase $1:$2 in\n")
	for _, u := range all {
		bySpec := map[string][]string{}
		var order []string
		for _, f := range u.Flags {
			if f.Value == "" {
				continue
			}
			s := valuesOf(f).spec()
			if bySpec[s] == nil {
				order = append(order, s)
			}
			bySpec[s] = append(bySpec[s], u.Name+":"+f.dashed())
			if len(f.Name) == 1 { // as --i is taken, too
				bySpec[s] = append(bySpec[s], u.Name+":-"+f.dashed())
			}
		}
		for _, s := range order {
			fmt.Fprintf(b, "\t%s) echo '%s' ;;\n", strings.Join(bySpec[s], "|"), s)
		}
	}
	b.WriteString("\t*) return 1 ;;\n\tesac\n}\n# What the arguments of a command may be.\n_raytap_arguments() {\n\tcase $1 in\n")
	for _, u := range all {
		fmt.Fprintf(b, "\t%s) echo '%s' ;;\n", u.Name, argumentsOf(u, all).spec())
	}
	b.WriteString("\tesac\n}\n")
}

func commandNames(all []usageOf) string {
	var names []string
	for _, u := range all {
		names = append(names, u.Name)
	}
	return strings.Join(names, " ")
}

const bashTail = `# Completes $1 as one of a list.
_raytap_offer() {
	local cur=$1 words= before= w
	shift
	for w in "$@"; do
		case $w in
		@files) compopt -o filenames 2>/dev/null; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$cur") ;;
		@dirs) compopt -o filenames 2>/dev/null; mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "$cur") ;;
		@ifaces) words+=" $(ls /sys/class/net 2>/dev/null | tr '\n' ' ')" ;;
		@commas)
			case $cur in
			*,*) before=${cur%,*}, ;;
			esac
			compopt -o nospace 2>/dev/null
			;;
		*) words+=" $w" ;;
		esac
	done
	mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$words" -P "$before" -- "${cur#"$before"}")
}
_raytap() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev= command= value i
	COMPREPLY=()
	((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD - 1]}
	# bash takes --flag=value apart.
	if [[ $cur == = ]]; then
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	if ((COMP_CWORD > 1)); then
		command=${COMP_WORDS[1]}
	fi
	if [[ -z $command ]]; then
		_raytap_offer "$cur" @COMMANDS@
	elif value=$(_raytap_value "$command" "$prev"); then
		_raytap_offer "$cur" $value
	elif [[ $cur == -* ]]; then
		_raytap_offer "$cur" $(_raytap_flags "$command")
	else
		_raytap_offer "$cur" $(_raytap_arguments "$command")
	fi
}
complete -F _raytap raytap
`

func bashCompletion(all []usageOf) []byte {
	var b bytes.Buffer
	b.WriteString("# bash completion for raytap, made by: raytap completion bash\n")
	tables(&b, all)
	b.WriteString(strings.ReplaceAll(bashTail, "@COMMANDS@", commandNames(all)))
	return b.Bytes()
}

const zshTail = `# Completes as one of a list.
_raytap_offer() {
	local w
	local -a list
	local commas=
	for w in "$@"; do
		case $w in
		@files) _files ;;
		@dirs) _files -/ ;;
		@ifaces) list+=(/sys/class/net/*(N:t)) ;;
		@commas) commas=1 ;;
		*) list+=($w) ;;
		esac
	done
	if [[ -n $commas ]]; then
		compset -P '*,'
		compadd -S '' -- $list
	elif (( $#list )); then
		compadd -- $list
	fi
}
_raytap() {
	local command=$words[2] prev=$words[CURRENT-1] cur=$words[CURRENT] value
	local -a list
	if (( CURRENT == 2 )); then
		list=(
@COMMANDS@
		)
		_describe -t commands command list
		return
	fi
	if [[ $cur == --*=* ]] && value=$(_raytap_value $command ${cur%%=*}); then
		compset -P '*='
		_raytap_offer ${=value}
	elif value=$(_raytap_value $command $prev); then
		_raytap_offer ${=value}
	elif [[ $cur == -* ]]; then
		_raytap_offer ${=$(_raytap_flags $command)}
	else
		_raytap_offer ${=$(_raytap_arguments $command)}
	fi
}
if [[ $funcstack[1] == _raytap ]]; then
	_raytap "$@"
else
	compdef _raytap raytap
fi
`

func zshCompletion(all []usageOf) []byte {
	var b, list bytes.Buffer
	b.WriteString("#compdef raytap\n# zsh completion for raytap, made by: raytap completion zsh\n")
	tables(&b, all)
	for i, u := range all {
		if i > 0 {
			list.WriteByte('\n')
		}
		fmt.Fprintf(&list, "\t\t\t%s", quoted(u.Name+":"+strings.ReplaceAll(u.Says, ":", `\:`)))
	}
	b.WriteString(strings.ReplaceAll(zshTail, "@COMMANDS@", list.String()))
	return b.Bytes()
}

func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func fishCompletion(all []usageOf) []byte {
	var b bytes.Buffer
	b.WriteString("# fish completion for raytap, made by: raytap completion fish\ncomplete -c raytap -f\n")
	// fish takes both quotes and backslashes within quotes for its own.
	fish := func(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'" }
	offer := func(c completes) string {
		words := strings.Join(c.words, " ")
		switch {
		case c.ifaces:
			return " -xa '(command ls /sys/class/net)'"
		case c.commas:
			return " -xa " + fish("(__fish_append , "+words+")")
		case words != "" && (c.files || c.dirs):
			return " -Fa " + fish(words)
		case words != "":
			return " -xa " + fish(words)
		case c.files:
			return " -rF"
		case c.dirs:
			return " -xa '(__fish_complete_directories)'"
		}
		return " -x"
	}
	for _, u := range all {
		fmt.Fprintf(&b, "complete -c raytap -n __fish_use_subcommand -a %s -d %s\n", u.Name, fish(u.Says))
	}
	for _, u := range all {
		on := "complete -c raytap -n " + fish("__fish_seen_subcommand_from "+u.Name)
		if a := argumentsOf(u, all); a.spec() != "" {
			s := offer(a)
			if a.files && len(a.words) == 0 {
				s = " -F"
			}
			fmt.Fprintf(&b, "%s%s\n", on, s)
		}
		for _, f := range u.Flags {
			fmt.Fprintf(&b, "%s -%s %s", on, map[bool]string{true: "s", false: "l"}[len(f.Name) == 1], f.Name)
			if f.Value != "" {
				b.WriteString(offer(valuesOf(f)))
			}
			if f.Says != "" {
				b.WriteString(" -d " + fish(f.Says))
			}
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}
