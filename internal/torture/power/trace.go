package power

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// calls are the system calls that change files, or say which file a descriptor is.
const calls = "openat,close,link,linkat,rename,renameat,renameat2,unlink,unlinkat,write,pwrite64,ftruncate,fallocate,fdatasync,fsync"

// What an op does.
type kind uint8

const (
	opWrite kind = iota
	opSize       // ftruncate
	opSync
	opCreate  // a name for a new file
	opLink    // a further name
	opRename  // another name
	opUnlink  // a name goes
	opSyncDir // the names are made durable
	opLedger  // a line of the ledger
	opMark    // a line of the script's own
)

// An op is a call that succeeded.
type op struct {
	kind     kind
	begin    int // the line of the trace at which it began: from then on it may have happened
	end      int // the line at which it was over
	file     *file
	off      int64
	data     []byte // of a write, or a line
	size     int64  // of opSize
	name, to string
}

// A file is an inode. What is durable of it, and what may be, is in the disk that an enumeration runs on.
type file struct{ number int }

// An event is the begin or the end of an op.
type event struct {
	*op
	ended bool
}

// The descriptors to which the script writes its ledger and its marks.
const (
	ledgerFD = 3
	markFD   = 4
)

// A trace is what strace saw a script do to one folder.
type trace struct {
	events   []event
	files    []*file
	names    map[string]*file // what was there at the beginning
	contents map[*file][]byte
}

// A parser reads a trace line by line.
type parser struct {
	trace
	dir   string
	line  int
	fds   map[string]*descriptor
	names map[string]*file  // as they are now
	open  map[string]*pcall // calls under way by process
}

// A descriptor is an open file, or the folder.
type descriptor struct {
	file *file // nil: the folder itself
	off  int64 // for write
}

// A pcall is the first half of a call that was interrupted by those of other threads.
type pcall struct {
	text string
	line int
	fd   *descriptor // what its first argument was when it began
}

// parse reads the trace of a script on a folder that had some files already.
func parse(r io.Reader, dir string, there map[string][]byte) (*trace, error) {
	p := &parser{dir: dir, fds: make(map[string]*descriptor), names: make(map[string]*file), open: make(map[string]*pcall)}
	p.trace.names, p.contents = make(map[string]*file), make(map[*file][]byte)
	for _, name := range slices.Sorted(maps.Keys(there)) {
		f := p.newFile()
		p.names[name], p.trace.names[name], p.contents[f] = f, f, there[name]
	}
	in := bufio.NewReaderSize(r, 1<<20)
	var begun []*op // by line
	for {
		text, err := in.ReadString('\n')
		if text == "" && err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("trace ends in the middle of a line: %w", err)
		}
		p.line++
		o, err := p.one(strings.TrimSuffix(text, "\n"))
		if err != nil {
			return nil, fmt.Errorf("trace, line %d: %w", p.line, err)
		}
		if o != nil {
			begun = append(begun, o)
		}
	}
	p.order(begun)
	return &p.trace, nil
}

// order sorts the begins and ends of the ops by their lines.
func (p *parser) order(ops []*op) {
	at := make([][]event, p.line+1)
	for _, o := range ops {
		at[o.begin] = append(at[o.begin], event{o, false})
		at[o.end] = append(at[o.end], event{o, true})
	}
	for _, events := range at {
		p.events = append(p.events, events...)
	}
}

func (p *parser) newFile() *file {
	f := &file{number: len(p.files)}
	p.files = append(p.files, f)
	return f
}

// one reads a line, and returns the op that ends with it, if any.
func (p *parser) one(text string) (*op, error) {
	pid, text, ok := strings.Cut(text, " ")
	if !ok {
		return nil, fmt.Errorf("no process in %.80q", text)
	}
	text = strings.TrimLeft(text, " ")
	if rest, ok := strings.CutPrefix(text, "<... "); ok {
		half := p.open[pid]
		_, rest, ok := strings.Cut(rest, " resumed>")
		if half == nil || !ok {
			return nil, fmt.Errorf("resumed without a beginning: %.80q", text)
		}
		delete(p.open, pid)
		return p.call(half.text+rest, half.line, half.fd)
	}
	if first, ok := strings.CutSuffix(text, " <unfinished ...>"); ok {
		fd := firstArg(first)
		p.open[pid] = &pcall{first, p.line, p.fds[fd]}
		if strings.HasPrefix(first, "close(") {
			delete(p.fds, fd) // before it is over, another thread may get the number
		}
		return nil, nil
	}
	if strings.HasPrefix(text, "+++ ") || strings.HasPrefix(text, "--- ") {
		return nil, nil
	}
	return p.call(text, p.line, p.fds[firstArg(text)])
}

// firstArg returns what stands behind the first parenthesis of a call, as far as it is there.
func firstArg(s string) string {
	_, arg, _ := strings.Cut(s, "(")
	if i := strings.IndexAny(arg, ",) "); i >= 0 {
		arg = arg[:i]
	}
	return arg
}

// call reads a whole call. Those that failed changed nothing.
func (p *parser) call(text string, begin int, d *descriptor) (*op, error) {
	name, rest, ok := strings.Cut(text, "(")
	end := strings.LastIndex(rest, " = ")
	if !ok || end < 0 {
		return nil, nil // the process died in it
	}
	result, _, _ := strings.Cut(strings.TrimSpace(rest[end+3:]), " ")
	n, err := strconv.ParseInt(result, 10, 64)
	if err != nil || n < 0 {
		return nil, nil
	}
	list := strings.TrimSuffix(strings.TrimRight(rest[:end], " "), ")")
	args := strings.Split(list, ", ") // strings are all in hexadecimal, so there are no other commas
	o := &op{begin: begin, end: p.line}
	if d != nil {
		o.file = d.file
	}
	switch name {
	case "openat":
		return p.opened(o, args, result)
	case "close":
		if begin == p.line {
			delete(p.fds, args[0])
		}
		return nil, nil
	case "write", "pwrite64":
		data, err := unquote(args[1])
		if err != nil {
			return nil, err
		}
		if int64(len(data)) < n {
			return nil, fmt.Errorf("%s of %d bytes shows only %d", name, n, len(data))
		}
		o.kind, o.data = opWrite, data[:n]
		switch {
		case name == "write" && args[0] == strconv.Itoa(ledgerFD):
			o.kind = opLedger
		case name == "write" && args[0] == strconv.Itoa(markFD):
			o.kind = opMark
		case d == nil || d.file == nil:
			return nil, nil
		case name == "write":
			o.off = d.off
			d.off += n
		default:
			o.off, err = strconv.ParseInt(args[3], 10, 64)
		}
		return o, err
	case "ftruncate":
		if o.kind = opSize; o.file == nil {
			return nil, nil
		}
		o.size, err = strconv.ParseInt(args[1], 10, 64)
		return o, err
	case "fallocate":
		if o.file != nil && args[1] != "FALLOC_FL_KEEP_SIZE" { // that gets blocks for what is written later, and changes nothing to be read
			return nil, fmt.Errorf("%s is not known here: teach it to the model", name)
		}
		return nil, nil
	case "fsync", "fdatasync":
		switch {
		case d == nil:
			return nil, nil
		case d.file == nil:
			o.kind = opSyncDir
		default:
			o.kind = opSync
		}
		return o, nil
	}
	return p.named(o, name, args)
}

// opened notes what a descriptor is, and a file that is new.
func (p *parser) opened(o *op, args []string, fd string) (*op, error) {
	delete(p.fds, fd)
	path, err := unquote(args[1])
	if err != nil {
		return nil, err
	}
	if string(path) == p.dir {
		p.fds[fd] = &descriptor{}
		return nil, nil
	}
	name, ok := p.inside(path)
	if !ok {
		return nil, nil
	}
	f := p.names[name]
	created := f == nil
	if created {
		f = p.newFile()
		p.names[name] = f
	}
	p.fds[fd] = &descriptor{file: f}
	if strings.Contains(args[2], "O_TRUNC") && !created {
		o.kind, o.file = opSize, f
		return o, nil
	}
	if !created {
		return nil, nil
	}
	o.kind, o.file, o.name = opCreate, f, name
	return o, nil
}

// named reads the calls that change names.
func (p *parser) named(o *op, call string, args []string) (*op, error) {
	var paths [][]byte
	for _, arg := range args {
		if strings.HasPrefix(arg, `"`) {
			path, err := unquote(arg)
			if err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
	}
	var names []string
	for _, path := range paths {
		if name, ok := p.inside(path); ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	o.name, o.file = names[0], p.names[names[0]]
	if len(names) != len(paths) || o.file == nil {
		return nil, fmt.Errorf("%s of %q leads out of the folder, or to nothing", call, names)
	}
	switch {
	case strings.HasPrefix(call, "unlink"):
		o.kind = opUnlink
		delete(p.names, o.name)
	case strings.HasPrefix(call, "link"):
		o.kind, o.to = opLink, names[1]
		p.names[o.to] = o.file
	default:
		o.kind, o.to = opRename, names[1]
		delete(p.names, o.name)
		p.names[o.to] = o.file
	}
	return o, nil
}

// inside returns the name that a path has in the folder.
func (p *parser) inside(path []byte) (string, bool) {
	dir, name := filepath.Split(string(path))
	return name, filepath.Clean(dir) == p.dir
}

// unquote reads a string as strace -xx writes it: each byte as \x and two digits.
func unquote(s string) ([]byte, error) {
	s, ok := strings.CutPrefix(s, `"`)
	s, ok2 := strings.CutSuffix(s, `"`)
	if !ok || !ok2 || len(s)%4 != 0 {
		return nil, fmt.Errorf("%.40q... is no whole string", s)
	}
	digits := make([]byte, 0, len(s)/2)
	for i := 0; i < len(s); i += 4 {
		if s[i] != '\\' || s[i+1] != 'x' {
			return nil, fmt.Errorf("%.40q... is no string of hexadecimal bytes", s)
		}
		digits = append(digits, s[i+2], s[i+3])
	}
	out := make([]byte, len(digits)/2)
	_, err := hex.Decode(out, digits)
	return out, err
}
