package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Columns of a log. Zeek's widest have sixty.
const maxColumns = 1024

var errNoHeader = errors.New("logs: a row before its #fields line")

// Parser takes the lines of one file. The zero value with a Log is ready.
type Parser struct {
	Log       string // from the file's name; #path goes above it
	separator string
	columns   *columns
}

// Line takes a line without its end. It gives no row for a line of the header, and an error for one that is damaged.
func (p *Parser) Line(line []byte) (*Row, error) {
	line = bytes.TrimSuffix(line, []byte{'\r'})
	switch {
	case len(line) == 0:
		return nil, nil
	case line[0] == '{':
		return p.object(line)
	case line[0] == '#':
		return nil, p.header(string(line))
	case p.columns == nil:
		return nil, errNoHeader
	}
	cells := strings.Split(string(line), p.separator)
	if len(cells) != len(p.columns.names) {
		return nil, errors.New("logs: a row with " + strconv.Itoa(len(cells)) + " of " + strconv.Itoa(len(p.columns.names)) + " columns")
	}
	return &Row{Log: p.Log, columns: p.columns, cells: cells}, nil
}

func (p *Parser) object(line []byte) (*Row, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	r := &Row{Log: p.Log}
	if err := dec.Decode(&r.object); err != nil {
		return nil, err
	}
	r.line = bytes.Clone(line[:dec.InputOffset()])
	if path, ok := r.object["_path"].(string); ok { // of Zeek's json-streaming-logs
		r.Log = path
	}
	return r, nil
}

func (p *Parser) header(line string) error {
	if p.separator == "" {
		p.separator = "\t"
	}
	if s, ok := strings.CutPrefix(line, "#separator "); ok {
		p.separator = unescape(s)
		if p.separator == "" {
			p.separator = "\t"
		}
		return nil
	}
	key, rest, _ := strings.Cut(line, p.separator)
	switch key {
	case "#path":
		p.Log = rest
	case "#fields":
		names := strings.Split(rest, p.separator)
		if len(names) > maxColumns {
			return errors.New("logs: too many columns")
		}
		c := &columns{names: names, index: make(map[string]int, len(names)), vector: make([]bool, len(names))}
		for i, n := range names {
			c.index[n] = i
		}
		p.columns = c
	case "#types":
		if p.columns == nil {
			return errNoHeader
		}
		p.columns.kinds = strings.Split(rest, p.separator)
		if len(p.columns.kinds) > maxColumns {
			return errors.New("logs: too many columns")
		}
		for i, kind := range p.columns.kinds {
			if i < len(p.columns.vector) {
				p.columns.vector[i] = strings.HasPrefix(kind, "set[") || strings.HasPrefix(kind, "vector[")
			}
		}
	}
	return nil
}
