package zeek

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/logindex"
)

const (
	dayForm   = "2006-01-02"
	stampForm = "2006-01-02-15-04-05"
	clockForm = "15:04:05"
	// Files that wait to be closed. More than one rotation of all logs; beyond it the caller closes them itself.
	keeperQueue = 64
)

// rotated is the name of a file that was put into the archive: log, when it was begun, until when, number, compression.
// Nothing else is ever touched there. Both forms are known whatever Options.Names says, which may have been another.
var rotated = regexp.MustCompile(`^([a-z0-9_]+)\.(?:(\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d)|(\d\d:\d\d:\d\d)-\d\d:\d\d:\d\d)(?:-\d+)?\.log(\.gz|\.zst)?$`)

// indexFile is the index of such a file, or what was to become it.
var indexFile = regexp.MustCompile(`^\.[a-z0-9_]+\.[0-9:-]+\.log\.idx(\.new)?$`)

// unfinishedIndex ends the name of an index that is not whole.
const unfinishedIndex = ".new"

// unfinished is what compression that was killed left.
var unfinished = regexp.MustCompile(`^\.[a-z0-9_]+\.[0-9:-]+\.log\.(gz|zst)$`)

// keeper looks after the archive on a goroutine of its own. What there is to do it reads off the folder, so that
// nothing is forgotten over a restart.
type keeper struct {
	dir     string
	opt     LiveOptions
	in      chan job
	quit    chan struct{}
	done    chan struct{}
	failing atomic.Bool
}

type job struct {
	file *os.File // to close
	dir  string   // where it is now
	now  time.Time
	ages bool          // files' ages count
	ack  chan struct{} // closed when it is done
}

func newKeeper(dir string, opt LiveOptions) *keeper {
	k := &keeper{dir: dir, opt: opt, in: make(chan job, keeperQueue), quit: make(chan struct{}), done: make(chan struct{})}
	go k.loop()
	return k
}

func (k *keeper) close(f *os.File, dir string) {
	j := job{file: f, dir: dir}
	select {
	case k.in <- j:
	default:
		k.finish(j)
	}
}

// wake has the archive looked through. If the keeper has not come to the last time yet, that one will do.
func (k *keeper) wake(j job) {
	select {
	case k.in <- j:
	default:
	}
}

// stop closes what waits to be closed, and breaks off the rest.
func (k *keeper) stop() {
	close(k.quit)
	close(k.in)
	<-k.done
}

func (k *keeper) stopped() bool {
	select {
	case <-k.quit:
		return true
	default:
		return false
	}
}

func (k *keeper) loop() {
	defer close(k.done)
	for j := range k.in {
		if j.file != nil {
			k.finish(j)
		} else if !k.stopped() {
			k.sweep(j)
		}
		if j.ack != nil {
			close(j.ack)
		}
	}
}

func (k *keeper) finish(j job) {
	var err error
	if k.opt.Fsync == FsyncRotate || k.opt.Fsync == FsyncFlush {
		if err = j.file.Sync(); err == nil {
			err = syncDir(j.dir)
		}
	}
	if e := j.file.Close(); err == nil {
		err = e
	}
	k.say(err)
}

// say tells of an error once, until things go well again.
func (k *keeper) say(err error) {
	if !k.failing.Swap(err != nil) && err != nil && k.opt.Say != nil {
		k.opt.Say(fmt.Sprintf("the archive of logs: %v", err))
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// archived is one rotated file.
type archived struct {
	path    string
	log     string
	began   time.Time
	size    uint64 // with its index
	packed  bool
	indexed bool
}

// finding says whether it is of the logs that tell what was found.
func (a *archived) finding() bool { return a.log == "notice" || a.log == "incidents" }

// sweep compresses what is not compressed and deletes what is too old or too much.
func (k *keeper) sweep(j job) {
	all, err := k.list()
	if err != nil {
		k.say(err)
		return
	}
	packs := k.opt.Compress == CompressGzip || k.opt.Compress == CompressZstd
	for i := range all {
		a := &all[i]
		if a.packed || k.stopped() || !packs && (!k.opt.Index || a.indexed) {
			continue
		}
		path, size, e := k.pack(a.path)
		if e != nil {
			err = e
			continue
		}
		a.path, a.size, a.packed = path, size, packs
	}
	for _, a := range k.surplus(all, j) {
		if e := os.Remove(a.path); e != nil && !os.IsNotExist(e) {
			err = e
		}
		os.Remove(logindex.Path(a.path))
		os.Remove(filepath.Dir(a.path)) // refused while there is something in it
	}
	k.say(err)
}

// list gives the rotated files, the oldest first.
func (k *keeper) list() ([]archived, error) {
	days, err := os.ReadDir(k.dir)
	if err != nil {
		if os.IsNotExist(err) {
			return nil, nil // removed; the next file makes it again
		}
		return nil, err
	}
	var all []archived
	for _, day := range days {
		if _, err := time.Parse(dayForm, day.Name()); err != nil || !day.IsDir() {
			continue
		}
		dir := filepath.Join(k.dir, day.Name())
		files, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		indexes := map[string]uint64{}
		for _, f := range files {
			if info, err := f.Info(); err == nil && indexFile.MatchString(f.Name()) {
				indexes[filepath.Join(dir, f.Name())] = uint64(info.Size())
			}
		}
		for _, f := range files {
			if unfinished.MatchString(f.Name()) {
				os.Remove(filepath.Join(dir, f.Name()))
				continue
			}
			m := rotated.FindStringSubmatch(f.Name())
			if m == nil {
				continue
			}
			began, err := time.Parse(stampForm, m[2])
			if m[2] == "" {
				began, err = time.Parse(dayForm+clockForm, day.Name()+m[3])
			}
			info, e := f.Info()
			if err != nil || e != nil || !info.Mode().IsRegular() {
				continue
			}
			path := filepath.Join(dir, f.Name())
			index := logindex.Path(path)
			size, indexed := indexes[index]
			delete(indexes, index)
			all = append(all, archived{path, m[1], began, uint64(info.Size()) + size, m[4] != "", indexed})
		}
		for _, path := range slices.Sorted(maps.Keys(indexes)) { // of logs that somebody took away
			os.Remove(path)
			os.Remove(dir)
		}
	}
	slices.SortStableFunc(all, func(a, b archived) int { return a.began.Compare(b.began) })
	return all, nil
}

// surplus gives what is to be deleted: by age, then for the total the oldest first, but findings last, which are few
// and would otherwise be pushed out by whoever makes enough connections.
func (k *keeper) surplus(all []archived, j job) []archived {
	var gone, left []archived
	var total uint64
	for _, a := range all {
		keep := k.opt.Keep
		if a.finding() {
			keep = k.opt.KeepFindings
		}
		if keep > 0 && j.ages && j.now.Sub(a.began) > keep {
			gone = append(gone, a)
			continue
		}
		left = append(left, a)
		total += a.size
	}
	if k.opt.KeepSize == 0 {
		return gone
	}
	slices.SortStableFunc(left, func(a, b archived) int {
		switch an, bn := a.finding(), b.finding(); {
		case an == bn:
			return 0
		case bn:
			return -1
		}
		return 1
	})
	for _, a := range left {
		if total <= k.opt.KeepSize {
			break
		}
		total -= a.size
		gone = append(gone, a)
	}
	return gone
}

// pack makes path.gz or path.zst in path's place, and an index alongside it, as the options say. The new file has its name
// only when it is whole and on the disk; a run that is killed in between packs again.
//
// What is indexed is compressed in blocks, each a member (a frame) of its own, which every reader takes as one text: who
// searches reads only those that he needs.
func (k *keeper) pack(path string) (to string, size uint64, err error) {
	in, err := disk.Read(path)
	if err != nil {
		return "", 0, err
	}
	defer in.Close()
	to = path
	var out *os.File
	count := &counting{}
	switch k.opt.Compress {
	case CompressGzip:
		to += ".gz"
	case CompressZstd:
		to += ".zst"
	}
	if to != path {
		tmp := filepath.Join(filepath.Dir(to), "."+filepath.Base(to))
		if out, err = k.opt.Modes.Renew(tmp); err != nil {
			return "", 0, err
		}
		count.w = out
		defer func() {
			out.Close()
			if err != nil {
				os.Remove(tmp)
			}
		}()
	}
	var index *logindex.Builder
	var file *os.File
	if k.opt.Index {
		name := logindex.Path(path)
		if file, err = k.opt.Modes.Renew(name + unfinishedIndex); err != nil {
			return "", 0, err
		}
		defer func() {
			file.Close()
			if err != nil {
				os.Remove(name + unfinishedIndex)
			}
		}()
		index = logindex.NewBuilder(file)
	}
	if err = k.copyBlocks(count, breakable{in, k}, index); err != nil {
		return "", 0, err
	}
	if out != nil {
		if err = out.Sync(); err != nil {
			return "", 0, err
		}
	}
	if index != nil {
		if err = index.Close(count.n); err != nil {
			return "", 0, err
		}
		info, err := file.Stat()
		if err != nil {
			return "", 0, err
		}
		size = uint64(info.Size())
		name := logindex.Path(path)
		if err = os.Rename(name+unfinishedIndex, name); err != nil {
			return "", 0, err
		}
	}
	size += uint64(count.n)
	if out == nil {
		return path, size, nil
	}
	if err = os.Rename(filepath.Join(filepath.Dir(to), "."+filepath.Base(to)), to); err != nil {
		return "", 0, err
	}
	return to, size, os.Remove(path)
}

// counting counts what is written to w; without a w it counts alone.
type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(p []byte) (n int, err error) {
	n = len(p)
	if c.w != nil {
		n, err = c.w.Write(p)
	}
	c.n += int64(n)
	return n, err
}

// copyBlocks compresses in, and indexes it if index is there.
func (k *keeper) copyBlocks(out *counting, in io.Reader, index *logindex.Builder) error {
	var w interface {
		io.WriteCloser
		Reset(io.Writer)
	}
	var err error
	switch {
	case out.w == nil:
	case k.opt.Compress == CompressZstd:
		w, err = zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	default:
		w = gzip.NewWriter(out)
	}
	if err != nil {
		return err
	}
	if index == nil {
		if _, err := io.Copy(w, in); err != nil {
			w.Close()
			return err
		}
		return w.Close()
	}
	first := true
	put := func(text []byte) error {
		index.Block(text, out.n)
		if w == nil {
			_, err := out.Write(text)
			return err
		}
		if !first {
			w.Reset(out)
		}
		first = false
		if _, err := w.Write(text); err != nil {
			return err
		}
		return w.Close()
	}
	block := make([]byte, 0, logindex.BlockSize+blockSlack)
	for want := logindex.BlockSize; ; {
		n, err := in.Read(block[len(block):cap(block)])
		block = block[:len(block)+n]
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		if len(block) < want && !end {
			continue
		}
		n = bytes.LastIndexByte(block, '\n') + 1
		if end || n == 0 && len(block) >= maxBlock {
			n = len(block)
		}
		if n == 0 && !end { // a line that is longer
			want += logindex.BlockSize
			block = slices.Grow(block, logindex.BlockSize+blockSlack)
			continue
		}
		if n > 0 || first {
			if err := put(block[:n]); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
		block = block[:copy(block, block[n:])]
		want = logindex.BlockSize
	}
}

const (
	// What is read of the next block with one.
	blockSlack = 64 << 10
	// A block without a line's end is no longer than that.
	maxBlock = 8 << 20
)

// breakable is a file whose reading ends with the keeper.
type breakable struct {
	f *os.File
	k *keeper
}

func (b breakable) Read(p []byte) (int, error) {
	if b.k.stopped() {
		return 0, os.ErrClosed
	}
	return b.f.Read(p)
}

// mend cuts a file behind its last whole line. It says whether rows are left, how many bytes went, when the file was
// begun (by its header, by the time of its first row, or by when it was last written), and when it was last written.
func mend(path string) (rows bool, gone int64, since, until time.Time, err error) {
	f, err := disk.Default().Open(path, os.O_RDWR)
	if err != nil {
		return false, 0, since, until, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, 0, since, until, err
	}
	since = info.ModTime()
	size := info.Size()
	end := size
	buf := make([]byte, 64<<10)
	for end > 0 {
		b := buf[:min(end, int64(len(buf)))]
		if _, err := f.ReadAt(b, end-int64(len(b))); err != nil {
			return false, 0, since, until, err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			end += int64(i + 1 - len(b))
			break
		}
		end -= int64(len(b))
	}
	// Also where nothing is cut: it gives back what was reserved behind the end.
	if err := f.Truncate(end); err != nil {
		return false, 0, since, until, err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, end), len(buf))
	for {
		b, err := r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			break // the end
		}
		if text, ok := strings.CutPrefix(string(b), "#open\t"); ok {
			if t, err := time.Parse(stampForm, strings.TrimSuffix(text, "\n")); err == nil {
				since = t
			}
		}
		if len(b) > 0 && b[0] == '#' {
			continue
		}
		rows = true
		var first struct{ TS float64 }
		if json.Unmarshal(b, &first) == nil && first.TS > 0 && first.TS < math.MaxInt64/1e9 {
			since = time.Unix(int64(first.TS), 0)
		}
		break
	}
	if until = info.ModTime(); until.Before(since) {
		until = since
	}
	return rows, size - end, since, until, nil
}
