package feeds

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// maxFiles bounds the files of one entry; CIRCL's MISP feed has under two thousand.
	maxFiles = 1 << 14
	// maxNested is how deep folders below one that was named are looked into.
	maxNested = 8
	// maxLeft bounds how many files that were left out are named.
	maxLeft = 5
)

// Group is files that are one feed: a file, or all events of a MISP feed, which has one in each.
type Group struct {
	Name  string // what findings call it
	Files []string
	MISP  bool // a folder as MISP publishes feeds, with its manifest
}

// Listing is what a name in the configuration stands for.
type Listing struct {
	Name   string
	Folder bool // a folder or a pattern: it may have many files, and none
	Groups []Group
	Left   []string // what is there and is not read, "README.md: not named as a feed"
}

// extensions are how files with indicators are named; each may have .gz behind it.
var extensions = []string{".json", ".csv", ".tsv", ".txt", ".dat", ".intel", ".list", ".lst", ".ioc", ".iocs", ".ip", ".netset", ".ipset", ".hosts", ".domains", ".stix", ".stix2", ".misp"}

// uuidFile matches an event of a MISP feed.
var uuidFile = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\.json(\.gz)?$`)

// List finds the files that a name stands for: a file, a folder with all below it, or a pattern as of path/filepath.Match.
// Of folders it takes what is named as feeds are; what a name or pattern names itself it takes whatever its name. Links
// to files are followed, as ConfigMaps are mounted by them, and links to folders are not, since they may lead in circles.
// The order is that of names.
func List(name string) (*Listing, error) { return list(name, maxFiles) }

func list(name string, most int) (*Listing, error) {
	l := &lister{Listing: Listing{Name: name}, most: most}
	info, err := os.Stat(name)
	if err != nil && strings.ContainsAny(name, "*?[") {
		matches, e := filepath.Glob(name)
		if e != nil {
			return nil, fmt.Errorf("%s is not a file pattern", name)
		}
		l.Folder = true
		slices.Sort(matches)
		for _, m := range matches {
			info, err := os.Stat(m)
			switch {
			case err != nil:
				return nil, plain(m, err)
			case info.IsDir():
				if err := l.folder(m, filepath.Base(m), 0); err != nil {
					return nil, err
				}
			case !info.Mode().IsRegular(): // a pipe would have us wait
				l.leave(m, "no plain file")
			default:
				l.file(m, filepath.Base(m))
			}
		}
		return l.done(), nil
	}
	switch {
	case err != nil:
		return nil, plain("", err)
	case info.IsDir():
		l.Folder = true
		if err := l.folder(name, "", 0); err != nil {
			return nil, err
		}
	default:
		l.file(name, filepath.Base(name))
	}
	return l.done(), nil
}

// plain is an error without the name, which whoever asked knows, or with one that he does not.
func plain(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	if name != "" {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

type lister struct {
	Listing
	n      int
	most   int
	over   int
	hidden int
	more   int
	left   []string
}

func (l *lister) file(path, name string) {
	if l.n >= l.most {
		l.over++
		return
	}
	l.n++
	l.Groups = append(l.Groups, Group{Name: name, Files: []string{path}})
}

func (l *lister) leave(name, why string) {
	if len(l.left) >= maxLeft {
		l.more++
		return
	}
	l.left = append(l.left, name+": "+why)
}

func (l *lister) done() *Listing {
	l.Left = l.left
	if l.more > 0 {
		l.Left = append(l.Left, fmt.Sprintf("%d more of such kinds", l.more))
	}
	if l.hidden > 0 {
		l.Left = append(l.Left, fmt.Sprintf("%d hidden", l.hidden))
	}
	if l.over > 0 {
		l.Left = append(l.Left, fmt.Sprintf("%d beyond the bound of %d files", l.over, l.most))
	}
	return &l.Listing
}

// folder takes what is in one; prefix is its name within what was asked for.
func (l *lister) folder(dir, prefix string, depth int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if depth == 0 {
			return plain("", err)
		}
		return plain(prefix, err)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name && !e.IsDir() })
	}
	misp := has("manifest.json") || slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return uuidFile.MatchString(e.Name()) })
	events := Group{Name: filepath.Base(dir), MISP: true}
	if abs, err := filepath.Abs(dir); err == nil {
		events.Name = filepath.Base(abs)
	}
	for _, e := range entries {
		name := e.Name()
		path, shown := filepath.Join(dir, name), filepath.Join(prefix, name)
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			l.hidden++
			continue
		}
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a link to nothing, or gone since
			l.leave(shown, "leads nowhere")
		case err != nil:
			return plain(shown, err)
		case info.IsDir() && e.Type()&fs.ModeSymlink != 0:
			l.leave(shown, "a link to a folder")
		case info.IsDir() && depth+1 >= maxNested:
			l.leave(shown, "nested deeper than "+fmt.Sprint(maxNested)+" folders")
		case info.IsDir():
			if err := l.folder(path, shown, depth+1); err != nil {
				return err
			}
		case !info.Mode().IsRegular():
			l.leave(shown, "no plain file")
		case misp && (name == "manifest.json" || name == "hashes.csv"): // the index, and digests of values by which servers look for events
		case !named(name):
			l.leave(shown, "not named as a feed")
		case misp && uuidFile.MatchString(name):
			if l.n >= l.most {
				l.over++
				continue
			}
			l.n++
			events.Files = append(events.Files, path)
		default:
			l.file(path, shown)
		}
	}
	if len(events.Files) > 0 {
		l.Groups = append(l.Groups, events)
	}
	return nil
}

// named reports whether a file of a folder is named as feeds are.
func named(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".gz")
	return slices.Contains(extensions, filepath.Ext(name))
}

// Root is the folder that all files of a name are in, now and later.
func Root(name string) string {
	if info, err := os.Stat(name); err == nil {
		if info.IsDir() {
			return name
		}
		return filepath.Dir(name)
	}
	dir := filepath.Dir(name)
	for strings.ContainsAny(dir, "*?[") {
		dir = filepath.Dir(dir)
	}
	return dir
}
