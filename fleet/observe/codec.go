package observe

import (
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"reflect"
	"strings"
	"sync"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/decoders/tls"
)

// The form of a value. A structure is a list of fields, each a tag and a value, ended by the tag 0; a field that has its zero value is
// left out. A tag is the number of the field's name, from 1, times 8, and the form of the value. The first tag with a number that was
// not used yet is followed by the name itself. So a reader that knows other fields than the writer, because one of the two is of another
// version, skips what it does not know, and a pack needs no schema beside it.
const (
	wireInt    = iota // varint: numbers, zigzag for those with a sign, truth values; floats with their bytes reversed
	wireBytes         // length, bytes
	wireStruct        // fields, 0
	wireList          // count, form, values
	wireRef           // varint: an object that came before in the pack, or the next one, which follows as a wireStruct
	wires
)

const (
	maxString = 64 << 10 // of one text or body; the rest is cut off
	maxNames  = 1024     // of fields, in a pack
	maxDepth  = 16
)

var (
	errShort = errors.New("observe: a pack ends in the middle of a value")
	errForm  = errors.New("observe: a value of another form than its field")
	errDeep  = errors.New("observe: values too deep in each other")
	errMany  = errors.New("observe: more values than a pack can hold")
)

// plan says how values of a type are written and read.
type plan struct {
	typ    reflect.Type
	wire   uint8
	kind   reflect.Kind
	fields []planField
	byName map[string]int
	elem   *plan // of lists and pointers
	shared bool  // a pointer to what several events have: identity counts
	binary bool  // by MarshalBinary
	rule   bool  // *secrets.Rule: by its name
	dir    bool  // capture.Dir: an index of two
	time   bool  // capture.Time
}

type planField struct {
	name  string
	index int
	plan  *plan
}

var (
	plans sync.Map // reflect.Type: *plan

	marshaler   = reflect.TypeFor[encoding.BinaryMarshaler]()
	unmarshaler = reflect.TypeFor[encoding.BinaryUnmarshaler]()

	// sharedTypes are what several events point to. That it is the same matters, and it is written once.
	sharedTypes = map[reflect.Type]bool{
		reflect.TypeFor[capture.Flow]():     true,
		reflect.TypeFor[http.Transaction](): true,
		reflect.TypeFor[http2.Call]():       true,
		reflect.TypeFor[tls.Session]():      true,
	}
	// left are types that no detector of a hub reads.
	left = map[reflect.Type]bool{
		reflect.TypeFor[*file.Copy]():   true,
		reflect.TypeFor[file.Digests](): true,
		reflect.TypeFor[[]*tls.X509]():  true,
	}
)

// planOf makes the plan of a type; nil if values of it are not written.
func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	p := newPlan(t, map[reflect.Type]*plan{})
	if p != nil {
		plans.Store(t, p)
	}
	return p
}

func newPlan(t reflect.Type, open map[reflect.Type]*plan) *plan {
	if p := open[t]; p != nil {
		return p
	}
	if left[t] {
		return nil
	}
	p := &plan{typ: t, kind: t.Kind()}
	open[t] = p
	switch {
	case t == reflect.TypeFor[*secrets.Rule]():
		p.rule, p.wire = true, wireBytes
		return p
	case p.kind != reflect.Pointer && t.Implements(marshaler) && reflect.PointerTo(t).Implements(unmarshaler):
		p.binary, p.wire = true, wireBytes
		return p
	}
	switch p.kind {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float64, reflect.Float32:
		p.dir, p.time = t == reflect.TypeFor[capture.Dir](), t == reflect.TypeFor[capture.Time]()
		p.wire = wireInt
	case reflect.String:
		p.wire = wireBytes
	case reflect.Struct:
		p.wire, p.byName = wireStruct, map[string]int{}
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() || f.Name == "NameID" { // numbers of names hold in one process
				continue
			}
			if fp := newPlan(f.Type, open); fp != nil {
				p.byName[f.Name] = len(p.fields)
				p.fields = append(p.fields, planField{f.Name, i, fp})
			}
		}
	case reflect.Pointer:
		if t.Elem().Kind() != reflect.Struct {
			return nil
		}
		p.shared = sharedTypes[t.Elem()]
		p.wire = wireStruct
		if p.shared {
			p.wire = wireRef
		}
		p.elem = newPlan(t.Elem(), open)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 && p.kind == reflect.Slice {
			p.wire = wireBytes
			return p
		}
		p.wire = wireList
		if p.elem = newPlan(t.Elem(), open); p.elem == nil {
			return nil
		}
	default: // interfaces, functions, channels, maps: no event needs one
		return nil
	}
	return p
}

// encoder writes the events of a pack.
type encoder struct {
	b     []byte
	names map[string]uint64
	refs  map[any]uint64
	n     uint64 // of refs
	cut   uint64 // texts that were too long
}

func (e *encoder) reset() {
	e.b = e.b[:0]
	clear(e.names)
	clear(e.refs)
	e.n = 0
}

func (e *encoder) tag(name string, wire uint8) {
	n, ok := e.names[name]
	if !ok {
		n = uint64(len(e.names) + 1)
		e.names[name] = n
	}
	e.b = binary.AppendUvarint(e.b, n<<3|uint64(wire))
	if !ok {
		e.text(name)
	}
}

func (e *encoder) text(s string) {
	if len(s) > maxString {
		s = s[:maxString]
		e.cut++
	}
	e.b = binary.AppendUvarint(e.b, uint64(len(s)))
	e.b = append(e.b, s...)
}

// value writes v, without a tag.
func (e *encoder) value(p *plan, v reflect.Value, depth int) {
	switch {
	case p.rule:
		s := ""
		if !v.IsNil() {
			s = v.Elem().FieldByName("ID").String()
		}
		e.text(s)
		return
	case p.binary:
		b, err := v.Interface().(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil {
			b = nil
		}
		e.text(string(b))
		return
	}
	switch p.kind {
	case reflect.Bool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		e.b = binary.AppendUvarint(e.b, n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.b = binary.AppendVarint(e.b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.b = binary.AppendUvarint(e.b, v.Uint())
	case reflect.Float32, reflect.Float64:
		e.b = binary.AppendUvarint(e.b, bits.ReverseBytes64(math.Float64bits(v.Float())))
	case reflect.String:
		e.text(v.String())
	case reflect.Struct:
		e.fields(p, v, depth)
	case reflect.Pointer:
		e.pointer(p, v, depth)
	case reflect.Slice, reflect.Array:
		if p.wire == wireBytes {
			s := v.Bytes()
			if len(s) > maxString {
				s = s[:maxString]
				e.cut++
			}
			e.b = binary.AppendUvarint(e.b, uint64(len(s)))
			e.b = append(e.b, s...)
			return
		}
		n := v.Len()
		e.b = binary.AppendUvarint(e.b, uint64(n))
		e.b = append(e.b, p.elem.wire)
		for i := range n {
			e.value(p.elem, v.Index(i), depth+1)
		}
	}
}

func (e *encoder) pointer(p *plan, v reflect.Value, depth int) {
	if !p.shared {
		if v.IsNil() || depth > maxDepth {
			e.b = append(e.b, 0)
			return
		}
		e.fields(p.elem, v.Elem(), depth+1)
		return
	}
	key := v.Interface()
	if n, ok := e.refs[key]; ok {
		e.b = binary.AppendUvarint(e.b, n)
		return
	}
	e.b = binary.AppendUvarint(e.b, e.n)
	e.refs[key] = e.n
	e.n++
	if v.IsNil() || depth > maxDepth {
		e.b = append(e.b, 0)
		return
	}
	e.fields(p.elem, v.Elem(), depth+1)
}

func (e *encoder) fields(p *plan, v reflect.Value, depth int) {
	header := p.typ == fieldType
	for i := range p.fields {
		f := &p.fields[i]
		x := v.Field(f.index)
		if x.IsZero() || f.plan.kind == reflect.Slice && x.Len() == 0 {
			continue
		}
		e.tag(f.name, f.plan.wire)
		if header && f.name == "Value" {
			e.text(guarded(v.FieldByName("Name").String(), x.String()))
			continue
		}
		e.value(f.plan, x, depth+1)
	}
	e.b = append(e.b, 0)
}

var fieldType = reflect.TypeFor[http.Field]()

// credentials are fields of a message that let whoever has them act as their owner. No detector of a hub looks into them: the calls to
// Ray say what kind they are, and the findings about leaks come from what the sensor saw.
var credentials = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true, "x-ray-authorization": true, "x-api-key": true,
	"api-key": true, "x-auth-token": true, "x-amz-security-token": true, "x-goog-api-key": true, "private-token": true,
}

// guarded is the value of a field as it may leave the sensor: of a credential its scheme.
func guarded(name, value string) string {
	if len(name) > 24 || !credentials[strings.ToLower(name)] {
		return value
	}
	if scheme, _, ok := strings.Cut(value, " "); ok && len(scheme) <= 10 {
		return scheme + " <masked>"
	}
	return "<masked>"
}

// decoder reads the events of a pack. What it reads is hostile: every count is checked against what is left, and room is the memory
// that it may still ask for.
type decoder struct {
	b     []byte
	names []string
	refs  []reflect.Value
	room  int
	shift int64 // of times
}

func (d *decoder) uint() (uint64, error) {
	n, k := binary.Uvarint(d.b)
	if k <= 0 {
		return 0, errShort
	}
	d.b = d.b[k:]
	return n, nil
}

func (d *decoder) bytes() ([]byte, error) {
	n, err := d.uint()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(d.b)) {
		return nil, errShort
	}
	s := d.b[:n]
	d.b = d.b[n:]
	if d.room -= len(s); d.room < 0 {
		return nil, errMany
	}
	return s, nil
}

// tag reads a tag; the name is "" at the end of a structure.
func (d *decoder) tag() (name string, wire uint8, err error) {
	n, err := d.uint()
	if err != nil || n == 0 {
		return "", 0, err
	}
	wire = uint8(n & 7)
	switch n >>= 3; {
	case wire >= wires || n == 0 || n > uint64(len(d.names)+1):
		return "", 0, errForm
	case n == uint64(len(d.names)+1):
		s, err := d.bytes()
		if err != nil {
			return "", 0, err
		}
		if len(s) == 0 || len(d.names) >= maxNames {
			return "", 0, errForm
		}
		d.names = append(d.names, string(s))
	}
	return d.names[n-1], wire, nil
}

// fields reads a structure into v.
func (d *decoder) fields(p *plan, v reflect.Value, depth int) error {
	if depth > 2*maxDepth {
		return errDeep
	}
	for {
		name, wire, err := d.tag()
		if err != nil {
			return err
		}
		if name == "" {
			return nil
		}
		i, ok := p.byName[name]
		if !ok || p.fields[i].plan.wire != wire {
			if err := d.skip(wire, depth+1); err != nil {
				return err
			}
			continue
		}
		f := &p.fields[i]
		if err := d.value(f.plan, v.Field(f.index), depth+1); err != nil {
			return err
		}
	}
}

func (d *decoder) take(t reflect.Type, n int) error {
	if d.room -= int(t.Size()) * n; d.room < 0 {
		return errMany
	}
	return nil
}

// value reads a value, of which the tag was read, into v.
func (d *decoder) value(p *plan, v reflect.Value, depth int) error {
	if depth > 2*maxDepth {
		return errDeep
	}
	if p.wire == wireBytes {
		return d.text(p, v)
	}
	switch p.kind {
	case reflect.Struct:
		return d.fields(p, v, depth)
	case reflect.Pointer:
		if p.shared {
			return d.ref(p, v, depth)
		}
		if err := d.take(p.elem.typ, 1); err != nil {
			return err
		}
		x := reflect.New(p.elem.typ)
		v.Set(x)
		return d.fields(p.elem, x.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		return d.list(p, v, depth)
	default:
		return d.number(p, v)
	}
}

// text reads what has a length and bytes.
func (d *decoder) text(p *plan, v reflect.Value) error {
	s, err := d.bytes()
	if err != nil {
		return err
	}
	switch {
	case p.rule:
		if r := secrets.RuleOf(string(s)); r != nil {
			v.Set(reflect.ValueOf(r))
		}
	case p.binary:
		return v.Addr().Interface().(encoding.BinaryUnmarshaler).UnmarshalBinary(s)
	case p.kind == reflect.String:
		v.SetString(string(s))
	default:
		v.SetBytes(append([]byte(nil), s...))
	}
	return nil
}

// list reads a slice, or an array, which must have all its elements.
func (d *decoder) list(p *plan, v reflect.Value, depth int) error {
	n, err := d.uint()
	if err != nil {
		return err
	}
	if n >= uint64(len(d.b)) && n > 0 || len(d.b) == 0 {
		return errShort
	}
	if d.b[0] != p.elem.wire {
		return errForm
	}
	d.b = d.b[1:]
	if p.kind == reflect.Array {
		if n != uint64(v.Len()) {
			return errForm
		}
	} else {
		if err := d.take(p.elem.typ, int(n)); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(p.typ, int(n), int(n)))
	}
	for i := range int(n) {
		if err := d.value(p.elem, v.Index(i), depth+1); err != nil {
			return err
		}
	}
	return nil
}

// number reads a number or a truth value.
func (d *decoder) number(p *plan, v reflect.Value) error {
	n, err := d.uint()
	if err != nil {
		return err
	}
	switch p.kind {
	case reflect.Bool:
		v.SetBool(n != 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		x := int64(n>>1) ^ -int64(n&1)
		if v.OverflowInt(x) {
			return errForm
		}
		if p.time {
			x += d.shift
		}
		v.SetInt(x)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(math.Float64frombits(bits.ReverseBytes64(n)))
	default:
		if v.OverflowUint(n) || p.dir && n > 1 {
			return errForm
		}
		v.SetUint(n)
	}
	return nil
}

// ref reads a pointer to something that events share.
func (d *decoder) ref(p *plan, v reflect.Value, depth int) error {
	n, err := d.uint()
	if err != nil {
		return err
	}
	switch {
	case n < uint64(len(d.refs)):
		if r := d.refs[n]; r.IsValid() && r.Type() == p.typ {
			v.Set(r)
			return nil
		}
		return errForm
	case n > uint64(len(d.refs)):
		return errForm
	}
	if err := d.take(p.elem.typ, 1); err != nil {
		return err
	}
	// It is there only when it is complete: what points to itself would have others walk in a circle.
	d.refs = append(d.refs, reflect.Value{})
	x := reflect.New(p.elem.typ)
	if err := d.fields(p.elem, x.Elem(), depth+1); err != nil {
		return err
	}
	d.refs[n] = x
	v.Set(x)
	return nil
}

// skip passes over a value that nobody knows.
func (d *decoder) skip(wire uint8, depth int) error {
	if depth > 2*maxDepth {
		return errDeep
	}
	switch wire {
	case wireInt:
		_, err := d.uint()
		return err
	case wireBytes:
		_, err := d.bytes()
		return err
	case wireStruct:
		for {
			name, w, err := d.tag()
			if err != nil || name == "" {
				return err
			}
			if err := d.skip(w, depth+1); err != nil {
				return err
			}
		}
	case wireList:
		n, err := d.uint()
		if err != nil {
			return err
		}
		if len(d.b) == 0 || n >= uint64(len(d.b)) && n > 0 {
			return errShort
		}
		w := d.b[0]
		d.b = d.b[1:]
		for range n {
			if err := d.skip(w, depth+1); err != nil {
				return err
			}
		}
		return nil
	case wireRef:
		n, err := d.uint()
		if err != nil {
			return err
		}
		if n < uint64(len(d.refs)) {
			return nil
		}
		if n > uint64(len(d.refs)) || d.room < 0 {
			return errForm
		}
		d.room -= 32
		d.refs = append(d.refs, reflect.Value{})
		return d.skip(wireStruct, depth+1)
	}
	return fmt.Errorf("%w: %d", errForm, wire)
}
