package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/files"
	"github.com/raytap/raytap/sinks/inventory"
	"github.com/raytap/raytap/sinks/webhook"
	"github.com/raytap/raytap/sinks/zeek"
)

// handOver makes the folders that a sensor writes to, for the user that it becomes, and gives it what an earlier sensor
// left there as root: logs, what waits for the webhook, files that were kept, the inventory. What is somebody else's, or not raytap's, stays.
func handOver(cfg *config.Config, uid, gid int) error {
	if err := handFolder(cfg.Out, cfg.Modes(), zeek.Marked, uid, gid); err != nil {
		return fmt.Errorf("hand over the log directory: %w", err)
	}
	if w := &cfg.Webhook; w.URL != "" && w.Spool != "" {
		if err := handFolder(w.Spool, disk.Private(), webhook.IsSpool, uid, gid); err != nil {
			return fmt.Errorf("hand over the spool: %w", err)
		}
	}
	if dir := filesFolder(cfg); dir != "" {
		if err := handFolder(dir, disk.Private(), files.IsFolder, uid, gid); err != nil {
			return fmt.Errorf("hand over the folder of files: %w", err)
		}
	}
	for _, d := range ownFolders(cfg) {
		if err := handFolder(d.name, disk.Private(), record.IsFolder, uid, gid); err != nil {
			return fmt.Errorf("hand over the folder of %s: %w", d.of, err)
		}
	}
	if cfg.State != "" {
		if err := handState(cfg.State, uid, gid); err != nil {
			return fmt.Errorf("hand over the inventory: %w", err)
		}
	}
	return nil
}

// handFolder makes a folder that is not there, or hands over one of root's that is empty or ours, with all of root's in it.
func handFolder(dir string, modes disk.Modes, ours func(string) bool, uid, gid int) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := modes.Folder(dir); err != nil {
			return err
		}
		return os.Chown(dir, uid, gid)
	}
	if err != nil || uid == 0 || !ownedBy(info, 0) || !isEmpty(dir) && !ours(dir) {
		return nil // what is wrong with it is said by who writes to it
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !ownedBy(info, 0) || !info.IsDir() && !single(info):
			return nil
		}
		return root.Lchown(path, uid, gid)
	})
}

// single reports whether a file has no name elsewhere, where it may be another's.
func single(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && st.Nlink == 1
}

// handState hands over an inventory of root's. Its folder stays whose it is.
func handState(name string, uid, gid int) error {
	if _, err := inventory.Load(name); err != nil {
		return nil // there is none, or it is none, which is said by who reads it
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !ownedBy(info, 0) || !single(info) {
		return err
	}
	return f.Chown(uid, gid)
}
