package main

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/sinks/files"
)

// defaultExtract is what is kept where only a folder is named.
var defaultExtract = [...]string{"executable", "script", "archive", "pickle", "ray_package"}

// keepFiles puts what the flags --files and --extract say into cfg.
func keepFiles(cfg *config.Config, folder string, extract []string) {
	if folder != "" {
		cfg.Files.Folder = folder
	}
	if len(extract) > 0 {
		cfg.Files.Extract = extract
	}
	if folder != "" && len(cfg.Files.Extract) == 0 {
		cfg.Files.Extract = defaultExtract[:]
	}
}

// filesFolder is where files are kept, "" if none are.
func filesFolder(cfg *config.Config) string {
	if len(cfg.Files.Extract) == 0 {
		return ""
	}
	return cmp.Or(cfg.Files.Folder, filepath.Join(cfg.Out, "files"))
}

// openStore opens it. wait says that a capture is read, which waits for the disk.
func openStore(cfg *config.Config, wait bool, say func(string)) error {
	dir := filesFolder(cfg)
	if dir == "" {
		return nil
	}
	c := &cfg.Files
	s, err := files.Open(files.Options{Dir: dir, Size: c.Size, Waiting: c.MaxMemory, Free: c.Free, Wait: wait, Say: say})
	if err == nil {
		cfg.Store = s
	}
	return err
}

// closeStore closes it, and says what it has got of the run, and whether that is all it should have.
func closeStore(cfg *config.Config) (says string, all bool, err error) {
	s, ok := cfg.Store.(*files.Store)
	if !ok {
		return "", true, nil
	}
	err = s.Close()
	n := s.Counts()
	says = fmt.Sprintf("%d files kept in %s", n.Kept, filesFolder(cfg))
	if n.Kept == 1 {
		says = "1 file kept in " + filesFolder(cfg)
	}
	for _, x := range [...]struct {
		n    uint64
		what string
	}{
		{n.Again, "%d more were there already"}, {n.Partial, "%d of them not whole"}, {n.Removed, "%d older ones removed"},
		{n.Slow, "%d NOT KEPT: the disk was too slow"}, {n.Full, "%d NOT KEPT: no room"}, {n.Failed, "%d NOT KEPT: they could not be written"},
	} {
		if x.n > 0 {
			says += "; " + fmt.Sprintf(x.what, x.n)
		}
	}
	return says, n.Slow+n.Full+n.Failed == 0, err
}
