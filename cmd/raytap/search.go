package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/raytap/raytap/fleet/search"
)

const searchSynopsis = `search WHAT [flags] DIR...

Finds rows in directories of logs: of a replay, or of a sensor with its rotated and compressed files, tab-separated or
JSON, and Zeek's. Prints each row as a JSON object with its log as _path, the newest files first, as soon as it is found.

WHAT is any of --host, --uid, --community-id, --finding, --field, --from and --to; a row must have all that is named. A row
has an address or value if a column has it, or an element of a set or vector does.

Files that a sensor rotated have an index (rotate.index), and only what may have such rows is read. Others are read as a
whole, so --from, --to and --log help. What a limit left out and files that could not be read are reported on standard
error.

Exit status: 0 rows were found; 1 none was, or something could not be read; 2 wrong usage; 130 interrupted.

`

func searchLogs(args []string, stdout, stderr *os.File) int {
	f := newFlags("search", searchSynopsis)
	x := search.AddFlags(f.FlagSet)
	dirs, err := f.parse(args)
	if err == nil {
		err = x.Check()
	}
	if err == nil && len(dirs) == 0 {
		err = errors.New("takes folders of logs")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := bufio.NewWriterSize(stdout, 64<<10)
	p := search.NewPrinter(out, x)
	first := true
	res, err := search.Run(ctx, &x.Query, x.Limits, func(row []byte) error {
		err := p.Row(row)
		if first && err == nil { // somebody waits for it
			first, err = false, out.Flush()
		}
		return err
	}, dirs...)
	interrupted := ctx.Err() != nil
	if perr := errors.Join(p.Close(), out.Flush()); err == nil {
		err = perr
	}
	code := exitOK
	switch {
	case interrupted:
		return exitSignal + int(syscall.SIGINT)
	case err != nil:
		complain(stderr, err)
		return exitInput
	case res.Cut != "":
		complain(stderr, fmt.Errorf("%s: there may be more", res.Cut))
	}
	if tellUnread(res.Unread, stderr) || res.Rows == 0 {
		code = exitInput
	}
	return code
}
